"""Prometheus sees the first failure, and is never told 0 of what nobody has measured."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from freshet.models.events.events import Control, from_unix_s
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.ranking.guard import Verdict
from freshet.models.ranking.linear import LinearRanker
from freshet.streams import metrics
from freshet.streams.agents import app
from freshet.streams.kafka.progress import Progress
from freshet.streams.settings import Settings
from freshet.streams.state.experiments import Experiments
from freshet.streams.state.ranker_weights import Rankers

NOW = from_unix_s(1_767_000_000.0)
PAGE = (
    "from freshet.streams import metrics; import prometheus_client as p; print(p.generate_latest().decode())"
)


@pytest.fixture(scope="module")
def untouched() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a process serves that has only just begun."""
    page = subprocess.run([sys.executable, "-c", PAGE], capture_output=True, text=True, check=True)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.stdout)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("freshet_degraded_answers_total", "kind", ("cached", "trending")),
        ("freshet_recommended_articles_total", "kind", ("explored", "ranked")),
        ("freshet_ranker_examples_total", "kind", ("example", "correction")),
        ("freshet_request_seconds_count", "kind", ("recommend", "rank")),
        (
            "freshet_ranker_refused_total",
            "reason",
            (*(set(Verdict.__args__) - {"learned", "rolled-back"}), "other-features", "other-model"),
        ),
    ],
)
def test_a_counter_whose_labels_are_known_begins_at_0(
    untouched: dict[Any, float], name: str, label: str, values: tuple[str, ...]
) -> None:
    assert {value: untouched.get((name, frozenset({(label, value)}))) for value in values} == dict.fromkeys(
        values, 0.0
    )


@pytest.mark.parametrize(
    "name",
    [
        "freshet_rolling_auc_ratio",
        "freshet_drift_categories_psi_ratio",
        "freshet_drift_norm_shift_ratio",
        "freshet_drift_centroid_shift_ratio",
    ],
)
def test_what_is_not_measured_is_not_0(untouched: dict[Any, float], name: str) -> None:
    assert math.isnan(untouched[name, frozenset()])


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_the_counters_of_a_topic_begin_with_the_worker_that_reads_it() -> None:
    topic = uuid.uuid4().hex
    metrics.count_from_zero([topic], committed=False)
    names = ("events", "duplicate_events", "uncounted_events", "dead_letters", "committed_events")
    assert [value(f"freshet_{name}_total", topic=topic) for name in names] == [0, 0, 0, 0, None]
    metrics.count_from_zero([topic], committed=True)
    assert value("freshet_committed_events_total", topic=topic) == 0


def test_an_experiment_is_seen_as_soon_as_it_runs() -> None:
    name = uuid.uuid4().hex
    of = Experiment(
        name=name,
        salt=name,
        created_at=NOW,
        shares_since=NOW,
        variants=(Variant(name="A", share=0.5), Variant(name="B", share=0.5)),
    )
    running = Experiments(Rankers(LinearRanker()))
    running.apply(Control(kind="experiment-started", subject=name, time=NOW, experiment=of))
    for counted in ("answers", "impressions", "clicks"):
        for variant in "AB":
            assert value(f"freshet_experiment_{counted}_total", experiment=name, variant=variant) == 0
    ratio = "freshet_experiment_sample_ratio_p_value_ratio"
    assert value(ratio, experiment=name) == 1, "nothing speaks against the shares yet"
    running.apply(Control(kind="experiment-stopped", subject=name, time=NOW, experiment=of))
    assert value(ratio, experiment=name) is None


async def test_the_lag_of_a_partition_that_has_moved_is_another_workers_to_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here it would stay as it was for ever."""
    monkeypatch.setattr(app, "_LAG_INTERVAL_S", 0.0)
    topic = uuid.uuid4().hex
    looks = iter([{TP(topic, 0): 7, TP(topic, 1): 5}, {TP(topic, 1): 4}])
    both_seen = []

    def lags() -> dict[TP, int]:
        both_seen.append(value("freshet_consumer_lag_events", topic=topic, partition="0"))
        try:
            return next(looks)
        except StopIteration:
            raise asyncio.CancelledError from None

    worker: Any = SimpleNamespace(progress=SimpleNamespace(lags=lags))
    with pytest.raises(asyncio.CancelledError):
        await app.StreamApp._measure_lag(worker)
    assert both_seen == [None, 7, None]
    assert value("freshet_consumer_lag_events", topic=topic, partition="1") == 4


class Group:
    """As much of a consumer as commits take."""

    conf = SimpleNamespace(id="g")
    refuses = False

    @property
    def consumer(self) -> Group:
        return self

    async def _commit(self, offsets: object) -> bool:
        return not self.refuses

    async def committed(self, tp: object) -> int:
        return 40

    async def beginning_offsets(self, tps: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(tps, 0)


async def test_commits_and_recoveries_are_counted_once() -> None:
    group: Any = Group()
    progress = Progress(group, Settings())
    progress._offsets = group
    tp = TP(uuid.uuid4().hex, 0)
    recoveries = value("freshet_recovery_seconds_count") or 0

    progress.resume([tp])
    assert value("freshet_readable_partitions") == 1
    progress.resume([tp])
    assert value("freshet_recovery_seconds_count") == recoveries + 1, "it was ready before"
    await progress.starts({tp.topic})
    progress.done([SimpleNamespace(topic=tp.topic, partition=0, offset=offset) for offset in (40, 41, 42)])
    group.refuses = True
    await progress.commit()
    assert value("freshet_committed_events_total", topic=tp.topic) is None
    group.refuses = False
    await progress.commit()
    await progress.commit()
    assert value("freshet_committed_events_total", topic=tp.topic) == 3

    progress.pause()
    assert value("freshet_readable_partitions") == 0
    progress.pause()
    progress.resume([tp])
    assert value("freshet_recovery_seconds_count") == recoveries + 2
