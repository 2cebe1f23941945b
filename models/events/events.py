"""Events on freshet's topics: one immutable pydantic model each, JSON on the wire.

Every model rejects missing and malformed fields, ignores unknown ones, and bounds the size of all values, so
that no record can exhaust a worker. Times are timezone-aware and kept in UTC; the wire carries RFC 3339 with
an offset. Unreadable bytes raise :class:`EventError`, whose text names the problem.

``version`` is the version of the wire format. Version 1 may gain optional fields; any other change becomes
version 2.

>>> click = Click.from_json(b'{"user_id": "U1", "news_id": "N1", "time": "2026-03-02T08:00:05Z"}')
>>> click.news_id, click.time.hour
('N1', 8)
>>> click.to_json()
b'{"version":1,"user_id":"U1","news_id":"N1","time":"2026-03-02T08:00:05Z"}'
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
    "DeadLetter",
    "DecayedCount",
    "Event",
    "EventError",
    "EventPart",
    "Filters",
    "Id",
    "Impression",
    "InterestHead",
    "RankerExample",
    "RankerWeights",
    "Recommendation",
    "RecommendationRequest",
    "RecommendedArticle",
    "SlateBatch",
    "SlateEvent",
    "SourceOffset",
    "UserVector",
    "from_unix_s",
    "json_schema",
    "parse_vector_key",
    "refusal",
    "to_unix_s",
    "vector_key",
]


class Article(Event):
    """A new or changed article. Key: ``news_id``. A later record of the same id replaces an earlier one."""

    news_id: Id
    published_at: UtcTime
    """Time of publication. The article is recommended from then on: a time ahead is an embargo."""
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    abstract: Annotated[str, StringConstraints(max_length=10_000)] = ""
    category: Label = ""
    subcategory: Label = ""
    language: Annotated[str, StringConstraints(max_length=16)] = ""
    url: Annotated[str, StringConstraints(max_length=2_048)] = ""
    entities: Annotated[tuple[Id, ...], Field(max_length=64)] = ()
    """Wikidata ids of the entities in the title, the most important first."""


class ArticleVector(Event):
    """An article's vector, with the fields that ranking and filtering need. Key: ``bundle/news_id``.

    Each bundle has its own key for an article, so that compaction keeps the vectors of all bundles.
    """

    news_id: Id
    bundle: Annotated[Id, StringConstraints(pattern=UNSLASHED_PATTERN)]
    """Version of the model bundle that made the vector, without a ``/``. Vectors of two bundles are never
    compared."""
    vector: Vector
    published_at: UtcTime
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    category: Label = ""
    subcategory: Label = ""
    language: Annotated[str, StringConstraints(max_length=16)] = ""

    @property
    def key(self) -> str:
        """Key of the record, ``bundle/news_id``."""
        return vector_key(self.bundle, self.news_id)


def vector_key(bundle: str, news_id: str) -> str:
    """Key of a bundle's vector of an article, and of its tombstone."""
    return f"{bundle}/{news_id}"


def parse_vector_key(key: bytes | None) -> tuple[str, str]:
    """Split a key of ``article-vectors`` into bundle and article.

    >>> parse_vector_key(b"2026-03-02-a/N301")
    ('2026-03-02-a', 'N301')

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
    """Decayed clicks and impressions of an article: each event counts ``2 ** (-age / half_life_s)``."""

    half_life_s: Annotated[float, Field(gt=0)] | None = None
    """Unset for counts that do not decay."""
    clicks: Annotated[float, Field(ge=0)]
    impressions: Annotated[float, Field(ge=0)]
    expected: Annotated[float, Field(ge=0)] | None = None
    """Expected clicks: each impression in a slate of n counts 1/n."""


class ArticleStats(Event):
    """Decayed clicks and impressions of an article as of ``time``. Key: ``news_id``."""

    news_id: Id
    time: UtcTime
    counts: Annotated[tuple[DecayedCount, ...], Field(min_length=1, max_length=16)]
    first_seen: UtcTime
    last_click: UtcTime | None = None


class CoClickCounts(Event):
    """Co-click counts of an article: what its readers had recently clicked before. Key: ``news_id``."""

    news_id: Id
    contexts: Annotated[dict[Id, Annotated[int, Field(ge=1, lt=1 << 63)]], Field(max_length=1_000)]
    """Number of clicks by the other article, in the order in which these joined."""


class Impression(Event):
    """A slate of articles shown to a user, with the clicks known so far. Key: ``user_id``.

    An article that was shown and not clicked counts as skipped. Each click is reported once: either here, in
    ``clicked``, or later as a :class:`Click`.
    """

    impression_id: Id
    """Identity of the impression. A record with the same id, user and time changes nothing."""
    user_id: Id
    time: UtcTime
    """Time of the impression. Ahead of the worker's clock it counts as now; far ahead it is a dead letter."""
    candidates: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_CANDIDATES)]
    """News ids in the order shown."""
    clicked: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    history: Annotated[tuple[Id, ...], Field(max_length=MAX_HISTORY)] = ()
    """Earlier clicks, the oldest first; used only for a new user."""
    request_id: Id | None = None
    """Recommendation that the slate came from."""

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
    """Time of the click. Ahead of the worker's clock it counts as now; far ahead it is a dead letter."""
    impression_id: Id | None = None
    """Impression that showed the article without this click; its skip is then taken back."""
    request_id: Id | None = None
    click_id: Id | None = None
    """Identity of the click: a record with the same id changes nothing. Without an id, clicks are equal if
    they have the same impression and article, or, without an impression, the same article and time."""


