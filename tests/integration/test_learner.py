"""The ranker learns from the stream: weights move as clicks arrive, and every worker takes them up.

Readers of these tests click on old news: ``log_age`` weighs against that at the start, and every example says
that it should not. Articles have statistics of their own, so that nothing else explains the clicks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from freshet.models.events.events import Click, Event, Impression, RankerExample, RankerWeights, from_unix_s
from freshet.models.ranking.example_codec import FINGERPRINT, encoded
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import DEFAULT_WEIGHTS
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from tests.integration.served_world import NOW, articles
from tests.integration.stream_harness import (
    START_S,
    Record,
    StreamProcess,
    events_on,
    keyed,
    send,
    stream_process,
    wait_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

OLD = "log_age"
SLATE = ("S0", "S5", "S14")


@pytest.fixture
def world(settings: Settings) -> Settings:
    """Topics with articles on them."""
    settings = settings.model_copy(update={"dimension": 16})
    ensure_topics(settings)
    asyncio.run(send(settings, [keyed("article-vectors", a, a.key) for a in articles()]))
    return settings


def impressions(first: int, n: int, clicked: Sequence[str] = ("S14",)) -> list[Record]:
    return [
        keyed(
            "impressions",
            Impression(
                impression_id=f"I{i}",
                user_id=f"U{i}",
                time=from_unix_s(START_S + i),
                candidates=SLATE,
                clicked=tuple(clicked),
            ),
            f"U{i}",
        )
        for i in range(first, first + n)
    ]


def example(offset: int, x: np.ndarray, clicked: tuple[bool, ...], **changed: object) -> Record:
    """An example as a user agent would send it."""
    event = RankerExample.model_validate(
        {
            "model": "default",
            "fingerprint": FINGERPRINT,
            "features": encoded(x),
            "clicked": clicked,
            "source": "impressions",
            "partition": 0,
            "offset": offset,
            "time": NOW,
        }
        | changed
    )
    return keyed("ranker-examples", event, event.model)


async def published(settings: Settings) -> list[RankerWeights]:
    return [record for record in await events_on(settings, "ranker-weights", RankerWeights)]


async def learned(settings: Settings, examples: int, *workers: StreamProcess) -> RankerWeights:
    """The first published weights that have learned from ``examples``."""

    async def probe() -> RankerWeights | None:
        records = await published(settings)
        if not records or (records[-1].examples or 0) < examples:
            return None
        return records[-1]

    return await wait_for(probe, f"weights of {examples} examples", workers)


async def ranker_of(client: Freshet) -> str:
    answer = await asyncio.to_thread(client.recommend, "U-any", 3, time=NOW, timeout_s=HANG_S)
    return answer.ranker


async def test_weights_move_as_clicks_arrive_and_every_worker_applies_them(
    world: Settings, tmp_path: Path
) -> None:
    with (
        stream_process(world, tmp_path / "one") as one,
        stream_process(world, tmp_path / "two") as two,
        Freshet(world) as client,
    ):
        await send(world, impressions(0, 60))
        record = await learned(world, 60, one, two)
        assert record.weights[OLD] > DEFAULT_WEIGHTS[OLD]
        assert (record.model, record.revision, record.happened) == ("default", 60, "learned")
        # Users of every partition: both workers answer.
        for i in range(8):

            async def answered(user_id: str = f"U{i}") -> bool:
                found = await asyncio.to_thread(client.recommend, user_id, 3, time=NOW, timeout_s=HANG_S)
                return found.ranker == "default-60"

            await wait_for(answered, f"U{i} to be ranked with the new weights", [one, two])


async def test_a_restarted_worker_goes_on_from_the_published_weights(world: Settings, tmp_path: Path) -> None:
    with stream_process(world, tmp_path / "worker") as first:
        await send(world, impressions(0, 40))
        before = await learned(world, 40, first)
        await send(world, impressions(40, 40))
        first.kill()
        second = StreamProcess(world, tmp_path / "worker")
        try:
            # An example of the batch that the kill fell into may be lost; none is counted twice.
            await send(world, impressions(80, 20))

            async def last_one() -> RankerWeights | None:
                records = await published(world)
                reached = {(at.source, at.partition): at.offset for at in records[-1].offsets or ()}
                return records[-1] if sum(reached.values()) == 100 - len(reached) else None

            after = await wait_for(last_one, "all impressions to be learned from", [second])
            with Freshet(world) as client:
                assert await ranker_of(client) == f"default-{after.revision}"
            assert 60 <= after.examples <= 100
            assert after.revision == after.examples
            assert after.weights[OLD] > before.weights[OLD]
            revisions = [record.revision for record in await published(world)]
            assert revisions == sorted(revisions)
        finally:
            second.kill()


async def test_a_poisoned_example_changes_nothing(world: Settings, tmp_path: Path) -> None:
    good = np.zeros((2, len(FEATURES)), np.float32)
    good[0, FEATURES.index(OLD)] = 1.0
    with stream_process(world, tmp_path / "worker") as worker:
        await send(world, [example(0, good, (True, False))])
        before = await learned(world, 1, worker)
        await send(
            world,
            [
                example(1, np.full_like(good, np.nan), (True, False)),
                example(2, np.full_like(good, np.inf), (True, False)),
                example(3, good * 1e6, (True, False)),
                example(4, good, (True, True)),
                example(5, good, (True, False), fingerprint="another version"),
                example(6, good, (True, False), model="another-model"),
                example(0, good, (True, False)),
                example(7, good, (True, False), features="no base64"),
                example(8, good, (False, True)),
            ],
        )
        after = await learned(world, 2, worker)
        assert after.revision == before.revision + 1
        assert after.weights[OLD] < before.weights[OLD]
        assert [(at.source, at.partition, at.offset) for at in after.offsets or ()] == [("impressions", 0, 8)]
        assert len(await events_on(world, "dead-letters", Event)) == 1


async def test_a_late_click_corrects_what_was_learned(world: Settings, tmp_path: Path) -> None:
    with stream_process(world, tmp_path / "worker") as worker, Freshet(world) as client:
        answer = await asyncio.to_thread(
            client.recommend, "U-late", candidates=SLATE, time=NOW, timeout_s=HANG_S
        )
        shown = Impression(
            impression_id="I-late",
            user_id="U-late",
            time=NOW,
            candidates=tuple(item.news_id for item in answer.items),
            request_id=answer.request_id,
        )
        await send(world, [keyed("impressions", shown, "U-late")])

        async def known() -> bool:
            return bool(await events_on(world, "user-vectors", Event))

        await wait_for(known, "the impression to be applied", [worker])
        click = Click(user_id="U-late", news_id="S14", time=NOW, request_id=answer.request_id)
        await send(world, [keyed("clicks", click, "U-late")])
        record = await learned(world, 1, worker)
        assert record.weights[OLD] > DEFAULT_WEIGHTS[OLD]
        (correction,) = await events_on(world, "ranker-examples", RankerExample)
        assert (correction.source, correction.clicked_before) == ("clicks", (False, False, False))
        assert sum(correction.clicked) == 1


async def test_what_falls_behind_the_start_is_rolled_back_for_all_to_see(
    world: Settings, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    ctr = FEATURES.index("log_ctr_24h")
    records = []
    for offset in range(900):
        x = np.zeros((6, len(FEATURES)), np.float32)
        x[:, ctr] = random.normal(size=6)
        # For a while the clicks are forged: always on what would be last.
        best = int(x[:, ctr].argmin() if 100 <= offset < 700 else x[:, ctr].argmax())
        records.append(example(offset, x, tuple(i == best for i in range(6))))
    # Until the weights have turned; then honest clicks show how far behind they are.
    with stream_process(world, tmp_path / "worker") as worker, Freshet(world) as client:
        await send(world, records)

        async def rolled_back() -> RankerWeights | None:
            found = [record for record in await published(world) if record.happened == "rolled-back"]
            return found[0] if found else None

        record = await wait_for(rolled_back, "weights to be rolled back", [worker])
        assert record.weights["log_ctr_24h"] >= DEFAULT_WEIGHTS["log_ctr_24h"]
        await learned(world, 900, worker)
        revision = (await published(world))[-1].revision

        async def applied() -> bool:
            return await ranker_of(client) == f"default-{revision}"

        await wait_for(applied, "the worker to rank with what is published", [worker])
        metrics = (await published(world))[-1]
        assert metrics.auc is not None
        assert metrics.start_auc is not None
