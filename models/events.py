"""The events on freshet's topics: one immutable pydantic model each, JSON on the wire.

Every model is strict about what is missing or malformed, ignores fields that it does not know, and bounds
the size of everything that it holds, so that no record can exhaust a worker. Times are timezone-aware and
kept in UTC; the wire carries ISO 8601 with an offset. Unreadable bytes raise :class:`EventError`, whose text
says what is wrong.

``version`` is that of the wire format. Version 1 may gain optional fields; anything else becomes version 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

MAX_EVENT_BYTES = 1 << 20
"""No record's value may be larger; Kafka's own default limit is the same 1 MiB."""

MAX_CANDIDATES = 1_000
MAX_HISTORY = 1_000
MAX_K = 200
MAX_DIMENSION = 4_096


class EventError(ValueError):
    """A record's value is not the event that its topic carries."""


def _as_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from error


Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s\x00-\x1f\x7f]+$")]
"""A user's, article's, impression's or request's name: 1 to 128 characters without white space."""

Label = Annotated[str, StringConstraints(max_length=128)]
UtcTime = Annotated[AwareDatetime, AfterValidator(_as_utc)]
Finite = float
"""JSON has no infinity and no NaN, and the models refuse both (``allow_inf_nan=False``)."""
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
"""JSON's integers have no bound; those that a state stores in 64 bits do."""
Vector = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=MAX_DIMENSION)]


class EventPart(BaseModel):
    """What events and the parts inside them share: frozen, strict, tolerant of unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Event(EventPart):
    """One record's value: the codec and the format's version."""

    version: Literal[1] = 1

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode one record's value.

        Raises:
            EventError: The value is a tombstone, too large, not JSON, or not this event.
        """
        if value is None:
            raise EventError(
                f"{cls.__name__}: the record has no value (a tombstone), which means nothing here"
            )
        if len(value) > MAX_EVENT_BYTES:
            raise EventError(f"{cls.__name__}: {len(value)} bytes, more than the {MAX_EVENT_BYTES} allowed")
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            raise EventError(refusal(cls.__name__, error)) from error

    def to_json(self) -> bytes:
        """Encode for the wire: compact UTF-8 JSON, fields in the order of their declaration."""
        return self.model_dump_json(exclude_none=True).encode()


def refusal(name: str, error: ValidationError) -> str:
    """What is wrong with an event called ``name``: each field and its problem, at most five of them."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:5]
    ]
    more = error.error_count() - len(problems)
    return f"{name}: {'; '.join(problems)}" + (f"; and {more} more" if more > 0 else "")


class Article(Event):
    """A new or changed article. Key: ``news_id``. A later record of the same id replaces the earlier one."""

    news_id: Id
    published_at: UtcTime
    title: Annotated[str, StringConstraints(max_length=1_000)] = ""
    abstract: Annotated[str, StringConstraints(max_length=10_000)] = ""
    category: Label = ""
    subcategory: Label = ""
    language: Annotated[str, StringConstraints(max_length=16)] = ""
    url: Annotated[str, StringConstraints(max_length=2_048)] = ""
    entities: Annotated[tuple[Id, ...], Field(max_length=64)] = ()
    """WikiData ids of the entities in the title, the most important first."""


class ArticleVector(Event):
    """An article's vector, with what ranking and filtering need to know of it. Key: :attr:`key`.

    Each bundle has a key of its own for an article, so that compaction keeps the vectors of all bundles.
    """

    news_id: Id
    bundle: Annotated[Id, StringConstraints(pattern=r"^[^\s/\x00-\x1f\x7f]+$")]
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


class ArticleStats(Event):
    """An article's decayed clicks and impressions as of ``time``. Key: ``news_id``."""

    news_id: Id
    time: UtcTime
    counts: Annotated[tuple[DecayedCount, ...], Field(min_length=1, max_length=16)]
    first_seen: UtcTime


class Impression(Event):
    """A slate of articles shown to a user, with the clicks already known of it. Key: ``user_id``.

    Each click is reported once: either here, in ``clicked``, or later as a :class:`Click`.
    """

    impression_id: Id
    user_id: Id
    time: UtcTime
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
    impression_id: Id | None = None
    """The impression that showed the article without this click; its skip is then taken back."""
    request_id: Id | None = None


class InterestHead(EventPart):
    """One of a user's vectors."""

    name: Label
    half_life_s: Annotated[float, Field(gt=0)]
    weight: Annotated[float, Field(ge=0)]
    """Z of the pooling: how much decayed evidence the vector rests on."""
    vector: Vector


class UserVector(Event):
    """A user's vectors after a change. Key: ``user_id``."""

    user_id: Id
    time: UtcTime
    bundle: Id
    clicks: Count
    """Clicks ever applied."""
    heads: Annotated[tuple[InterestHead, ...], Field(min_length=1, max_length=16)]


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
    """Add titles, sources and feature contributions to every item."""


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
    pushed: bool = False
    """Sent without a request, because push is on for the user."""


class Control(Event):
    """An operator's instruction. Key: :attr:`key`.

    Compaction keeps the last record of a key. So what takes another instruction back has its key (``push-on``
    and ``push-off``), what is independent of it has not, and every promotion has one of its own: what was
    promoted before has to be known for ever.
    """

    kind: Literal["bundle-promoted", "user-erased", "article-withdrawn", "push-on", "push-off"]
    subject: Id
    """The bundle's version, the user's id or the article's id."""
    time: UtcTime
    rollback: bool | None = None
    """Set on ``bundle-promoted`` where it takes the latest promotion back."""

    @property
    def key(self) -> str:
        """The record's key: ``push:U1``, ``erased:U1``, ``article:N1``, ``bundle:2026-03-02T08:02:00Z``."""
        if self.kind == "bundle-promoted":
            return f"bundle:{self.time.isoformat().replace('+00:00', 'Z')}"
        return f"{_CONTROL_GROUPS[self.kind]}:{self.subject}"


_CONTROL_GROUPS: Mapping[str, str] = MappingProxyType(
    {"user-erased": "erased", "article-withdrawn": "article", "push-on": "push", "push-off": "push"}
)


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
    squares: Annotated[dict[str, Finite], Field(max_length=1_000)] | None = None
    """AdaGrad's sums of squared gradients, by feature."""
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
    """Base64 of little-endian float32, shape (candidates, features), as they were when the slate was ranked."""
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


def to_unix_s(time: datetime) -> float:
    """Seconds since 1970-01-01 UTC."""
    return time.timestamp()


def from_unix_s(seconds: float) -> datetime:
    """The UTC time of ``seconds`` since 1970-01-01 UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def json_schema(event: type[Event]) -> dict[str, Any]:
    """The event's JSON Schema (draft 2020-12), as published for clients in other languages."""
    return event.model_json_schema(mode="validation")
