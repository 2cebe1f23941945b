"""What may lie on the stream's topics and cannot be handled, and what must be said of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from freshet.models.events.events import (
    MAX_CANDIDATES,
    MAX_EVENT_BYTES,
    ArticleStats,
    ArticleVector,
    Click,
    Control,
    Impression,
    RecommendationRequest,
    SlateBatch,
)
from tests.integration.stream_harness import BUNDLE, START_S

LONGEST_KEY = 1_000_000


@dataclass(frozen=True)
class Bad:
    """A record that must become a dead letter."""

    what: str
    topic: str
    reason: str
    """A regular expression that the letter's reason must contain."""
    value: bytes | None
    key: bytes | None = b"U1"

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}"


CLICK: dict[str, Any] = {"version": 1, "user_id": "U1", "news_id": "N1", "time": "2025-12-29T09:20:00Z"}
_IMPRESSION: dict[str, Any] = {
    "version": 1,
    "impression_id": "I1",
    "user_id": "U1",
    "time": "2025-12-29T09:20:00Z",
    "candidates": ["N1", "N2"],
}
_REQUEST: dict[str, Any] = {
    "version": 1,
    "request_id": "R1",
    "user_id": "U1",
    "time": "2025-12-29T09:20:00Z",
}
_SLATES: dict[str, Any] = {
    "version": 1,
    "source": "clicks",
    "partition": 0,
    "events": [{"offset": 10**6, "time_s": START_S, "clicked": ["N1"]}],
}
_CONTROL: dict[str, Any] = {
    "version": 1,
    "kind": "article-withdrawn",
    "subject": "N3",
    "time": "2025-12-29T09:20:00Z",
}
VECTOR: dict[str, Any] = {
    "version": 1,
    "news_id": "N1",
    "bundle": BUNDLE,
    "vector": [0.25] * 16,
    "published_at": "2025-12-29T08:20:00Z",
}
_VECTOR_KEY = f"{BUNDLE}/N1".encode()
_STATS: dict[str, Any] = {
    "version": 1,
    "news_id": "N1",
    "time": "2025-12-29T09:20:00Z",
    "counts": [{"half_life_s": 1_800.0, "clicks": 9_000.0, "impressions": 9_000.0}],
    "first_seen": "2025-12-29T09:20:00Z",
}


def json_of(event: dict[str, Any], **changes: Any) -> bytes:
    return orjson.dumps({name: value for name, value in (event | changes).items() if value is not ...})


def _unreadable(topic: str, event: dict[str, Any], subject: str, key: bytes) -> list[Bad]:
    """What any topic may hold that is no event, or lacks a part."""
    title = rf"{_EVENTS[topic].__name__}"
    return [
        Bad("not JSON", topic, rf"{title}: .*JSON", b"{user_id: U1}", key),
        Bad("cut off", topic, rf"{title}: .*JSON.*EOF", json_of(event)[:-5], key),
        Bad("not UTF-8", topic, rf"{title}: .*JSON", json_of(event).replace(b"1", b"\xff", 1), key),
        Bad("an empty value", topic, rf"{title}: .*JSON", b"", key),
        Bad("a list", topic, rf"{title}: .*object", b"[1, 2]", key),
        Bad("an unknown version", topic, r"version: .*1", json_of(event, version=2), key),
        Bad("a missing field", topic, rf"{subject}: Field required", json_of(event, **{subject: ...}), key),
        Bad("a field of another type", topic, rf"{subject}: .*", json_of(event, **{subject: {}}), key),
        Bad("more bytes than allowed", topic, "bytes, more than", b" " * (MAX_EVENT_BYTES + 1), key),
    ]


def _of_a_user(topic: str, event: dict[str, Any]) -> list[Bad]:
    """What is wrong on the topics whose key is the user's id."""
    return [
        *_unreadable(topic, event, "user_id", b"U1"),
        Bad("a tombstone", topic, "tombstone", None),
        Bad("a number for an id", topic, "user_id: .*string", json_of(event, user_id=1)),
        Bad("too long an id", topic, "user_id: .*128", json_of(event, user_id="U" * 129), b"U" * 129),
        Bad("an id with a space", topic, "user_id: .*pattern", json_of(event, user_id="U 1"), b"U 1"),
        Bad("the key of another user", topic, "key is b'U2'.*user_id 'U1'", json_of(event), b"U2"),
        Bad("no key", topic, "key is None", json_of(event), None),
        Bad("an empty key", topic, "key is b''", json_of(event), b""),
        Bad("a key that is not UTF-8", topic, r"key is b'\\xff'", json_of(event), b"\xff"),
        Bad("a key of 1 MB", topic, "key is b'KKK", json_of(event), b"K" * LONGEST_KEY),
        Bad("a time without zone", topic, "time: .*offset", json_of(event, time="2025-12-29T09:20:00")),
        Bad("a time of digits alone", topic, "time: .*RFC 3339", json_of(event, time="20251229092000")),
        Bad("a time that is none", topic, "time: ", json_of(event, time="yesterday")),
        Bad("a time far ahead", topic, "in the future.*clock", json_of(event, time="2999-01-01T00:00:00Z")),
        Bad("a time before 1970", topic, "1970", json_of(event, time="1969-12-31T00:00:00Z")),
    ]


