"""Experiments as published: variants, their shares of the users, and the buckets of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from freshet.models.events.wire import EventPart, Id, UtcTime

BUCKETS: Final = 10_000
"""Number of buckets that an experiment divides its users into; shares are rounded to 0.01 %."""

MAX_VARIANTS: Final = 20

Metric = Literal["click-through-rate", "clicks-per-impression", "auc"]
"""Metric that decides an experiment: clicks over articles shown, clicks over impressions, or the mean AUC of
impressions whose candidates a request named."""


class Variant(EventPart):
    """One configuration that users are served with."""

    name: Id
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of all users."""
    ranker: Id = "default"
    """Name of its weights on ``ranker-weights``; ``default`` is the bundle's ranker that learns."""
    bundle: Id | None = None
    """Bundle whose vectors it uses; unset: the bundle in service."""


class Segment(EventPart):
    """Consecutive buckets of one variant."""

    buckets: Annotated[int, Field(ge=1, le=BUCKETS)]
    variant: Id | None = None
    """Name of the variant; unset: the users are not in the experiment."""


class Experiment(EventPart):
    """Variants that are served concurrently, each to its share of the users. The first one is the control."""

    name: Id
    salt: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Experiments of the same salt put a user into the same bucket."""
    created_at: UtcTime
    """Time of the first start. A user whom two experiments want belongs to the earlier one."""
    shares_since: UtcTime
    """Time of publication of its present variants and shares; earlier events do not count in its results."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=MAX_VARIANTS)]
    segments: Annotated[tuple[Segment, ...], Field(max_length=BUCKETS)] = ()
    """All buckets in order; if left out, the variants' in their order, then those without a variant."""
    starts_at: UtcTime | None = None
    """Event time at which the experiment starts."""
    stops_at: UtcTime | None = None
    """Event time at which the experiment stops."""
    metric: Metric = "click-through-rate"
    """Metric that decides it, fixed beforehand: testing three metrics triples the false positives."""
    expected_effect: Annotated[float, Field(gt=0, le=10)] = 0.05
    """Smallest difference worth detecting, relative to the metric; the sequential test is fastest there."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"two variants have one name: {', '.join(names)}")
        total = math.fsum(variant.share for variant in self.variants)
        if total > 1.0 + 1e-9:
            raise ValueError(f"the shares sum to {total:g}, more than 1")
        if self.segments:
            wanted = dict(zip(names, bucket_counts([v.share for v in self.variants]), strict=True))
            given = dict.fromkeys(names, 0)
            for segment in self.segments:
                if segment.variant is not None:
                    given[segment.variant] = given.get(segment.variant, 0) + segment.buckets
            if given != wanted or sum(segment.buckets for segment in self.segments) != BUCKETS:
                raise ValueError(
                    f"the segments give {given} buckets of {BUCKETS}, the shares ask for {wanted}"
                )
        if self.starts_at is not None and self.stops_at is not None and self.stops_at <= self.starts_at:
            raise ValueError("it stops before it starts")
        return self

    def runs_at(self, time: datetime) -> bool:
        """Whether the experiment runs at the event time ``time``."""
        return (self.starts_at is None or self.starts_at <= time) and (
            self.stops_at is None or time < self.stops_at
        )

    def all_segments(self) -> tuple[Segment, ...]:
        """All buckets in order, also if the record leaves them out."""
        if self.segments:
            return self.segments
        counts = bucket_counts([variant.share for variant in self.variants])
        named = zip(self.variants, counts, strict=True)
        found = [Segment(buckets=count, variant=variant.name) for variant, count in named if count]
        rest = BUCKETS - sum(counts)
        return (*found, *([Segment(buckets=rest)] if rest else []))


def bucket_counts(shares: Sequence[float]) -> list[int]:
    """Number of buckets of each share, by largest remainders, so that they add up to the sum's.

    >>> bucket_counts([1 / 3, 1 / 3, 1 / 3])
    [3334, 3333, 3333]
    """
    exact = [share * BUCKETS for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    left = round(math.fsum(exact)) - sum(counts)
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[:left]:
        counts[i] += 1
    return counts
