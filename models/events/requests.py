"""Requests for recommendations, and their answers.

>>> request = RecommendationRequest.from_json(
...     b'{"request_id": "R1", "user_id": "U1", "time": "2026-03-02T08:00:05Z", "k": 5}'
... )
>>> request.k, request.exclude_seen, request.filters.languages
(5, True, ())
"""

from __future__ import annotations

from operator import not_
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from freshet.models.events.editorial_rules import MAX_RULES, EditorialRule, UnmetRule
from freshet.models.events.wire import (
    MAX_CANDIDATES,
    MAX_HISTORY,
    MAX_K,
    Count,
    Event,
    EventPart,
    Finite,
    Id,
    Label,
    UtcTime,
)


class Filters(EventPart):
    """Conditions for recommended articles; an empty field allows everything."""

    categories: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    exclude_categories: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    languages: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    max_age_s: Annotated[float, Field(gt=0)] | None = None
    exclude_ids: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()


class RecommendationRequest(Event):
    """A request for a user's best ``k`` articles, or for a ranking of given candidates. Key: ``user_id``."""

    request_id: Id
    user_id: Id
    time: UtcTime
    """Event time to recommend for; a replay asks in the time of its log."""
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    """Number of articles to recommend."""
    candidates: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_CANDIDATES)] | None = None
    """Articles to rank, all of them; ``k``, filters and diversity are then not applied."""
    history: Annotated[tuple[Id, ...], Field(max_length=MAX_HISTORY)] = ()
    """Earlier clicks, the oldest first; used only for a new user."""
    filters: Filters = Filters()
    exclude_seen: bool = True
    """Whether to leave out articles that the user has clicked."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.3
    """1 - lambda of maximal marginal relevance: 0 ranks by score alone."""
    explain: bool = True
    """Whether to add titles, sources, feature contributions, the rules that moved an item, and the most
    similar click."""
    details: bool = Field(default=False, exclude_if=not_)
    """Whether ``explain`` also adds feature values, the heads' contributions, and all rules that match."""
    rules: Annotated[tuple[EditorialRule, ...], Field(max_length=MAX_RULES)] = Field(
        default=(), exclude_if=not_
    )
    """Editorial rules for this answer alone; rules for all answers come before them."""


class RecommendedArticle(EventPart):
    """One item of an answer."""

    news_id: Id
    score: Finite
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    category: Label = ""
    published_at: UtcTime | None = None
    sources: tuple[Label, ...] = ()
    """Sources of the candidate: a head's name, ``trending``, ``newest``, ``request``."""
    reasons: dict[str, Finite] = Field(default_factory=dict)
    """Contribution of each feature to ``score``; they sum to it."""
    rules: tuple[Label, ...] = Field(default=(), exclude_if=not_)
    """Names of the editorial rules that moved it."""
    because: Id | None = None
    """Most similar of the user's recent clicks, if one is similar enough."""
    features: dict[str, Finite] = Field(default_factory=dict, exclude_if=not_)
    """Feature values that are not 0, with ``details``."""
    interests: dict[str, Finite] = Field(default_factory=dict, exclude_if=not_)
    """Contribution of each of the user's heads to ``score``, with ``details``."""
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Probability that the serving policy puts this article at this position, given its candidates;
    1 if the policy is deterministic, unset if it was not recorded."""


class Recommendation(Event):
    """The answer to a request. Key: ``user_id``."""

    request_id: Id
    user_id: Id
    time: UtcTime
    bundle: Id
    ranker: Id
    items: Annotated[tuple[RecommendedArticle, ...], Field(max_length=MAX_CANDIDATES)]
    user_clicks: Count = 0
    """Number of the user's clicks known for the answer; 0 means the population's answer."""
    degraded: Literal["cached", "trending"] | None = None
    """Fallback that was served because the index did not answer."""
    unmet: tuple[UnmetRule, ...] = Field(default=(), exclude_if=not_)
    """Editorial rules that could not be fulfilled, and why."""
    candidates: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = Field(
        default=(), exclude_if=not_
    )
    """All candidates of the items, recorded if the list was drawn at random, for off-policy evaluation."""
    pushed: bool = False
    """Whether it was sent without a request, because push is on for the user."""
    experiment: Id | None = None
    """Experiment that the user was served in."""
    variant: Id | None = None
    """Variant that the user was served with."""
