"""During a replay every query of every panel returns data from a real Prometheus that scrapes real workers.

Not proved: what Grafana draws of it, and the panels of a GPU on a machine that has one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from freshet.models.events.events import Filters
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.worker_process import WorkerProcess, embedding_worker, stream_worker
from freshet.workers.replay.report import ReplayOptions
from freshet.workers.replay.run import replay
from tests.grafana_dashboards import GPU_ONLY, PanelQuery, choices, queries
from tests.integration.stream_harness import send, settings_for
from tests.prometheus_server import PrometheusServer, Sample, free_port
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

POLL_S = 0.5
UNSCORED = 800
SCORED = 120
EXPERIMENT = "learned-or-not"
ONLY_AFTER_A_FAILURE = {
    "Workers that do not answer",
    "Degraded answers",
    "Rollbacks, by the hour",
    "Batches halved for want of memory, last hour",
}
"""Panels that say 0 as long as all is well."""

QUERIES = [
    pytest.param(query, id=f"{query.dashboard}: {query.panel}: {n}") for n, query in enumerate(queries())
]


@dataclass
class Watched:
    """What Prometheus said while the system worked, and at its end."""

    prometheus: PrometheusServer
    answers: dict[PanelQuery, list[Sample]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def watched(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("dashboards")
    paper = synthetic_paper(folder / "paper")
    settings = settings_for(kafka, folder / "stream", dimension=64).model_copy(
        update={
            "metrics_port": free_port(),
            "drift_interval_s": 0.5,
            "burst_interval_s": 0.5,
            "exploration": "thompson",
        }
    )
    embedding = settings.model_copy(update={"metrics_port": free_port(), "data_dir": folder / "embed"})
    ensure_topics(settings)
    targets = {
        "freshet-stream": [f"127.0.0.1:{settings.metrics_port}"],
        "freshet-embed": [f"127.0.0.1:{embedding.metrics_port}"],
    }
    with (
        stream_worker(settings) as stream,
        embedding_worker(embedding) as embed,
        PrometheusServer(targets, folder / "prometheus") as prometheus,
        ThreadPoolExecutor(1) as background,
    ):
        watched = Watched(prometheus)
        workers = (stream, embed)
        deadline = time.monotonic() + HANG_S
        # What happens before the first scrape is no increase to Prometheus.
        until(prometheus, 'freshet_committed_events_total{topic=~".*clicks"}', workers, deadline)
        until(prometheus, 'freshet_committed_events_total{topic=~".*articles"}', workers, deadline)
        traffic = background.submit(readers_read, settings, paper, prometheus, workers, deadline)
        watch(watched, traffic, workers, deadline)
        traffic.result()
        yield watched


def synthetic_paper(folder: Path) -> Path:
    """Four days, so that there are clicks and articles of the last day and older ones."""
    made = CliRunner().invoke(
        main,
        [
            "synth",
            str(folder),
            *("--users=60", "--articles=150", f"--impressions={UNSCORED + SCORED}", "--hours=96", "--seed=3"),
        ],
    )
    assert made.exit_code == 0, made.output
    return folder


def readers_read(
    settings: Settings,
    paper: Path,
    prometheus: PrometheusServer,
    workers: tuple[WorkerProcess, ...],
    deadline: float,
) -> None:
    """A replay, an experiment, requests and one unreadable click."""
    replay(settings, paper, ReplayOptions(limit=UNSCORED))
    started = CliRunner().invoke(
        main,
        [
            *("experiment", "start", EXPERIMENT, "--variant=A=default:0.5", "--variant=B=start:0.5"),
            f"--bootstrap-servers={settings.bootstrap_servers}",
            f"--topic-prefix={settings.topic_prefix}",
        ],
    )
    assert started.exit_code == 0, started.output
    until(prometheus, f'freshet_experiment_answers_total{{experiment="{EXPERIMENT}"}}', workers, deadline)
    scored = replay(settings, paper, ReplayOptions(score=True, skip=UNSCORED))
    assert scored.score is not None
    assert scored.score.unanswered == 0
    asyncio.run(send(settings, [("clicks", b"U1", b"no click")]))
    with Freshet(settings) as client:
        for number in range(20):
            client.recommend(f"U{number}", k=10, filters=Filters(), timeout_s=HANG_S)


def until(
    prometheus: PrometheusServer, promql: str, workers: tuple[WorkerProcess, ...], deadline: float
) -> None:
    """Wait until a query returns anything."""
    while not prometheus.query(promql):
        for worker in workers:
            worker.check()
        assert time.monotonic() < deadline, f"{promql} returns nothing"
        time.sleep(POLL_S)


def watch(
    watched: Watched, traffic: Future[None], workers: tuple[WorkerProcess, ...], deadline: float
) -> None:
    """Ask for every query that has not returned data yet, until all have and the readers are done."""
    waiting = set(queries())
    while time.monotonic() < deadline:
        for worker in workers:
            worker.check()
        for query in tuple(waiting):
            samples = watched.prometheus.query(query.as_sent())
            if any(math.isfinite(sample.value) for sample in samples):
                watched.answers[query] = samples
                waiting.discard(query)
        empty = {query for query in waiting if (query.dashboard, query.panel) not in GPU_ONLY}
        if traffic.done() and (not empty or traffic.exception() is not None):
            return
        time.sleep(POLL_S)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_returns_data(watched: Watched, query: PanelQuery) -> None:
    samples = watched.answers.get(query)
    reason = GPU_ONLY.get((query.dashboard, query.panel))
    if samples is None and reason is not None:
        on_gpu = watched.prometheus.query('freshet_embed_device_info{device=~"cuda.*"}')
        assert not on_gpu, "texts are embedded on a GPU"
        return
    assert samples is not None, f"{query.as_sent()} returned nothing"
    assert not any(math.isinf(sample.value) for sample in samples)
    if query.panel in ONLY_AFTER_A_FAILURE:
        assert {sample.value for sample in samples} == {0.0}


def test_a_single_failure_is_seen(watched: Watched) -> None:
    """The counters begin at 0, so that the first dead letter is an increase."""
    lost = 'sum(increase(freshet_dead_letters_total{topic=~".*clicks"}[1h]))'
    deadline = time.monotonic() + HANG_S
    while not watched.prometheus.value(lost) > 0:
        assert time.monotonic() < deadline, "one dead letter, and Prometheus knows of none"
        time.sleep(POLL_S)


@pytest.mark.parametrize(
    ("dashboard", "metric", "label"),
    [pytest.param(*choice, id=f"{choice[0]}: {choice[2]}") for choice in choices()],
)
def test_a_choice_has_values(watched: Watched, dashboard: str, metric: str, label: str) -> None:
    found = {sample.labels[label] for sample in watched.prometheus.query(f"group by ({label}) ({metric})")}
    if label == "job":
        assert found == {"freshet-stream", "freshet-embed"}
    elif label == "experiment":
        assert found == {EXPERIMENT}
    else:
        assert len(found) >= 2
