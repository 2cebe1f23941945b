"""Experiments as they are published: variants, their shares of the users, and the buckets that each has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from freshet.models.events.wire import EventPart, Id, UtcTime

BUCKETS: Final = 10_000
"""Into which an experiment divides its users; shares are rounded to a hundredth of a percent."""


MAX_VARIANTS: Final = 20


Metric = Literal["click-through-rate", "clicks-per-impression", "auc"]
"""What an experiment is decided by: clicks over articles shown, clicks over impressions, or the mean AUC of
the impressions whose candidates a request named."""


class Variant(EventPart):
    """One way to serve users."""

    name: Id
    share: Annotated[float, Field(gt=0, le=1)]
    """Of all users."""
    ranker: Id = "default"
    """The name of its weights on ``ranker-weights``; ``default`` is the ranker that learns, of its bundle."""
    bundle: Id | None = None
    """Whose vectors it is served by; unset: those of the bundle in service."""


class Segment(EventPart):
    """Buckets, one after another, that belong to one variant."""

    buckets: Annotated[int, Field(ge=1, le=BUCKETS)]
    variant: Id | None = None
    """By name; unset: these users are not in the experiment."""


class Experiment(EventPart):
    """Variants that are served at once, each to its share of the users. The first variant is the control."""

    name: Id
    salt: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Experiments of the same salt put a user into the same bucket."""
    created_at: UtcTime
    """When it was first started. Where two experiments want a user, the earlier one has them."""
    shares_since: UtcTime
    """When its present variants and shares were published; what came before was of another experiment."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=MAX_VARIANTS)]
    segments: Annotated[tuple[Segment, ...], Field(max_length=BUCKETS)] = ()
    """All buckets in order; left out: the variants' in their order, then those of no variant."""
    starts_at: UtcTime | None = None
    """Event time before which nobody is in it."""
    stops_at: UtcTime | None = None
    """Event time from which on nobody is in it."""
    metric: Metric = "click-through-rate"
    """What it is decided by, fixed beforehand: of three metrics, one is significant three times as often."""
    expected_effect: Annotated[float, Field(gt=0, le=10)] = 0.05
    """The difference worth finding, as a share of the metric; where the sequential test is quickest."""

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
        """Whether users are in it at the event time ``time``."""
        return (self.starts_at is None or self.starts_at <= time) and (
            self.stops_at is None or time < self.stops_at
        )

    def all_segments(self) -> tuple[Segment, ...]:
        """Who has which buckets, all of them, also where the record leaves them out."""
        if self.segments:
            return self.segments
        counts = bucket_counts([variant.share for variant in self.variants])
        named = zip(self.variants, counts, strict=True)
        found = [Segment(buckets=count, variant=variant.name) for variant, count in named if count]
        rest = BUCKETS - sum(counts)
        return (*found, *([Segment(buckets=rest)] if rest else []))


def bucket_counts(shares: Sequence[float]) -> list[int]:
    """How many buckets each share gets: largest remainders, so that they add up to those of the sum."""
    exact = [share * BUCKETS for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    left = round(math.fsum(exact)) - sum(counts)
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[:left]:
        counts[i] += 1
    return counts