_EVENTS = {
    "clicks": Click,
    "impressions": Impression,
    "recommendation-requests": RecommendationRequest,
    "slate-batches": SlateBatch,
    "control": Control,
    "article-vectors": ArticleVector,
    "article-stats": ArticleStats,
}

USER_TOPICS = ("clicks", "impressions", "recommendation-requests")
FOLLOWED = ("control", "article-vectors", "article-stats")

BAD = [
    *_of_a_user("clicks", CLICK),
    *_of_a_user("impressions", _IMPRESSION),
    Bad(
        "a click on what was not shown",
        "impressions",
        "'N9' is not among the candidates",
        json_of(_IMPRESSION, clicked=["N9"]),
    ),
    Bad("nothing shown", "impressions", "candidates: .*at least 1", json_of(_IMPRESSION, candidates=[])),
    Bad(
        "too many candidates",
        "impressions",
        "candidates: .*at most 1000",
        json_of(_IMPRESSION, candidates=[f"N{i}" for i in range(MAX_CANDIDATES + 1)]),
    ),
    *_of_a_user("recommendation-requests", _REQUEST),
    Bad("k = 0", "recommendation-requests", "k: .*greater than or equal to 1", json_of(_REQUEST, k=0)),
    Bad("k = 201", "recommendation-requests", "k: .*200", json_of(_REQUEST, k=201)),
    Bad("no candidates", "recommendation-requests", "candidates: ", json_of(_REQUEST, candidates=[])),
    Bad(
        "an age below 0",
        "recommendation-requests",
        "filters.max_age_s: ",
        json_of(_REQUEST, filters={"max_age_s": -1.0}),
    ),
    *_unreadable("slate-batches", _SLATES, "source", b"0"),
    Bad("a tombstone", "slate-batches", "tombstone", None, b"0"),
    Bad("an unknown source", "slate-batches", "source 'views'", json_of(_SLATES, source="views"), b"0"),
    Bad(
        "a partition that is none",
        "slate-batches",
        "partition 70000",
        json_of(_SLATES, partition=70_000),
        b"0",
    ),
    Bad(
        "a time that is none",
        "slate-batches",
        "1970",
        json_of(_SLATES, events=[{"offset": 10**6, "time_s": -5.0, "clicked": ["N-never"]}]),
        b"0",
    ),
    *_unreadable("control", _CONTROL, "subject", b"article:N3"),
    Bad("an unknown kind", "control", "kind: ", json_of(_CONTROL, kind="article-praised"), b"article:N3"),
    Bad("the key of another subject", "control", "key 'article:N3'", json_of(_CONTROL), b"article:N4"),
    Bad("the key of another kind", "control", "key 'article:N3'", json_of(_CONTROL), b"erased:N3"),
    *_unreadable("article-vectors", VECTOR, "news_id", _VECTOR_KEY),
    Bad(
        "another dimension",
        "article-vectors",
        "3 dimensions.*FRESHET_DIMENSION",
        json_of(VECTOR, vector=[1.0, 2.0, 3.0]),
        _VECTOR_KEY,
    ),
    Bad(
        "a number beyond float32",
        "article-vectors",
        "finite",
        json_of(VECTOR, vector=[1e300] * 16),
        _VECTOR_KEY,
    ),
    Bad(
        "the key of another article",
        "article-vectors",
        f"key '{BUNDLE}/N1'",
        json_of(VECTOR),
        f"{BUNDLE}/N2".encode(),
    ),
    Bad("the key of another bundle", "article-vectors", f"key '{BUNDLE}/N1'", json_of(VECTOR), b"b/N1"),
    Bad("the key of no bundle", "article-vectors", f"key '{BUNDLE}/N1'", json_of(VECTOR), b"N1"),
    Bad("a key that is not UTF-8", "article-vectors", r"key is b'\\xff'", json_of(VECTOR), b"\xff"),
    Bad("a tombstone whose key is not UTF-8", "article-vectors", "UTF-8", None, b"\xff"),
    Bad("a tombstone of no bundle", "article-vectors", "bundle/news_id", None, b"N1"),
    *_unreadable("article-stats", _STATS, "news_id", b"N1"),
    Bad("one half-life of four", "article-stats", "1 and 1 half-lives", json_of(_STATS), b"N1"),
    Bad("the key of another article", "article-stats", "news_id 'N1'", json_of(_STATS), b"N2"),
]