class InterestHead(EventPart):
    """One of a user's vectors."""

    name: Label
    half_life_s: Annotated[float, Field(gt=0)]
    weight: Annotated[float, Field(ge=0)]
    """Z of the pooling: the decayed evidence of the vector."""
    vector: Vector


class UserVector(Event):
    """A user's vectors after a change. Key: ``user_id``. A tombstone means that the user was erased."""

    user_id: Id
    time: UtcTime
    bundle: Id
    clicks: Count
    """Number of clicks ever applied."""
    heads: Annotated[tuple[InterestHead, ...], Field(min_length=1, max_length=16)]


class SourceOffset(EventPart):
    """Progress of learning on one partition of a topic."""

    source: Label
    """Name of the topic without its prefix."""
    partition: Count
    offset: Count
    """Last offset learned from."""


class RankerWeights(Event):
    """The ranker's weights, with the state that a learner continues from. Key: ``model``."""

    model: Id
    """Bundle that the weights were learned for; ``default`` without a trained bundle."""
    revision: Count
    time: UtcTime
    """Time of publication: the only time on the wire that is not event time."""
    weights: Annotated[dict[str, Finite], Field(max_length=1_000)]
    features: Annotated[tuple[Label, ...], Field(max_length=256)] | None = None
    """Names of the rows and columns of ``curvature``."""
    curvature: Annotated[str, StringConstraints(max_length=MAX_EVENT_BYTES // 2)] | None = None
    """The learner's curvature: base64 of little-endian float64, the upper triangle row by row."""
    learned_until: UtcTime | None = None
    """Event time to which the curvature has decayed."""
    examples: Count | None = None
    """Number of examples and corrections learned from since the start."""
    auc: Annotated[float, Field(ge=0, le=1)] | None = None
    """Rolling AUC of the weights; each example is ranked before it is learned from."""
    start_auc: Annotated[float, Field(ge=0, le=1)] | None = None
    """Rolling AUC of the start weights on the same examples."""
    offsets: Annotated[tuple[SourceOffset, ...], Field(max_length=4_096)] | None = None
    """Last offsets learned from: a learner that continues ignores everything up to them."""
    happened: Literal["warm-start", "learned", "rolled-back"] | None = None
    """Reason for the publication."""


class RankerExample(Event):
    """A training example for the ranker: an impression, or the correction of one. Key: ``model``."""

    model: Id
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Hash of the features' names in order; a learner with other features cannot use the example."""
    features: Annotated[str, StringConstraints(max_length=MAX_EVENT_BYTES)]
    """Features at the time of ranking: base64 of little-endian float32, shape (candidates, features)."""
    clicked: Annotated[tuple[bool, ...], Field(min_length=1, max_length=MAX_CANDIDATES)]
    """Label of each candidate."""
    clicked_before: Annotated[tuple[bool, ...], Field(max_length=MAX_CANDIDATES)] | None = None
    """Earlier labels, set on a correction."""
    source: Label
    """Topic of the impression or the click."""
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
    """Part of an impression or click for one partition of the statistics."""

    offset: Count
    time_s: Finite
    """Event time, Unix seconds."""
    shown: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    clicked: Annotated[tuple[Id, ...], Field(max_length=MAX_CANDIDATES)] = ()
    slate: Count = 0
    """Number of articles in the whole slate; 0 where it is unknown."""
    context: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    """The user's recent clicks before the event, if something was clicked."""
    uncounted: Annotated[tuple[Id, ...], Field(max_length=2 * MAX_CANDIDATES)] | None = None
    """Articles that do not count: the event is a duplicate, or its user has reached a limit."""


class SlateBatch(Event):
    """Impressions and clicks for the article statistics. Key: number of the target partition.

    Offsets make the batch idempotent: an event whose ``(source, partition, offset)`` was applied is ignored.
    """

    source: Label
    """Topic of the events."""
    partition: Count
    events: Annotated[tuple[SlateEvent, ...], Field(min_length=1, max_length=10_000)]


class DeadLetter(Event):
    """A record or line that could not be processed. Key: the record's own key."""

    source: Label
    """Name of a topic or a file."""
    reason: Annotated[str, StringConstraints(max_length=2_000)]
    time: UtcTime
    partition: int | None = None
    offset: int | None = None
    line: int | None = None
    key: str | None = None
    """Key of the record, base64."""
    value: str | None = None
    """Value of the record, base64, truncated to ``MAX_DEAD_VALUE_BYTES``."""
    value_bytes: int = 0
    """Length of the full value."""

    MAX_DEAD_VALUE_BYTES: ClassVar[int] = 64 * 1024
