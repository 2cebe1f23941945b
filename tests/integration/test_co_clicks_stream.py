"""What those with the same recent clicks preferred reaches every answer, and survives the worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from freshet.models.events.events import (
    Click,
    CoClickCounts,
    Impression,
    Recommendation,
    RecommendationRequest,
    from_unix_s,
)
from freshet.streams.client import Freshet
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.stream_harness import (
    START_S,
    StreamProcess,
    keyed,
    read_all,
    send,
    settings_for,
    stream_process,
    wait_for,
)

pytestmark = pytest.mark.broker

_READERS = 6
_CLICKS = [
    event
    for reader in range(_READERS)
    for event in (
        # One click is part of its impression, the other comes by itself: both follow what was clicked before.
        Click(user_id=f"U{reader}", news_id="N1", time=from_unix_s(START_S + reader)),
        Impression(
            impression_id=f"I{reader}",
            user_id=f"U{reader}",
            time=from_unix_s(START_S + 60 + reader),
            candidates=("N2", "N3", "N4"),
            clicked=("N2",),
        ),
        Click(user_id=f"U{reader}", news_id="N5", time=from_unix_s(START_S + 120 + reader)),
    )
]


async def test_co_clicks_are_published_and_known_to_a_worker_that_never_saw_them(
    kafka: LocalKafka, tmp_path: Path
) -> None:
    settings = settings_for(kafka, tmp_path)
    with stream_process(settings, tmp_path / "first") as first:
        # A user's events of two topics are read in no certain order: what is to be followed comes first.
        for kind in (0, 1, 2):
            events = _CLICKS[kind::3]
            names = ["impressions" if isinstance(event, Impression) else "clicks" for event in events]
            await send(
                settings,
                [keyed(name, event, event.user_id) for name, event in zip(names, events, strict=True)],
            )
            await _answered(settings, first, {0: "N1", 1: "N2", 2: "N5"}[kind])
        published = await wait_for(lambda: _published(settings), "the co-clicks", [first])
        assert published["N2"] == {"N1": _READERS}
        assert published["N5"] == {"N1": _READERS, "N2": _READERS}
        first.kill()
    with stream_process(settings, tmp_path / "second") as second:
        answer = await _answered(settings, second, "N5")
    cosine = {item.news_id: item.features.get("co_click_cosine", 0.0) for item in answer.items}
    assert cosine["N2"] > 0.0
    assert cosine["N3"] == 0.0


async def _published(settings: Settings) -> dict[str, dict[str, int]] | None:
    records = await read_all(settings, f"{settings.topic_prefix}co-clicks")
    counts = {event.news_id: event.contexts for event in (CoClickCounts.from_json(r.value) for r in records)}
    complete = counts.get("N5", {}).get("N2") == _READERS and counts.get("N2", {}).get("N1") == _READERS
    return counts if complete else None


async def _answered(settings: Settings, worker: StreamProcess, clicked: str) -> Recommendation:
    """An answer to a reader who has clicked N1, once it rests on everybody's clicks on ``clicked``."""

    async def probe() -> Recommendation | None:
        with Freshet(settings) as client:
            for reader in range(_READERS):
                request = RecommendationRequest(
                    request_id=f"{clicked}-{reader}-{asked.pop()}",
                    user_id=f"U{reader}",
                    time=from_unix_s(START_S + 3_600),
                    candidates=("N2", "N3"),
                    details=True,
                )
                answer = client.submit(request).result(60)
                if answer.user_clicks < {"N1": 1, "N2": 2, "N5": 3}[clicked]:
                    return None
        return answer

    asked = list(range(10_000))
    found: Recommendation = await wait_for(probe, f"the clicks on {clicked}", [worker])
    return found
