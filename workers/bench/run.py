"""Runs one benchmark by its name, and gives every one's findings the same form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freshet.streams.settings import Settings
from freshet.workers.bench.ground import bench_ground
from freshet.workers.bench.report import BenchReport, Figure, Machine

NAMES = ("throughput", "latency", "freshness", "outage", "embed", "index", "ann", "train")
Progress = Callable[[int, int], None]
"""Callback that is given the number of steps done and of all steps."""


@dataclass(frozen=True, slots=True)
class BenchSizes:
    """Sizes of a measurement; ``None`` is the benchmark's own default."""

    impressions: int = 30_000
    rounds: int = 3
    rate_per_s: float | None = None
    seconds: float | None = None
    articles: int = 10_000
    index_sizes: tuple[int, ...] = (10_000, 100_000)
    texts: int | None = None
    k: int = 100
    queries: int = 200
    vectors: Path | None = None
    """A .npy file to search in; without one and without a bundle, synthetic vectors."""
    bundle: Path | None = None
    """A bundle, for whose vectors ``articles_of`` names the articles."""
    articles_of: Path | None = None
    qdrant: Path | None = None
    """A Qdrant server's program, without which no outage is measured."""


def measure(
    name: str, settings: Settings, sizes: BenchSizes, *, own_broker: bool, progress: Progress
) -> BenchReport:
    """Run one of :data:`NAMES`.

    Args:
        name: Which.
        settings: What to measure with.
        sizes: How much.
        own_broker: Start a broker for the run, where one is needed.
        progress: Told how far it is.

    Raises:
        FreshetError: It cannot be measured; the message says why.
        TimeoutError: A worker did not answer.
        ValueError: There is no benchmark of that name, or it needs a Qdrant server's program.
    """
    if name not in NAMES:
        raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")
    if name == "outage" and sizes.qdrant is None:
        raise ValueError("an outage is measured of a Qdrant server: its program is missing")
    without_broker = {"embed": _embed, "index": _index, "ann": _ann, "train": _train}.get(name)
    if without_broker is not None:
        return without_broker(settings, sizes, progress)
    with bench_ground(settings, own_broker) as ground:
        if name == "throughput":
            from freshet.workers.bench import throughput as bench_throughput

            return bench_throughput.run(
                ground,
                count=sizes.impressions,
                users=max(100, sizes.impressions // 10),
                articles=sizes.articles,
                rounds=sizes.rounds,
                progress=progress,
            )
        if name == "latency":
            from freshet.workers.bench import latency as bench_latency

            return bench_latency.run(
                ground,
                rate_per_s=sizes.rate_per_s or bench_latency.RATE_PER_S,
                seconds=sizes.seconds or bench_latency.SECONDS,
                articles=sizes.articles,
                progress=progress,
            )
        if name == "outage":
            from freshet.workers.bench import outage as bench_outage

            assert sizes.qdrant is not None, "checked above"
            return bench_outage.run(
                ground,
                sizes.qdrant,
                rate_per_s=sizes.rate_per_s or bench_outage.RATE_PER_S,
                seconds=sizes.seconds or bench_outage.SECONDS,
                articles=sizes.articles,
                progress=progress,
            )
        from freshet.workers.bench import freshness as bench_freshness

        return bench_freshness.run(
            ground, seconds=sizes.seconds or bench_freshness.SECONDS, progress=progress
        )


def _embed(settings: Settings, sizes: BenchSizes, progress: Progress) -> BenchReport:
    machine = Machine.here()
    from freshet.workers.bench import embed as bench_embed

    found = bench_embed.run(settings.encoder, settings.pooling, texts=sizes.texts, progress=progress)
    return embed_report(found, machine)


def _index(settings: Settings, sizes: BenchSizes, progress: Progress) -> BenchReport:
    machine = Machine.here()
    from freshet.workers.bench import index as bench_index

    return index_report(bench_index.run(sizes.index_sizes, settings.dimension, progress=progress), machine)


def _ann(settings: Settings, sizes: BenchSizes, progress: Progress) -> BenchReport:
    machine = Machine.here()
    from freshet.workers.bench import vectors as bench_vectors
    from freshet.workers.bench.ann import run as bench_ann

    if sizes.vectors is not None:
        data = bench_vectors.file_data(sizes.vectors, sizes.queries)
    elif sizes.bundle is not None and sizes.articles_of is not None:
        data = bench_vectors.bundle_data(
            sizes.bundle, sizes.articles_of, settings, sizes.queries, progress=progress
        )
    else:
        data = bench_vectors.synthetic_data(sizes.articles, settings.dimension, sizes.queries)
    return bench_ann.ann_report(bench_ann.run(data, sizes.k, progress=progress), machine)


def _train(settings: Settings, sizes: BenchSizes, progress: Progress) -> BenchReport:
    from freshet.workers.bench import train as bench_train

    return bench_train.run(impressions=sizes.impressions, rounds=sizes.rounds, progress=progress)


def embed_report(found: Mapping[str, Any], machine: Machine) -> BenchReport:
    """The findings of :func:`freshet.workers.bench.embed.run`."""
    on_device = found["device"].split()[0].startswith("cuda")
    target, reached = found.get("target", ""), found.get("met")
    rate = found["texts_per_s"]
    figures = [
        Figure(
            "article texts",
            rate,
            "/s",
            found["floor_texts_per_s"],
            "sentence-transformers",
            "" if on_device else target,
            None if on_device else reached,
        ),
        Figure(
            "article texts",
            rate,
            "/s",
            found["arithmetic_limit_texts_per_s"],
            "the arithmetic limit",
            target if on_device else "",
            reached if on_device else None,
        ),
        Figure("one article, p50", found["single_article_p50_ms"], "ms"),
        Figure("one article, p99", found["single_article_p99_ms"], "ms"),
    ]
    return BenchReport("embed", figures, machine, found)


def index_report(found: Mapping[str, Any], machine: Machine) -> BenchReport:
    """The findings of :func:`freshet.workers.bench.index.run`."""
    figures = []
    for size in found["sizes"]:
        articles = f"of {size['articles']:,} articles"
        figures += [
            Figure(
                f"search {articles}, p50",
                size["search_p50_ms"],
                "ms",
                size["search_floor_p50_ms"],
                "exact scoring in NumPy",
                found["target"],
                size["met"],
            ),
            Figure(
                f"search {articles} while writing, p99",
                size["search_while_writing_p99_ms"],
                "ms",
                size["search_while_writing_floor_p99_ms"],
                "exact scoring in NumPy",
            ),
            Figure(f"recall@{found['k']} {articles}", size[f"search_recall_at_{found['k']}"], ""),
            Figure(
                f"private memory of an article, {articles}",
                size["private_memory_bytes_per_article"],
                "bytes",
                size["floor_memory_bytes_per_article"],
                "its vector",
            ),
        ]
    return BenchReport("index", figures, machine, found)
