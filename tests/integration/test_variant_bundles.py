"""Two bundles at once on a real broker: each user is served by one of them, as it would serve alone.

Bundle A has 16 dimensions and bundle B 32, so that a vector of the other could not even be compared.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from freshet.models.embedding.bundle import Bundle
from freshet.models.events.events import RankerWeights, Recommendation, from_unix_s
from freshet.streams.client.promotions import promote
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.bundles import CATEGORIES, random_bundle
from tests.integration.changing_site import ARTICLES, Site
from tests.integration.served_world import ids_of
from tests.integration.stream_harness import START_S, events_on, settings_for, wait_for

pytestmark = pytest.mark.broker

USERS = [f"U{i}" for i in range(12)]
TOLERANCE = 1e-5


@pytest.fixture
def site(kafka: LocalKafka, tmp_path: Path) -> Iterator[Site]:
    settings = settings_for(kafka, tmp_path / "data").model_copy(update={"bundles": tmp_path / "bundles"})
    site = Site(settings)
    yield site
    site.close()


def experiment(site: Site, *args: object) -> str:
    options = ["--bootstrap-servers", site.settings.bootstrap_servers]
    options += ["--topic-prefix", site.settings.topic_prefix]
    done = CliRunner().invoke(main, ["experiment", *map(str, args), *options])
    assert done.exit_code == 0, done.output
    return done.output


def answers(site: Site) -> dict[str, Recommendation]:
    return {user_id: site.recommend(user_id) for user_id in USERS}


def until(site: Site, worker: Any, variants: set[str | None]) -> dict[str, Recommendation]:
    """Every user's answer, as soon as these are the variants that serve."""

    async def served() -> dict[str, Recommendation] | None:
        found = await asyncio.to_thread(answers, site)
        return found if {answer.variant for answer in found.values()} == variants else None

    found: dict[str, Recommendation] = asyncio.run(wait_for(served, f"variants {variants}", [worker]))
    return found


def scores(answer: Recommendation) -> dict[str, float]:
    return {item.news_id: item.score for item in answer.items}


def settled(site: Site, worker: Any) -> dict[str, Recommendation]:
    """Every user's answer, when it has been the same for longer than the population's vector is kept."""
    since: list[tuple[float, dict[str, Recommendation]]] = []

    async def unchanged() -> dict[str, Recommendation] | None:
        found = await asyncio.to_thread(answers, site)
        if since and any(scores(found[user]) != scores(since[-1][1][user]) for user in USERS):
            since.clear()
        since.append((time.monotonic(), found))
        return found if since[-1][0] - since[0][0] > 1.2 else None

    found: dict[str, Recommendation] = asyncio.run(wait_for(unchanged, "answers that stay", [worker]))
    return found


def two_bundles(site: Site) -> tuple[Bundle, Bundle]:
    """Both have all articles embedded; A is promoted."""
    known = {"category": CATEGORIES, "news_id": tuple(ARTICLES)}
    features = ("category", "news_id")
    catalogue = site.settings.bundles
    a = random_bundle(catalogue / "a", name="a", d=16, features=features, vocabularies=known)
    b = random_bundle(
        catalogue / "b",
        name="b",
        d=32,
        seed=1,
        features=features,
        vocabularies=known,
        half_lives_s=(600.0, 3_600.0, 86_400.0),
        attention=True,
        population=True,
        user_layers=True,
        ranker_weights={"dot_best": 2.0, "dot_skips": -1.0, "log_ctr_all": 1.0, "log_age": -0.5},
    )
    site.publish(*ARTICLES)
    promote(site.settings, a.id)
    for bundle in (a, b):
        with site.embedding(bundle):
            site.until_embedded(bundle, len(ARTICLES))
    return a, b


def read(site: Site, worker: Any) -> None:
    """Each user but the last sees a slate and clicks on two articles of it."""
    for i, user_id in enumerate(USERS[:-1]):
        shown = [ARTICLES[(i + step) % len(ARTICLES)] for step in range(5)]
        at_s = START_S - 600.0 + 10 * i
        site.client.impression(user_id, shown, [shown[0]], time=from_unix_s(at_s))
        site.client.click(user_id, shown[1], time=from_unix_s(at_s + 5.0))

    async def known() -> bool:
        found = await asyncio.to_thread(answers, site)
        return all(found[user_id].user_clicks == 2 for user_id in USERS[:-1])

    asyncio.run(wait_for(known, "all clicks", [worker]))


