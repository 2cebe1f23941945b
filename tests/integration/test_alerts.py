"""Every alert is raised by its fault: real workers on a real broker, watched by a real Prometheus.

The rules are those of ``deploy/prometheus/alerts.yml`` with every duration divided by 60, so that a minute
lasts a second; expressions and thresholds are unchanged, and so are the workers. What a green run does not
prove is that the windows are well chosen. Three faults are switched on in a worker's process, because nothing
brings them about on demand: a consumer that hangs, a catalog that is never read to its end, an encoder
without memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from freshet.models.events.control import Control
from freshet.models.events.events import Article, ArticleVector, Click, RankerExample, from_unix_s
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.ranking.example_codec import FINGERPRINT, encoded
from freshet.models.ranking.features import FEATURES
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.alert_rules import alerts
from tests.integration.alert_world import NOW, AlertWorld
from tests.integration.stream_harness import START_S, Record, events_on, keyed, send, settings_for
from tests.waiting import HANG_S

pytestmark = [pytest.mark.broker, pytest.mark.nightly]

DAY_S = 86_400.0
OLD, NEW, POLITICS, ODD = ([f"N{i}" for i in range(first, first + 20)] for first in (0, 20, 40, 60))
SPEED = {
    "FreshetAnswersBudgetBurnFast",
    "FreshetAnswersBudgetBurnSlow",
    "FreshetArticlesLate",
    "FreshetClicksLate",
}
"""What a machine that is busy with something else may raise by itself."""


def vector(news_id: str, bundle: str, category: str, age_s: float, length: float = 1.0) -> Record:
    """An article near one axis."""
    row = 0.1 * np.random.default_rng(int(news_id[1:])).normal(size=16)
    row[0] += 1.0
    row *= length / np.linalg.norm(row)
    event = ArticleVector(
        news_id=news_id,
        bundle=bundle,
        vector=tuple(row.tolist()),
        published_at=from_unix_s(START_S - age_s),
        title=f"Title {news_id}",
        category=category,
    )
    return keyed("article-vectors", event, event.key)


def articles(first: int, n: int) -> list[Record]:
    published = [
        Article(news_id=f"A{i}", published_at=NOW, title=f"What happened on day {i}", category="sport")
        for i in range(first, first + n)
    ]
    return [keyed("articles", article, article.news_id) for article in published]


def clicks(n: int, news_ids: Sequence[str], age_s: float = 0.0) -> list[Record]:
    time = from_unix_s(START_S - age_s)
    made = [Click(user_id=f"C{i}", news_id=news_ids[i % len(news_ids)], time=time) for i in range(n)]
    return [keyed("clicks", click, click.user_id) for click in made]


def examples(first: int, forged: Sequence[bool]) -> list[Record]:
    """Slates of which the best article was clicked, or where ``forged`` the worst."""
    random = np.random.default_rng(3)
    rate = FEATURES.index("log_ctr_24h")
    records = []
    for offset, is_forged in enumerate(forged, first):
        x = np.zeros((6, len(FEATURES)), np.float32)
        x[:, rate] = random.normal(size=6)
        clicked = int(x[:, rate].argmin() if is_forged else x[:, rate].argmax())
        event = RankerExample(
            model="default",
            fingerprint=FINGERPRINT,
            features=encoded(x),
            clicked=tuple(i == clicked for i in range(6)),
            source="clicks",
            partition=0,
            offset=offset,
            time=NOW,
        )
        records.append(keyed("ranker-examples", event, event.model))
    return records


@pytest.fixture
def world(kafka: LocalKafka, tmp_path: Path) -> Iterator[AlertWorld]:
    # The ranker learns from this test's examples only.
    changes: dict[str, object] = {"learn": False, "drift_interval_s": 0.3}
    settings = settings_for(kafka, tmp_path).model_copy(update=changes)
    lame = settings_for(kafka, tmp_path).model_copy(update={"qdrant_url": "http://127.0.0.1:9"})
    for each in (settings, lame):
        ensure_topics(each)
    world = AlertWorld(settings, lame, tmp_path)
    try:
        yield world
    finally:
        for worker in world.workers:
            worker.kill()


async def start(world: AlertWorld) -> None:
    """Have all workers ready to work; nobody watches before."""
    await send(world.lame.settings, [vector("N0", "lame", "sport", DAY_S)])
    for worker in world.workers:
        worker.start()
    for worker in world.workers:
        await world.until(worker.is_ready, "the workers to be ready")


async def work_as_they_should(world: AlertWorld, client: Freshet) -> str:
    """Everybody works, and no alert fires. Returns the bundle."""
    settings = world.settings
    await world.watch()
    await send(settings, articles(0, 1))

    async def embedded() -> list[ArticleVector]:
        return await events_on(settings, "article-vectors", ArticleVector)

    await world.until(embedded, "the first article to be embedded")
    bundle: str = (await embedded())[0].bundle
    await send(
        settings,
        [vector(news_id, bundle, "sport", 20 * DAY_S) for news_id in OLD]
        + [vector(news_id, bundle, "sport", DAY_S / 2) for news_id in NEW]
        + [vector(news_id, bundle, "politics", 20 * DAY_S) for news_id in POLITICS],
    )
    await send(settings, clicks(60, OLD, 10 * DAY_S) + clicks(60, NEW))
    await world.click(await world.ask(client, 64, at_a_time=2), place=0)

    async def measured() -> bool:
        # As many evaluations as an alert takes that has to wait for five minutes.
        seen = (
            "min(count_over_time(freshet:rolling_auc:ratio[5m])) > 10",
            "max(freshet_drift_sampled_articles) > 0",
            "sum(freshet_group_lag_events) == 0",
        )
        return all(world.prometheus.query(query) for query in seen)

    await world.until(measured, "Prometheus to have seen the system at work")
    assert world.fired() <= SPEED
    return bundle


async def test_every_alert_is_raised_by_its_fault_and_not_before(world: AlertWorld) -> None:
    settings = world.settings
    await start(world)
    with (
        world.prometheus,
        Freshet(settings) as client,
        Freshet(world.lame.settings) as lame_client,
    ):
        bundle = await work_as_they_should(world, client)

        # A worker is killed, and the one that takes its place hangs while it reads the catalog.
        world.lame.kill()
        world.lame.switch(hang=["article-vectors"])
        world.lame.start()

        # A record that is none.
        await send(settings, [("clicks", b"U1", b"{}")])
        # Readers turn to politics, and new articles get vectors three times as long.
        await send(settings, [vector(news_id, bundle, "sport", DAY_S / 2, 3.0) for news_id in ODD])
        await send(settings, clicks(120, POLITICS))
        # A variant whose ranker nobody has published serves nobody.
        await send(settings, [experiment_without_ranker()])

        # Readers click what was thought worst of all.
        await world.click(await world.ask(client, 500, at_a_time=50), place=-1)
        # Clicks turn around too often to be learned from.
        await send(settings, examples(1_000_000, [i // 10 % 2 == 1 for i in range(500)]))

        with world.stream.standing_still():
            await send(settings, clicks(200, POLITICS))
            waiting = [client.submit(request) for request in world.requests(300)]
            await world.until_older_than(1.2)
        with world.embed.standing_still():
            await send(settings, articles(1, 8))
            await world.until_older_than(2.2)
            await world.raised("FreshetWorkerDown")
        await world.raised("FreshetArticlesLate", "FreshetClicksLate", "FreshetAnswersBudgetBurnFast")
        assert len({future.result(timeout=HANG_S).request_id for future in waiting}) == 300, (
            "late is not lost"
        )

        # Everything but clicks goes on.
        world.stream.switch(hang=["clicks"])
        # What is under way is still read, 500 at most.
        await send(settings, clicks(2_500, POLITICS))
        world.embed.switch(memory_texts=1)
        await send(settings, articles(9, 40))
        await world.raised("FreshetCatalogNotCaughtUp", "FreshetEmbeddingOutOfMemory", "FreshetDeadLetters")
        # The catalog is there, the index is not.
        world.lame.switch()
        await world.until(world.lame.is_ready, "the second worker to have read its catalog")
        for _ in range(8):
            assert lame_client.recommend("U1", time=NOW, timeout_s=HANG_S).degraded == "trending"
        # Its catalog is read outside the group, of whose lag it is no part.
        world.lame.switch(hang=["article-vectors"])
        await send(world.lame.settings, [vector("N1", "lame", "sport", DAY_S)])
        await world.raised(
            "FreshetAnswersDegraded",
            "FreshetConsumerLag",
            "FreshetConsumerStuck",
            "FreshetSampleRatioMismatch",
            "FreshetRollingAucFell",
            "FreshetRankerBehindStart",
            "FreshetAnswersBudgetBurnSlow",
            "FreshetCategoryDrift",
            "FreshetVectorDrift",
        )
        # For long all clicks are forged, and when they no longer are, what was learned is of no use.
        await send(settings, examples(2_000_000, [i < 600 for i in range(900)]))
        await world.raised("FreshetRankerRolledBack")

        async def follower_stalled() -> bool:
            topic = f'topic="{world.lame.settings.topic_prefix}article-vectors"'
            return bool(world.prometheus.query(f"freshet_consumer_stalled_seconds{{{topic}}} > 5"))

        await world.until(follower_stalled, "the catalog's consumer to be seen to hang")
        for worker in (world.stream, world.lame):
            worker.kill()
        await world.raised("FreshetNoStreamWorker")
        assert world.fired() == alerts().keys(), "every alert has its fault"


def experiment_without_ranker() -> Record:
    experiment = Experiment(
        name="lost",
        salt="lost",
        created_at=NOW,
        shares_since=NOW,
        variants=(Variant(name="A", share=0.5), Variant(name="B", share=0.5, ranker="never-published")),
    )
    control = Control(kind="experiment-started", subject="lost", time=NOW, experiment=experiment)
    return keyed("control", control, control.key)
