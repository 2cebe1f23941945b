"""A request for recommendations, and its answer."""

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
    """What a recommended article must satisfy; an empty field allows everything."""

    categories: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    exclude_categories: Annotated[tuple[Label, ...], Field(max_length=100)] = ()
    languages: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    max_age_s: Annotated[float, Field(gt=0)] | None = None
    exclude_ids: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()


class RecommendationRequest(Event):
    """Asks for a user's best ``k`` articles, or for given candidates in the best order. Key: ``user_id``."""

    request_id: Id
    user_id: Id
    time: UtcTime
    """The moment to recommend for; a replay asks in the time of its log."""
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    """How many articles to recommend."""
    candidates: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_CANDIDATES)] | None = None
    """Rank exactly these, all of them (``k``, filters and diversity are then not applied)."""
    history: Annotated[tuple[Id, ...], Field(max_length=MAX_HISTORY)] = ()
    """Earlier clicks, the oldest first; used only where the user was never seen before."""
    filters: Filters = Filters()
    exclude_seen: bool = True
    """Leave out articles that the user has clicked."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.3
    """1 - lambda of maximal marginal relevance: 0 ranks by score alone."""
    explain: bool = True
    """Add titles, sources, feature contributions, the rules that moved it, and the click that is like it, to
    every item."""
    details: bool = Field(default=False, exclude_if=not_)
    """With ``explain``: add the features' values, the heads' contributions, and all rules that concern it."""
    rules: Annotated[tuple[EditorialRule, ...], Field(max_length=MAX_RULES)] = Field(
        default=(), exclude_if=not_
    )
    """Editorial rules for this answer alone; those in force for all answers come before them."""


class RecommendedArticle(EventPart):
    """One item of an answer."""

    news_id: Id
    score: Finite
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    category: Label = ""
    published_at: UtcTime | None = None
    sources: tuple[Label, ...] = ()
    """Where the candidate came from: a head's name, ``trending``, ``newest``, ``request``."""
    reasons: dict[str, Finite] = Field(default_factory=dict)
    """Contribution of each feature to ``score``; they sum to it."""
    rules: tuple[Label, ...] = Field(default=(), exclude_if=not_)
    """Names of the editorial rules that moved it."""
    because: Id | None = None
    """The user's recent click that it is most like, where it is like one."""
    features: dict[str, Finite] = Field(default_factory=dict, exclude_if=not_)
    """With ``details``: the value of each feature that is not 0."""
    interests: dict[str, Finite] = Field(default_factory=dict, exclude_if=not_)
    """With ``details``: what each of the user's heads contributes to ``score``."""
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Probability that the policy which served puts this article at this position, given its candidates;
    1 where it is deterministic, unset where it was not recorded."""


class Recommendation(Event):
    """The answer to a request. Key: ``user_id``."""

    request_id: Id
    user_id: Id
    time: UtcTime
    bundle: Id
    ranker: Id
    items: Annotated[tuple[RecommendedArticle, ...], Field(max_length=MAX_CANDIDATES)]
    user_clicks: Count = 0
    """Clicks of the user that the answer rests on; 0 means the population's answer."""
    degraded: Literal["cached", "trending"] | None = None
    """Set when the index did not answer: what was served instead."""
    unmet: tuple[UnmetRule, ...] = Field(default=(), exclude_if=not_)
    """Editorial rules that could not be fulfilled, and why."""
    candidates: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = Field(
        default=(), exclude_if=not_
    )
    """All that the items were chosen from, recorded where the list was drawn: what another ranker would have
    shown is a choice from the same."""
    pushed: bool = False
    """Sent without a request, because push is on for the user."""
    experiment: Id | None = None
    """The experiment that decided by which variant the user is served."""
    variant: Id | None = None
    """Which one that is."""
