"""The events on freshet's topics: one immutable pydantic model each, JSON on the wire.

Every model is strict about what is missing or malformed, ignores fields that it does not know, and bounds
the size of everything that it holds, so that no record can exhaust a worker. Times are timezone-aware and
kept in UTC; the wire carries RFC 3339 with an offset. Unreadable bytes raise :class:`EventError`, whose text
says what is wrong.

``version`` is that of the wire format. Version 1 may gain optional fields; anything else becomes version 2.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from freshet.models.events.control import Control
from freshet.models.events.json_schemas import json_schema
from freshet.models.events.requests import (
    Filters,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
)
from freshet.models.events.wire import (
    MAX_CANDIDATES,
    MAX_DIMENSION,
    MAX_EVENT_BYTES,
    MAX_HISTORY,
    MAX_K,
    UNSLASHED_PATTERN,
    Count,
    Event,
    EventError,
    EventPart,
    Finite,
    Id,
    Label,
    UtcTime,
    Vector,
    from_unix_s,
    refusal,
    to_unix_s,
)

__all__ = [
    "MAX_CANDIDATES",
    "MAX_DIMENSION",
    "MAX_EVENT_BYTES",
    "MAX_HISTORY",
    "MAX_K",
    "Article",
    "ArticleStats",
    "ArticleVector",
    "Click",
    "Control",
    "Count",
    "DeadLetter",
    "DecayedCount",
    "Event",
    "EventError",
    "EventPart",
    "Filters",
    "Finite",
    "Id",
    "Impression",
    "InterestHead",
    "Label",
    "RankerExample",
    "RankerWeights",
    "Recommendation",
    "RecommendationRequest",
    "RecommendedArticle",
    "SlateBatch",
    "SlateEvent",
    "SourceOffset",
    "UserVector",
    "UtcTime",
    "Vector",
    "from_unix_s",
    "json_schema",
    "parse_vector_key",
    "refusal",
    "to_unix_s",
    "vector_key",
]


class Article(Event):
    """A new or changed article. Key: ``news_id``. A later record of the same id replaces the earlier one."""

    news_id: Id
    published_at: UtcTime
    """When the article appears, or appeared. It is recommended from then on: a time ahead is an embargo."""
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    abstract: Annotated[str, StringConstraints(max_length=10_000)] = ""
    category: Label = ""
    subcategory: Label = ""
    language: Annotated[str, StringConstraints(max_length=16)] = ""
    url: Annotated[str, StringConstraints(max_length=2_048)] = ""
    entities: Annotated[tuple[Id, ...], Field(max_length=64)] = ()
    """WikiData ids of the entities in the title, the most important first."""


class ArticleVector(Event):
    """An article's vector, with what ranking and filtering need to know of it. Key: ``bundle/news_id``.

    Each bundle has a key of its own for an article, so that compaction keeps the vectors of all bundles.
    """

    news_id: Id
    bundle: Annotated[Id, StringConstraints(pattern=UNSLASHED_PATTERN)]
    """The version of the model bundle that made the vector, without a ``/``; vectors of two bundles are never
    compared."""
    vector: Vector
    published_at: UtcTime
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    category: Label = ""
    subcategory: Label = ""
    language: Annotated[str, StringConstraints(max_length=16)] = ""

    @property
    def key(self) -> str:
        """The record's key, ``bundle/news_id``."""
        return vector_key(self.bundle, self.news_id)


def vector_key(bundle: str, news_id: str) -> str:
    """The key of a bundle's vector of an article, and of its tombstone."""
    return f"{bundle}/{news_id}"


def parse_vector_key(key: bytes | None) -> tuple[str, str]:
    """The bundle and the article of a key of ``article-vectors``.

    Raises:
        EventError: The key is not of the form ``bundle/news_id``, UTF-8.
    """
    try:
        bundle, _, news_id = (key or b"").decode().partition("/")
    except UnicodeDecodeError as error:
        raise EventError(f"ArticleVector: the tombstone's key is not UTF-8: {error}") from error
    if not bundle or not news_id:
        raise EventError(f"ArticleVector: the tombstone's key is {key!r}, it must be bundle/news_id")
    return bundle, news_id


