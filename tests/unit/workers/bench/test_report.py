"""A report of a benchmark says what was measured, beside what, and whether that is enough."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from rich.console import Console

from freshet.models.events.events import ArticleVector, Impression
from freshet.streams.settings import Settings
from freshet.workers.bench.events import CANDIDATES, HISTORY, article_vectors, impressions
from freshet.workers.bench.report import BenchReport, Figure, Machine, percentile_ms, render
from freshet.workers.bench.run import BenchSizes, embed_report, index_report, measure

MACHINE = Machine(2, "a processor", 0.25, "3.11.0", {"freshet": "0.1.0"})


def _text(report: BenchReport) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()


def test_a_figure_is_shown_with_its_floor_ratio_target_and_whether_it_was_reached() -> None:
    figure = Figure("events", 3_000.0, "/s", 4_000.0, "a loop", ">= 0.5 x", True, (2_500.0, 3_200.0))
    text = _text(BenchReport("throughput", [figure], MACHINE))
    for part in ("events", "3,000 /s", "2,500 to 3,200", "4,000 /s", "a loop", "0.75", ">= 0.5 x", "yes"):
        assert part in text
    assert "2 cores (a processor), load average 0.25 before, Python 3.11.0, freshet 0.1.0" in text


def test_a_target_that_was_missed_is_said_to_be_and_fails_the_report() -> None:
    figures = [
        Figure("a", 1.0, "ms", target="< 2 ms", reached=True),
        Figure("b", 3.0, "ms", target="< 2 ms", reached=False),
    ]
    assert not BenchReport("latency", figures, MACHINE).reached
    assert BenchReport("latency", figures[:1], MACHINE).reached
    assert " no " in _text(BenchReport("latency", figures, MACHINE))


def test_json_holds_everything_and_no_number_that_json_has_not() -> None:
    report = BenchReport(
        "index", [Figure("memory", math.nan, "bytes", 256.0)], MACHINE, {"rounds": [{"per_s": math.inf}]}
    )
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert found["bench"] == "index"
    assert found["figures"][0]["value"] is None
    assert found["figures"][0]["floor"] == 256.0
    assert found["details"] == {"rounds": [{"per_s": None}]}
    assert found["machine"]["cores"] == 2
    assert "unknown" in _text(report)


def test_percentiles_are_values_that_were_measured() -> None:
    times_s = [number / 1_000 for number in range(100, 0, -1)]
    assert percentile_ms(times_s, 50) == pytest.approx(50.0)
    assert percentile_ms(times_s, 99) == pytest.approx(99.0)
    assert percentile_ms(times_s, 100) == pytest.approx(100.0)
    assert percentile_ms([0.007], 99) == pytest.approx(7.0)
    assert math.isnan(percentile_ms([], 50))


def test_impressions_are_what_the_stream_accepts_and_of_the_size_that_they_stand_for() -> None:
    decoded = [Impression.from_json(value) for _, value in impressions(200, 20, 3_000)]
    assert all(len(impression.candidates) == CANDIDATES for impression in decoded)
    assert all(len(impression.history) == HISTORY and impression.clicked for impression in decoded)
    assert [impression.time for impression in decoded] == sorted(impression.time for impression in decoded)
    assert len({impression.user_id for impression in decoded}) == 20
    sizes = [len(value) for _, value in impressions(200, 20, 3_000)]
    assert 1_200 < sum(sizes) / len(sizes) < 1_600


def test_article_vectors_are_what_the_stream_accepts() -> None:
    decoded = [ArticleVector.from_json(value) for _, value in article_vectors(50, 16)]
    assert len({article.news_id for article in decoded}) == 50
    assert all(len(article.vector) == 16 for article in decoded)


def _embed_findings(device: str, **more: Any) -> dict[str, Any]:
    return {
        "device": device,
        "texts_per_s": 200.0,
        "floor_texts_per_s": 80.0,
        "arithmetic_limit_texts_per_s": 400.0,
        "single_article_p50_ms": 9.0,
        "single_article_p99_ms": 20.0,
        **more,
    }


def test_embedding_is_held_against_the_floor_that_counts_on_its_device() -> None:
    cpu = embed_report(_embed_findings("cpu bfloat16", target="2 x", met=True), MACHINE)
    gpu = embed_report(_embed_findings("cuda:0 bfloat16", target="0.4", met=False), MACHINE)
    assert [figure.reached for figure in cpu.figures[:2]] == [True, None]
    assert [figure.reached for figure in gpu.figures[:2]] == [None, False]
    assert cpu.figures[0].ratio == pytest.approx(2.5)


def test_every_size_of_the_index_has_its_figures() -> None:
    size = {
        "articles": 1_000,
        "search_p50_ms": 0.5,
        "search_floor_p50_ms": 1.0,
        "search_while_writing_p99_ms": 2.0,
        "search_while_writing_floor_p99_ms": 3.0,
        "search_recall_at_100": 0.995,
        "private_memory_bytes_per_article": 600.0,
        "floor_memory_bytes_per_article": 256.0,
        "met": True,
    }
    report = index_report({"k": 100, "target": "fast", "sizes": [size, size | {"articles": 5}]}, MACHINE)
    assert len(report.figures) == 8
    assert report.figures[0].ratio == pytest.approx(0.5)


def test_an_unknown_benchmark_is_refused_before_a_broker_is_started() -> None:
    with pytest.raises(ValueError, match="no benchmark 'speed'"):
        measure("speed", Settings(), BenchSizes(), own_broker=True, progress=lambda done, total: None)
