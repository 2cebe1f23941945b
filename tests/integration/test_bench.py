"""The benchmarks run with real processes, measure what they name, and leave nothing behind on a broker.

Sizes are tiny, so figures mean nothing here: only their kinds and relations are looked at.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient

from freshet.streams.settings import Settings
from freshet.workers.bench.freshness import run as freshness
from freshet.workers.bench.ground import BenchGround, bench_ground
from freshet.workers.bench.latency import run as latency
from freshet.workers.bench.outage import run as outage
from freshet.workers.bench.report import BenchReport
from freshet.workers.cli.commands.bench import command
from tests.repository import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.nightly]


def _values(report: BenchReport) -> dict[str, float]:
    assert all(math.isfinite(figure.value) and figure.value > 0 for figure in report.figures)
    assert all(figure.floor is None or figure.floor > 0 for figure in report.figures)
    return {figure.what: figure.value for figure in report.figures}


def _measured(settings: Settings, run: Callable[[BenchGround], BenchReport]) -> BenchReport:
    with bench_ground(settings, own_broker=False) as ground:
        return run(ground)


def test_throughput_is_printed_as_json_with_both_floors_and_deletes_its_topics(
    settings: Settings,
) -> None:
    arguments = ["throughput", "--json", "--impressions", "3000", "--rounds", "1", "--articles", "200"]
    arguments += ["--bootstrap-servers", settings.bootstrap_servers, "--partitions", "2"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["bench"] == "throughput"
    worker, consumer, cpu = report["figures"]
    assert worker["floor_what"] == "a Faust agent that decodes"
    assert 0 < worker["value"] < consumer["floor"]
    assert cpu["value"] > cpu["floor"] > 0
    assert {"worker", "faust_decode", "aiokafka_decode"} <= report["details"].keys()
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        assert not [topic for topic in admin.list_topics() if topic.startswith("bench-")]
    finally:
        admin.close()


def test_latency_names_both_kinds_of_request_with_growing_percentiles(settings: Settings) -> None:
    report = _measured(
        settings, lambda ground: latency(ground, rate_per_s=20.0, seconds=2.0, users=300, articles=300)
    )
    values = _values(report)
    assert values["top-10 of 300 articles, p50"] <= values["top-10 of 300 articles, p99"]
    assert values["ranking 37 candidates, p50"] <= values["ranking 37 candidates, p99"]
    assert all(figure.floor is not None for figure in report.figures)


def test_freshness_sees_every_click_and_every_article(settings: Settings) -> None:
    report = _measured(settings, lambda ground: freshness(ground, seconds=2.0, articles_per_s=4.0))
    values = _values(report)
    assert (
        values["click to the next request's vector, p50"] <= values["click to the next request's vector, p99"]
    )
    assert values["article to its recommendation, p50"] <= values["article to its recommendation, p99"]
    assert report.details["clicks"] == 40
    assert report.details["articles"] == 8
    assert report.details["article_to_vector_p50_ms"] < values["article to its recommendation, p99"]


def test_outage_finds_degraded_answers_while_the_server_hangs_and_is_gone(
    settings: Settings, tmp_path: Path
) -> None:
    program = tmp_path / "qdrant"
    root, python = shlex.quote(str(ROOT)), shlex.quote(sys.executable)
    program.write_text(
        f"#!/bin/sh\ncd {root} && exec {python} -m tests.qdrant_stand_in "
        '"$QDRANT__SERVICE__GRPC_PORT" "$QDRANT__STORAGE__STORAGE_PATH"\n'
    )
    program.chmod(0o755)
    report = _measured(
        settings,
        lambda ground: outage(ground, program, rate_per_s=20.0, seconds=4.0, users=300, articles=300),
    )
    assert all(figure.value > 0 and figure.floor for figure in report.figures)
    assert all(report.details[turn]["answers"] == 80 for turn in ("answering", "hanging", "gone"))
    assert all(20 <= report.details[turn]["degraded"] < 80 for turn in ("hanging", "gone"))