class DecayedCount(EventPart):
    """Clicks and impressions of an article, each event worth ``2 ** (-age / half_life_s)``."""

    half_life_s: Annotated[float, Field(gt=0)] | None = None
    """``None``: no decay, the plain count."""
    clicks: Annotated[float, Field(ge=0)]
    impressions: Annotated[float, Field(ge=0)]
    expected: Annotated[float, Field(ge=0)] | None = None
    """Expected clicks: each impression in a slate of n counts 1/n."""


class ArticleStats(Event):
    """An article's decayed clicks and impressions as of ``time``. Key: ``news_id``."""

    news_id: Id
    time: UtcTime
    counts: Annotated[tuple[DecayedCount, ...], Field(min_length=1, max_length=16)]
    first_seen: UtcTime
    last_click: UtcTime | None = None


class CoClickCounts(Event):
    """What those who clicked an article had lately clicked before. Key: ``news_id``."""

    news_id: Id
    contexts: Annotated[dict[Id, Annotated[int, Field(ge=1, lt=1 << 63)]], Field(max_length=1_000)]
    """Clicks by the other article; the one that joined first comes first."""


class Impression(Event):
    """A slate of articles shown to a user, with the clicks already known of it. Key: ``user_id``.

    What was shown and not clicked counts as skipped. Each click is reported once: either here, in
    ``clicked``, or later as a :class:`Click`.
    """

    impression_id: Id
    """Names this showing: published again with the same user and time, it changes nothing."""
    user_id: Id
    time: UtcTime
    """When it was shown. Ahead of the worker's clock it counts as now, far ahead it is a dead letter."""
    candidates: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_CANDIDATES)]
    """News ids in the order shown."""
    clicked: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    history: Annotated[tuple[Id, ...], Field(max_length=MAX_HISTORY)] = ()
    """Earlier clicks, the oldest first; used only where the user was never seen before."""
    request_id: Id | None = None
    """The recommendation that the slate came from."""

    @model_validator(mode="after")
    def _clicks_were_shown(self) -> Self:
        if self.clicked and not set(self.clicked) <= set(self.candidates):
            unknown = next(news_id for news_id in self.clicked if news_id not in self.candidates)
            raise ValueError(f"clicked {unknown!r} is not among the candidates")
        return self


class Click(Event):
    """A user opened an article. Key: ``user_id``."""

    user_id: Id
    news_id: Id
    time: UtcTime
    """When it was clicked. Ahead of the worker's clock it counts as now, far ahead it is a dead letter."""
    impression_id: Id | None = None
    """The impression that showed the article without this click; its skip is then taken back."""
    request_id: Id | None = None
    click_id: Id | None = None
    """Names the click: published again with the same id, it changes nothing. Without one, a click is the same
    that has the same impression and article, or, of no impression, the same article and time."""


class InterestHead(EventPart):
    """One of a user's vectors."""

    name: Label
    half_life_s: Annotated[float, Field(gt=0)]
    weight: Annotated[float, Field(ge=0)]
    """Z of the pooling: how much decayed evidence the vector rests on."""
    vector: Vector


class UserVector(Event):
    """A user's vectors after a change. Key: ``user_id``. A record without a value: the user was erased."""

    user_id: Id
    time: UtcTime
    bundle: Id
    clicks: Count
    """Clicks ever applied."""
    heads: Annotated[tuple[InterestHead, ...], Field(min_length=1, max_length=16)]


class SourceOffset(EventPart):
    """How far one partition of a topic has been learned from."""

    source: Label
    """The topic's name without its prefix."""
    partition: Count
    offset: Count
    """The last one."""


