"""The events' contract: strict about what is missing, malformed or too large, tolerant of unknown fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from freshet.models.events.events import (
    MAX_CANDIDATES,
    MAX_DIMENSION,
    MAX_EVENT_BYTES,
    MAX_HISTORY,
    MAX_K,
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    CoClickCounts,
    Control,
    DeadLetter,
    Event,
    EventError,
    EventPart,
    Filters,
    Impression,
    RankerWeights,
    Recommendation,
    RecommendationRequest,
    SlateBatch,
    UserVector,
    from_unix_s,
    json_schema,
    parse_vector_key,
    to_unix_s,
    vector_key,
)
from freshet.streams.kafka.topics import TOPICS
from tests.event_strategies import EVENTS, times
from tests.minimal_events import MINIMAL, encoded

each_event = pytest.mark.parametrize("event", MINIMAL, ids=lambda event: event.__name__)


def with_field(event: type[Event], path: str, value: Any) -> bytes:
    """The minimal record with the field at ``path`` (``counts.0.clicks``) set."""
    fields = json.loads(encoded(MINIMAL[event]))
    *parents, last = path.split(".")
    inner = fields
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else inner.setdefault(parent, {})
    inner[last] = value
    return encoded(fields)


def test_every_topic_carries_one_event_of_its_own() -> None:
    assert {topic.event for topic in TOPICS} == set(MINIMAL) == set(Event.__subclasses__())
    assert len(TOPICS) == len(MINIMAL)


@each_event
def test_the_minimal_record_is_read(event: type[Event]) -> None:
    read = event.from_json(encoded(MINIMAL[event]))
    assert event.from_json(read.to_json()) == read


REQUIRED = [
    (event, f"{prefix}{name}")
    for event, fields in MINIMAL.items()
    for prefix, part in [("", fields)]
    + [(f"{name}.0.", value[0]) for name, value in fields.items() if isinstance(value, list)]
    if isinstance(part, dict)
    for name in part
]


@pytest.mark.parametrize(("event", "path"), REQUIRED)
def test_a_missing_field_is_refused_and_named(event: type[Event], path: str) -> None:
    fields = json.loads(encoded(MINIMAL[event]))
    *parents, last = path.split(".")
    inner = fields
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else inner[parent]
    del inner[last]
    with pytest.raises(EventError) as refused:
        event.from_json(encoded(fields))
    assert str(refused.value).startswith(f"{event.__name__}: {path}: Field required")


@each_event
def test_unknown_fields_are_ignored_at_every_depth(event: type[Event]) -> None:
    def extended(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: extended(inner) for name, inner in value.items()} | {"from_version_1_1": [1, {}]}
        return [extended(inner) for inner in value] if isinstance(value, list) else value

    fields = extended(MINIMAL[event])
    if event is RankerWeights:
        fields["weights"] = {}  # a mapping of names to numbers, where no name is unknown
    if event is CoClickCounts:
        fields["contexts"] = {"N2": 1}
    assert event.from_json(encoded(fields)) == event.from_json(encoded(MINIMAL[event]))


@each_event
def test_another_version_is_refused(event: type[Event]) -> None:
    with pytest.raises(EventError, match="version"):
        event.from_json(with_field(event, "version", 2))


@each_event
@pytest.mark.parametrize(
    "value", [None, b"", b"null", b"[]", b'"N1"', b"\xff\xfe", b"{", b"{'a': 1}", b"[" * 9_999]
)
def test_what_is_not_an_object_of_fields_is_refused(event: type[Event], value: bytes | None) -> None:
    with pytest.raises(EventError, match=event.__name__):
        event.from_json(value)


def test_a_value_larger_than_a_record_may_be_is_refused_unread() -> None:
    with pytest.raises(EventError, match="1048577 bytes"):
        Click.from_json(b" " * (MAX_EVENT_BYTES + 1))


@pytest.mark.parametrize(
    ("event", "path", "allowed", "refused"),
    [
        (Click, "user_id", "u" * 128, "u" * 129),
        (Click, "news_id", "ü" * 128, ""),
        (Click, "request_id", None, "two words"),
        (Click, "user_id", "a/b:c", "a\tb"),
        (Click, "user_id", "0", 0),
        (Click, "impression_id", "I1", "I1\n"),
        (Article, "title", "t" * 1_000, "t" * 1_001),
        (Article, "abstract", "a" * 10_000, "a" * 10_001),
        (Article, "category", "", "c" * 129),
        (Article, "language", "l" * 16, "l" * 17),
        (Article, "url", "u" * 2_048, "u" * 2_049),
        (Article, "entities", ["Q1"] * 64, ["Q1"] * 65),
        (ArticleVector, "vector", [0.5] * MAX_DIMENSION, [0.5] * (MAX_DIMENSION + 1)),
        (ArticleVector, "vector", [0], []),
        (ArticleVector, "vector", [-1e30], ["1"]),
        (
            ArticleStats,
            "counts",
            [{"clicks": 1, "impressions": 2}] * 16,
            [{"clicks": 1, "impressions": 2}] * 17,
        ),
        (ArticleStats, "counts.0.clicks", 0.25, -0.25),
        (ArticleStats, "counts.0.half_life_s", 1, 0),
        (Impression, "candidates", ["N1"] * MAX_CANDIDATES, ["N1"] * (MAX_CANDIDATES + 1)),
        (Impression, "candidates", ["N1"], []),
        (Impression, "clicked", ["N1"], ["N2"]),
        (Impression, "history", ["N1"] * MAX_HISTORY, ["N1"] * (MAX_HISTORY + 1)),
        (UserVector, "clicks", (1 << 63) - 1, 1 << 63),
        (UserVector, "heads.0.weight", 0, -1),
        (UserVector, "heads", MINIMAL[UserVector]["heads"] * 16, []),
        (RecommendationRequest, "k", MAX_K, MAX_K + 1),
        (RecommendationRequest, "k", 1, 0),
        (RecommendationRequest, "k", 10, "10"),
        (RecommendationRequest, "diversity", 1, 1.01),
        (RecommendationRequest, "exclude_seen", False, 0),
        (RecommendationRequest, "candidates", ["N1"] * MAX_CANDIDATES, []),
        (RecommendationRequest, "filters.max_age_s", 0.5, 0),
        (RecommendationRequest, "filters.categories", ["c"] * 100, ["c"] * 101),
        (RecommendationRequest, "filters.languages", ["en"] * 20, ["en"] * 21),
        (
            RecommendationRequest,
            "filters.exclude_ids",
            ["N1"] * MAX_CANDIDATES,
            ["N1"] * (MAX_CANDIDATES + 1),
        ),
        (Recommendation, "items", [], [{"news_id": "N1", "score": None}]),
        (Recommendation, "degraded", "trending", "broken"),
        (Control, "kind", "user-erased", "user-erase"),
        (RankerWeights, "weights", {"a": 1}, {"a": "1"}),
        (RankerWeights, "revision", (1 << 63) - 1, 1 << 63),
        (SlateBatch, "events", MINIMAL[SlateBatch]["events"] * 10_000, []),
        (SlateBatch, "events.0.offset", (1 << 63) - 1, 1 << 63),
        (SlateBatch, "partition", 1_023, -1),
        (DeadLetter, "reason", "r" * 2_000, "r" * 2_001),
    ],
)
def test_a_field_is_bounded(event: type[Event], path: str, allowed: Any, refused: Any) -> None:
    event.from_json(with_field(event, path, allowed))
    with pytest.raises(EventError) as error:
        event.from_json(with_field(event, path, refused))
    # A slate's clicks are checked against its candidates, so that error is the whole value's.
    assert path.partition(".")[0] in str(error.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_must_be_finite(number: str) -> None:
    value = encoded(MINIMAL[ArticleVector]).replace(b"[0.5]", f"[{number}]".encode())
    with pytest.raises(EventError, match=r"vector\.0"):
        ArticleVector.from_json(value)


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-02T08:00:00",
        "2026-03-02",
        "today",
        1_772_438_400,
        "1772438400",
        "20260302080005",
        "1.5e9",
        "0019-11-11T09:00:00Z",
        "1000-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
    ],
)
def test_a_time_without_zone_or_outside_the_calendar_is_refused(time: Any) -> None:
    with pytest.raises(EventError, match="time"):
        Click.from_json(with_field(Click, "time", time))


def _parts(part: type[EventPart]) -> Iterator[type[EventPart]]:
    yield part
    for more in part.__subclasses__():
        yield from _parts(more)


LISTS = [
    (part, name)
    for part in _parts(EventPart)
    for name, field in part.model_fields.items()
    if "tuple[" in str(field.annotation)
]


@pytest.mark.parametrize(("part", "name"), LISTS)
@pytest.mark.parametrize("value", ["A1", b"A1", {"A1": 1}, {"A1"}, (letter for letter in "A1")])
def test_one_value_where_a_list_is_meant_is_refused(part: type[EventPart], name: str, value: object) -> None:
    assert (Filters, "exclude_categories") in LISTS
    with pytest.raises(ValidationError) as refused:
        part.model_validate({name: value})
    assert (name,) in [problem["loc"] for problem in refused.value.errors()]
    if isinstance(value, str):
        with pytest.raises(ValidationError) as refused:
            part.model_validate_json(json.dumps({name: value}))
        assert (name,) in [problem["loc"] for problem in refused.value.errors()]


def test_an_error_lists_five_problems_and_counts_the_rest() -> None:
    with pytest.raises(EventError, match=r"entities\.4: .*; and 2 more"):
        Article.from_json(with_field(Article, "entities", [1, 2, 3, 4, 5, 6, 7]))


def test_an_error_does_not_quote_the_value() -> None:
    with pytest.raises(EventError) as error:
        Click.from_json(with_field(Click, "user_id", "a secret user"))
    assert "secret" not in str(error.value)


@each_event
def test_an_event_does_not_change(event: type[Event]) -> None:
    read = event.from_json(encoded(MINIMAL[event]))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read, next(iter(event.model_fields)), 1)


@each_event
def test_the_json_schema_requires_what_the_event_requires(event: type[Event]) -> None:
    schema = json_schema(event)
    assert set(schema["required"]) == {
        name for name, field in event.model_fields.items() if field.is_required()
    }
    assert schema["properties"].keys() == event.model_fields.keys()


@given(EVENTS)
def test_what_is_written_is_read_as_the_same_event(event: Event) -> None:
    written = event.to_json()
    read = type(event).from_json(written)
    assert read == event
    assert read.to_json() == written


@given(times)
def test_times_are_kept_in_utc_and_stay_the_same_instant(time: datetime) -> None:
    click = Click(user_id="U1", news_id="N1", time=time)
    assert click.time == time
    assert click.time.utcoffset() == timedelta(0)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_unix_seconds_are_exact_to_a_microsecond(time: datetime) -> None:
    assert abs(from_unix_s(to_unix_s(time)) - time) <= timedelta(microseconds=1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), st.sampled_from(list(MINIMAL)))
def test_a_malformed_record_never_raises_anything_but_event_error(
    data: st.DataObject, event: type[Event]
) -> None:
    """Whatever else it raised would stop the stream."""
    name = data.draw(st.sampled_from(list(event.model_fields)))
    try:
        read = event.from_json(encoded(MINIMAL[event] | {name: data.draw(json_values)}))
    except EventError:
        return
    assert event.from_json(read.to_json()) == read


@given(st.binary(max_size=64))
@example(b'{"user_id":"\\ud800","news_id":"n","time":"2026-03-02T08:00:00Z"}')
@example(b'{"user_id":"u","news_id":"n","time":' + b"9" * 5_000 + b"}")
def test_garbage_is_refused(value: bytes) -> None:
    with pytest.raises(EventError, match="Click: "):
        Click.from_json(value)


def test_a_control_record_shares_its_key_with_what_takes_it_back_and_with_nothing_else() -> None:
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    keys = [
        Control.model_validate({"kind": kind, "subject": "U1", "time": at}).key
        for kind in ("push-on", "push-off", "user-erased", "article-withdrawn", "bundle-promoted")
    ]
    assert keys[0] == keys[1] == "push:U1"
    assert keys[2:4] == ["erased:U1", "article:U1"]
    later = Control(kind="bundle-promoted", subject="U1", time=at + timedelta(microseconds=1))
    assert len({*keys, later.key}) == 5, "every promotion has a key of its own"


def test_a_vectors_key_names_the_bundle_and_the_article() -> None:
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    vector = ArticleVector(news_id="a/b", bundle="b1", vector=(1.0,), published_at=at)
    assert vector.key == vector_key("b1", "a/b") == "b1/a/b"
    assert parse_vector_key(vector.key.encode()) == ("b1", "a/b")
    for key in (None, b"", b"N1", b"/N1", b"b1/", b"\xff/N1"):
        with pytest.raises(EventError, match="tombstone's key"):
            parse_vector_key(key)
    with pytest.raises(ValidationError, match="bundle"):
        ArticleVector(news_id="N1", bundle="b/1", vector=(1.0,), published_at=at)
