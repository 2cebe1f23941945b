"""From one bundle to another and back on a real broker: users keep their clicks, vectors never mix.

Bundle A has 16 dimensions and bundle B 32, so that a vector of the other could not even be compared.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from freshet.models.embedding.bundle import EncoderSpec
from freshet.models.embedding.promotions import UNTRAINED, promoted
from freshet.models.embedding.text.encoder import TransformerEncoder
from freshet.models.events.events import (
    ArticleVector,
    from_unix_s,
)
from freshet.streams.client.promotions import promote, read_promotions
from freshet.streams.kafka.connection import topic_name
from freshet.workers.cli.main import main
from freshet.workers.processes.bundle_folders import BundleUnusable, open_bundle
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.bundles import CATEGORIES, random_bundle
from tests.integration.changing_site import ARTICLES, Site
from tests.integration.served_world import ids_of
from tests.integration.stream_harness import (
    START_S,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker


@pytest.fixture
def site(kafka: LocalKafka, tmp_path: Path) -> Iterator[Site]:
    settings = settings_for(kafka, tmp_path / "data").model_copy(update={"bundles": tmp_path / "bundles"})
    site = Site(settings)
    yield site
    site.close()


def test_a_switch_and_the_way_back_keep_clicks_and_articles_and_mix_no_vectors(site: Site) -> None:
    catalogue = site.settings.bundles
    known = {"category": CATEGORIES, "news_id": tuple(ARTICLES)}
    a = random_bundle(
        catalogue / "a", name="a", d=16, features=("category", "news_id"), vocabularies=known, attention=True
    )
    b = random_bundle(
        catalogue / "b",
        name="b",
        d=32,
        seed=1,
        half_lives_s=(600.0, 3_600.0, 86_400.0),
        population=True,
        user_layers=True,
        ranker_weights={"dot_best": 2.0, "log_age": -0.5},
    )
    site.publish(*ARTICLES)
    promote(site.settings, a.id)
    with site.embedding(a), site.serving() as worker:
        site.until_answered(a, 0, set(ARTICLES), [worker])
        for i in range(3):
            site.client.click("U1", f"N{i}", time=from_unix_s(START_S - 60.0 + i))
        site.until_answered(a, 3, set(ARTICLES), [worker])
        assert site.recommend().ranker == f"{a.id}-0", "weights learned for one bundle are no other's"
        # Rolled out beside the other, whose answers must not change.
        with site.embedding(b):
            site.until_embedded(b, len(ARTICLES))
        site.until_answered(a, 3, set(ARTICLES), [worker])
        site.client.click("U1", "N3", time=from_unix_s(START_S - 50.0))
        site.until_answered(a, 4, set(ARTICLES), [worker])
    with site.serving() as worker:
        site.until_answered(a, 4, set(ARTICLES), [worker])  # a restart during the rollout loses nothing
        promote(site.settings, b.id)

    with site.embedding(b), site.serving() as worker:
        site.until_answered(b, 4, set(ARTICLES), [worker])
        assert site.recommend().ranker == f"{b.id}-0"
        site.publish("N-new")
        site.delete("N0")
        now_known = {*ARTICLES, "N-new"} - {"N0"}
        site.client.click("U1", "N4", time=from_unix_s(START_S - 40.0))
        site.until_answered(b, 5, now_known, [worker])

    site.until_embedded(a, len(ARTICLES))
    promote(site.settings, a.id, rollback=True)
    assert promoted(read_promotions(site.settings)) == (a.id,)
    with site.serving() as worker:
        # Before anything is embedded again: its vectors were kept.
        site.until_answered(a, 5, set(ARTICLES), [worker])
        with site.embedding(a):
            site.until_answered(a, 5, now_known, [worker])
    site.until_embedded(a, len(ARTICLES) + 2)
    records = site.vectors_of(
        a, asyncio.run(read_all(site.settings, f"{site.settings.topic_prefix}article-vectors"))
    )
    assert len(records) == len(ARTICLES) + 2, "only what had changed was embedded again"
    site.check_vectors(a, b)


def test_vectors_of_a_bundle_that_waits_for_its_promotion_are_not_those_of_no_bundle(site: Site) -> None:
    waiting = random_bundle(site.settings.bundles / "a", name="waiting", d=16)
    site.publish(*ARTICLES)
    with site.embedding(waiting):
        site.until_embedded(waiting, len(ARTICLES))
    served = [
        ArticleVector(
            news_id=news_id,
            bundle="untrained-test",
            vector=(0.5,) * 7,
            published_at=from_unix_s(START_S - 3_600.0),
        )
        for news_id in ("N1", "N2")
    ]
    asyncio.run(send(site.settings, [keyed("article-vectors", vector, vector.key) for vector in served]))
    with site.serving():
        answer = site.recommend()
    assert (answer.bundle, set(ids_of(answer))) == ("untrained-test", {"N1", "N2"})
    assert asyncio.run(read_all(site.settings, topic_name(site.settings, "dead-letters"))) == []


def test_a_promoted_bundle_that_is_not_here_is_named_with_the_ways_out(site: Site) -> None:
    settings = site.settings
    a = random_bundle(settings.bundles / "a", name="a")
    assert open_bundle(settings) is None, "nothing was promoted"
    promote(settings, "b-1")
    with pytest.raises(BundleUnusable, match=r"holds bundle b-1 .*a is a-.*--bundle.*rollback"):
        open_bundle(settings)
    given = open_bundle(settings.model_copy(update={"bundle": a.folder}))
    assert given is not None
    assert given.id == a.id, "what is given is served whatever is promoted"
    promote(settings, UNTRAINED, rollback=True)
    assert open_bundle(settings) is None
    assert [bool(control.rollback) for control in read_promotions(settings)] == [False, True]


def test_the_verb_promotes_and_rolls_back(site: Site) -> None:
    settings = site.settings
    a = random_bundle(settings.bundles / "a", name="a")
    b = random_bundle(settings.bundles / "b", name="b", seed=1)

    def run(*args: object, status: int = 0) -> str:
        options = ["--bootstrap-servers", settings.bootstrap_servers, "--topic-prefix", settings.topic_prefix]
        done = CliRunner().invoke(main, ["bundles", *map(str, args), *options])
        assert done.exit_code == status, done.output
        return done.output

    run("promote", a.folder, "--bundles", settings.bundles)
    assert b.id in run("promote", b.id, "--bundles", settings.bundles)
    assert promoted(read_promotions(settings)) == (a.id, b.id)
    assert f"back to {a.id}" in run("rollback")
    assert f"back to {UNTRAINED}" in run("rollback")
    assert "no promotion is left" in run("rollback", status=1)
    assert run("history").splitlines()[-1] == f"in service: {UNTRAINED}"


def test_up_serves_the_bundle_that_it_is_given(site: Site, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "given", name="given", d=24)
    site.publish(*ARTICLES)
    options = ["--bootstrap-servers", site.settings.bootstrap_servers, "--exit-with-stdin"]
    options += ["--topic-prefix", site.settings.topic_prefix, "--metrics-port", "0"]
    options += ["--partitions", str(site.settings.partitions), "--data-dir", str(site.settings.data_dir)]
    command = [Path(sys.executable).parent / "freshet", "up", "--bundle", bundle.folder, *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            # Vectors lead to nothing for a moment after they are on the topic.
            site.until_answered(bundle, 0, set(ARTICLES), [])
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, output
    assert f"no text encoder, bundle {bundle.id}" in output
    site.check_vectors(bundle)


def test_the_embedding_process_makes_a_bundles_vectors_of_real_text(site: Site, tmp_path: Path) -> None:
    info = TransformerEncoder("minilm", threads=1).info
    spec = EncoderSpec(name=info.name, pooling=info.pooling, d=info.d, extra=dict(info.extra))
    bundle = random_bundle(tmp_path / "text", name="text", d=24, encoder=spec)
    site.publish("N1")
    options = ["--bootstrap-servers", site.settings.bootstrap_servers]
    options += ["--topic-prefix", site.settings.topic_prefix, "--metrics-port", "0", "--threads", "1"]
    options += ["--partitions", str(site.settings.partitions)]
    freshet = Path(sys.executable).parent / "freshet"
    with subprocess.Popen(
        [freshet, "embed", "--bundle", bundle.folder, *options], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            site.until_embedded(bundle, 1)
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, log
    (vector,) = asyncio.run(events_on(site.settings, "article-vectors", ArticleVector))
    assert (vector.bundle, len(vector.vector)) == (bundle.id, 24)