def test_a_variant_is_served_as_its_bundle_serves_alone(site: Site) -> None:
    a, b = two_bundles(site)
    with site.serving(FRESHET_LEARN="0") as worker:
        read(site, worker)
        alone_a = settled(site, worker)
        assert {answer.bundle for answer in alone_a.values()} == {a.id}
        experiment(site, "start", "E", "--variant=A=default:0.5", f"--variant=B=bundle:{b.folder}:0.5")
        (listed,) = json.loads(experiment(site, "list", "--json"))["experiments"]
        assert [variant.get("bundle") for variant in listed["variants"]] == [None, b.id]
        until(site, worker, {"A", "B"})
        both = settled(site, worker)
        of_b = {user_id for user_id, answer in both.items() if answer.variant == "B"}
        for user_id, answer in both.items():
            bundle, ranker = (b.id, f"{b.id}-0") if user_id in of_b else (a.id, f"{a.id}-0")
            assert (answer.bundle, answer.ranker, answer.degraded) == (bundle, ranker, None)
            assert set(ids_of(answer)) == set(ARTICLES)
            if user_id not in of_b:
                assert scores(answer) == pytest.approx(scores(alone_a[user_id]), abs=TOLERANCE)
    with site.serving(FRESHET_LEARN="0") as worker:
        first = answers(site)
        assert {user_id for user_id, answer in first.items() if answer.variant == "B"} == of_b
        again = settled(site, worker)
        for user_id in USERS:
            assert scores(again[user_id]) == pytest.approx(scores(both[user_id]), abs=TOLERANCE)
        experiment(site, "stop", "E")
        after = until(site, worker, {None})
        assert {answer.bundle for answer in after.values()} == {a.id}
        promote(site.settings, b.id)
    with site.serving(FRESHET_LEARN="0") as worker:
        alone_b = settled(site, worker)
        assert {answer.bundle for answer in alone_b.values()} == {b.id}
        for user_id in of_b:
            assert scores(both[user_id]) == pytest.approx(scores(alone_b[user_id]), abs=TOLERANCE)
    site.check_vectors(a, b)


def test_a_variants_bundle_follows_its_articles_and_learns_from_its_own_users(site: Site) -> None:
    a, b = two_bundles(site)
    with site.serving() as worker:
        read(site, worker)
        experiment(site, "start", "E", "--variant=A=default:0.5", f"--variant=B=bundle:{b.id}:0.5")
        both = until(site, worker, {"A", "B"})
        user_id = next(user_id for user_id, answer in both.items() if answer.variant == "B")
        site.publish("N-new")
        site.client.withdraw("N3")
        with site.embedding(b):

            async def followed() -> bool:
                ids = set(ids_of(await asyncio.to_thread(site.recommend, user_id)))
                return ids == {*ARTICLES, "N-new"} - {"N3"}

            asyncio.run(wait_for(followed, "the new article, and not the withdrawn", [worker]))
        answer = site.recommend(user_id)
        shown = ids_of(answer)[:5]
        site.client.impression(user_id, shown, [shown[-1]], request_id=answer.request_id, time=answer.time)

        async def learned() -> set[str]:
            records = await events_on(site.settings, "ranker-weights", RankerWeights)
            return {record.model for record in records if record.happened == "learned"} & {b.id}

        asyncio.run(wait_for(learned, "weights learned for B", [worker]))

        async def ranked() -> bool:
            return (await asyncio.to_thread(site.recommend, user_id)).ranker != f"{b.id}-0"

        asyncio.run(wait_for(ranked, "an answer by what B has learned", [worker]))
        experiment(site, "stop", "E")
        until(site, worker, {None})
    site.check_vectors(a, b)


def test_a_variant_whose_bundle_is_not_here_serves_nobody(site: Site) -> None:
    a, _ = two_bundles(site)
    with site.serving() as worker:
        output = experiment(site, "start", "E", "--variant=A=default:0.5", "--variant=B=bundle:b-9:0.5")
        assert "no folder" in output
        found = until(site, worker, {"A", None})
        assert {answer.bundle for answer in found.values()} == {a.id}