class RankerWeights(Event):
    """The ranker's weights, and what a learner needs to go on from them. Key: ``model``."""

    model: Id
    """The bundle that the weights were learned for; ``default`` where none is trained."""
    revision: Count
    time: UtcTime
    """When they were published: the one time on the wire that is not an event's."""
    weights: Annotated[dict[str, Finite], Field(max_length=1_000)]
    features: Annotated[tuple[Label, ...], Field(max_length=256)] | None = None
    """Names of the rows and columns of ``curvature``."""
    curvature: Annotated[str, StringConstraints(max_length=MAX_EVENT_BYTES // 2)] | None = None
    """The learner's curvature: base64 of little-endian float64, the upper triangle row by row."""
    learned_until: UtcTime | None = None
    """Event time up to which the curvature has been forgotten."""
    examples: Count | None = None
    """Examples and corrections learned from since the start."""
    auc: Annotated[float, Field(ge=0, le=1)] | None = None
    """Rolling AUC of the weights, each example ranked before it was learned from."""
    start_auc: Annotated[float, Field(ge=0, le=1)] | None = None
    """That of the weights at the start on the same examples."""
    offsets: Annotated[tuple[SourceOffset, ...], Field(max_length=4_096)] | None = None
    """What the weights have learned from: whoever goes on ignores everything up to there."""
    happened: Literal["warm-start", "learned", "rolled-back"] | None = None
    """Why they were published."""


class RankerExample(Event):
    """An impression to learn a ranker's weights from, or the correction of one. Key: ``model``."""

    model: Id
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Of the features' names in order; a learner with others cannot use the example."""
    features: Annotated[str, StringConstraints(max_length=MAX_EVENT_BYTES)]
    """Base64 of little-endian float32, shape (candidates, features), as when the slate was ranked."""
    clicked: Annotated[tuple[bool, ...], Field(min_length=1, max_length=MAX_CANDIDATES)]
    """Of each candidate."""
    clicked_before: Annotated[tuple[bool, ...], Field(max_length=MAX_CANDIDATES)] | None = None
    """Set on a correction: the labels that were given before."""
    source: Label
    """The topic that the impression or the click came from."""
    partition: Count
    offset: Count
    time: UtcTime
    """Event time of the impression or the click."""

    @model_validator(mode="after")
    def _labels_are_of_the_same_candidates(self) -> Self:
        if self.clicked_before is not None and len(self.clicked_before) != len(self.clicked):
            raise ValueError(
                f"clicked_before has {len(self.clicked_before)} labels and clicked {len(self.clicked)}"
            )
        return self


class SlateEvent(EventPart):
    """The part of one impression or click that a statistics partition needs."""

    offset: Count
    time_s: Finite
    """Event time, Unix seconds."""
    shown: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    clicked: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    slate: Count = 0
    """How many articles the whole slate showed; 0 where that is unknown."""
    context: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    """What the user had lately clicked before, where something was clicked."""
    uncounted: Annotated[tuple[Id, ...], Field(max_length=2 * MAX_CANDIDATES)] | None = None
    """Articles of the event that do not count: it came twice, or its user has counted as often as one may."""


class SlateBatch(Event):
    """Impressions and clicks on their way to the statistics. Key: the target partition's number.

    Offsets make the batch idempotent: whoever has applied ``(source, partition, offset)`` ignores it.
    """

    source: Label
    """The topic that the events came from."""
    partition: Count
    events: Annotated[tuple[SlateEvent, ...], Field(min_length=1, max_length=10_000)]


class DeadLetter(Event):
    """A record or line that could not be handled. Key: the record's own key."""

    source: Label
    """A topic's or a file's name."""
    reason: Annotated[str, StringConstraints(max_length=2_000)]
    time: UtcTime
    partition: int | None = None
    offset: int | None = None
    line: int | None = None
    key: str | None = None
    """The record's key, base64."""
    value: str | None = None
    """The record's value, base64, cut at ``MAX_DEAD_VALUE_BYTES``."""
    value_bytes: int = 0
    """The value's full length."""

    MAX_DEAD_VALUE_BYTES: ClassVar[int] = 64 * 1024
