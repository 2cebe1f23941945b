"""The least that a record of each event holds."""

from __future__ import annotations

import json
from typing import Any

from freshet.models.events.events import (
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    CoClickCounts,
    Control,
    DeadLetter,
    Event,
    Impression,
    RankerExample,
    RankerWeights,
    Recommendation,
    RecommendationRequest,
    SlateBatch,
    UserVector,
)

TIME = "2026-03-02T08:00:00Z"

MINIMAL: dict[type[Event], dict[str, Any]] = {
    Article: {"news_id": "N1", "published_at": TIME},
    ArticleVector: {"news_id": "N1", "bundle": "b1", "vector": [0.5], "published_at": TIME},
    ArticleStats: {
        "news_id": "N1",
        "time": TIME,
        "counts": [{"clicks": 0, "impressions": 0}],
        "first_seen": TIME,
    },
    CoClickCounts: {"news_id": "N1", "contexts": {"N2": 1}},
    Impression: {"impression_id": "I1", "user_id": "U1", "time": TIME, "candidates": ["N1"]},
    Click: {"user_id": "U1", "news_id": "N1", "time": TIME},
    UserVector: {
        "user_id": "U1",
        "time": TIME,
        "bundle": "b1",
        "clicks": 0,
        "heads": [{"name": "2h", "half_life_s": 7200, "weight": 0, "vector": [0.5]}],
    },
    RecommendationRequest: {"request_id": "R1", "user_id": "U1", "time": TIME},
    Recommendation: {
        "request_id": "R1",
        "user_id": "U1",
        "time": TIME,
        "bundle": "b1",
        "ranker": "fixed",
        "items": [{"news_id": "N1", "score": 0.5}],
    },
    Control: {"kind": "push-on", "subject": "U1", "time": TIME},
    RankerExample: {
        "model": "linear",
        "fingerprint": "f",
        "features": "",
        "clicked": [True],
        "source": "impressions",
        "partition": 0,
        "offset": 0,
        "time": TIME,
    },
    RankerWeights: {"model": "linear", "revision": 0, "time": TIME, "weights": {}},
    SlateBatch: {"source": "clicks", "partition": 0, "events": [{"offset": 0, "time_s": 0}]},
    DeadLetter: {"source": "clicks", "reason": "not JSON", "time": TIME},
}
"""The least that a record of version 1 holds. It may never grow."""


def encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
