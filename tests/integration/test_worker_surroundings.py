"""A worker without its index, after a restart, and beside a real embedding worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from freshet.models.events.events import (
    Article,
    Control,
    Filters,
    RecommendedArticle,
)
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.worker_process import WorkerProcess
from tests.integration.served_world import (
    CLUSTER,
    NOW,
    World,
    article,
    ids_of,
    served,
)
from tests.integration.stream_harness import (
    keyed,
    send,
    settings_for,
    stream_process,
    wait_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


def test_trending_articles_survive_a_restart_and_an_update(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path)

    def found(world: World) -> RecommendedArticle:
        return {item.news_id: item for item in world.recommend("U-any", k=200).items}["S5"]

    async def trending(world: World) -> bool:
        return "trending" in found(world).sources

    with served(settings) as world:
        world.click("U-fan", "S5")
        asyncio.run(world.until(partial(trending, world), "the clicked article to trend"))
    with served(settings) as world:
        assert asyncio.run(trending(world)), "known as soon as the worker answers"
        changed = article("S5", "sport", seed=77).model_copy(update={"title": "changed"})
        asyncio.run(send(settings, [keyed("article-vectors", changed, changed.key)]))

        async def renamed() -> bool:
            return found(world).title == "changed" and await trending(world)

        asyncio.run(world.until(renamed, "the update"))


def test_without_an_index_answers_come_and_say_so(kafka: LocalKafka, tmp_path: Path) -> None:
    settings = settings_for(kafka, tmp_path)
    ensure_topics(settings)
    withdrawn = Control(kind="article-withdrawn", subject="S1", time=NOW)
    asyncio.run(send(settings, [keyed("control", withdrawn, withdrawn.key)]))
    with served(settings, FRESHET_QDRANT_URL="http://127.0.0.1:9") as world:
        answer = world.recommend("U1", k=100, filters=Filters(categories=("sport",)))
        assert answer.degraded == "trending"
        assert set(ids_of(answer)) == {f"S{i}" for i in range(CLUSTER)} - {"S1"}
        ranked = world.recommend("U1", candidates=["S1", "P1", "N-unknown"])
        assert ranked.degraded is None
        assert len(ranked.items) == 3
        world.click("U1", "P1")
        assert asyncio.run(world.after_clicks("U1", 1)).degraded == "trending"
        fresh = article("S-fresh", "sport", age_s=1.0)
        asyncio.run(send(settings, [keyed("article-vectors", fresh, fresh.key)]))

        async def listed() -> bool:
            return "S-fresh" in ids_of(world.recommend("U1", k=100))

        asyncio.run(world.until(listed, "an article published while the index is down"))


def test_a_worker_whose_broker_is_gone_stops_when_it_is_told_to(tmp_path: Path) -> None:
    with LocalKafka(tmp_path / "broker") as broker:
        settings = settings_for(broker, tmp_path)
        with stream_process(settings, tmp_path) as worker:
            with Freshet(settings) as client:
                client.recommend("U1", timeout_s=HANG_S)
                client.click("U1", "N1")  # read, and as a rule not yet committed
            (java,) = psutil.Process(broker.pid).children()
            java.kill()
            assert worker.stop() == 0
        assert "not stopped within" not in worker.log_file.read_text()


@pytest.mark.parametrize("topic", ["recommendation-requests", "ranker-weights"])
def test_a_worker_of_which_a_part_fails_ends_and_says_why(
    kafka: LocalKafka, tmp_path: Path, topic: str
) -> None:
    settings = settings_for(kafka, tmp_path)
    ensure_topics(settings)
    program = [str(Path(__file__).with_name("faulty_worker.py")), "stream"]
    with (
        WorkerProcess(program, settings, tmp_path / "worker.log") as worker,
        Freshet(settings) as client,
    ):
        client.recommend("U1", timeout_s=HANG_S)
        (tmp_path / "faults").write_text(json.dumps({"fail": [topic]}))
        assert worker.wait(HANG_S) == 1
    assert "as the test wants" in worker.log_file.read_text()


@contextmanager
def _embedding_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    options = {
        "FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": settings.topic_prefix,
        "FRESHET_PARTITIONS": str(settings.partitions),
        "FRESHET_DIMENSION": str(settings.dimension),
        "FRESHET_METRICS_PORT": "0",
    }
    with (settings.data_dir / "embed.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "freshet.workers", "embed", "--threads=1"],
            env=os.environ | options,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HANG_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def test_an_article_is_recommendable_after_publication_until_it_is_withdrawn(
    kafka: LocalKafka, tmp_path: Path
) -> None:
    settings = settings_for(kafka, tmp_path, dimension=64)
    ensure_topics(settings)
    with (
        stream_process(settings, tmp_path) as worker,
        _embedding_process(settings) as embedding,
        Freshet(settings) as client,
    ):

        def publish(news_id: str, title: str) -> None:
            client.publish(Article(news_id=news_id, published_at=NOW, title=title, category="news"))

        async def titles() -> dict[str, str]:
            assert embedding.poll() is None, (tmp_path / "embed.log").read_text()[-3_000:]
            answer = client.recommend("U1", k=50, time=NOW, timeout_s=HANG_S)
            return {item.news_id: item.title for item in answer.items}

        async def has(news_id: str, title: str | None) -> bool:
            return (await titles()).get(news_id) == title

        football = "The striker scores twice in the cup final"
        publish("A1", football)
        publish("A2", "Parliament votes on the new budget")
        await wait_for(partial(has, "A1", football), "the first article", [worker])
        await wait_for(partial(has, "A2", "Parliament votes on the new budget"), "the second", [worker])
        client.click("U1", "A2", time=NOW)
        publish("A3", "The goalkeeper saves the cup for the home team")
        publish("A4", "Senators reject the finance minister's budget")
        for news_id in ("A3", "A4"):

            async def there(news_id: str = news_id) -> bool:
                return news_id in await titles()

            await wait_for(there, news_id, [worker])

        async def ranked_by_the_click() -> list[str]:
            answer = client.recommend("U1", candidates=["A3", "A4"], time=NOW, timeout_s=HANG_S)
            return ids_of(answer) if answer.user_clicks else []

        ranked = await wait_for(ranked_by_the_click, "the click", [worker])
        assert ranked == ["A4", "A3"], "texts about one thing lie near each other"
        publish("A1", "Correction: the final was postponed")
        await wait_for(partial(has, "A1", "Correction: the final was postponed"), "the update", [worker])
        client.withdraw("A1")
        await wait_for(partial(has, "A1", None), "the article to disappear", [worker])
