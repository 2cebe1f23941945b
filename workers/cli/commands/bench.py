"""``freshet bench``: measure figures, each beside its floor from the same run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from freshet.streams.settings import Settings
from freshet.workers.cli.options import EXISTING_FILE, EXISTING_FOLDER
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.results import show_result

NAMES = ("throughput", "latency", "freshness", "outage", "embed", "index", "ann", "train")


@click.command(name="bench")
@click.argument("name", type=click.Choice([*NAMES, "all"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; for `all`, one per line.")
@click.option(
    "--impressions",
    type=click.IntRange(1_000),
    default=30_000,
    show_default=True,
    help="throughput: impressions per round; train: impressions in the stream.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="throughput, train: rounds, of which the median counts.",
)
@click.option(
    "--rate",
    "rate_per_s",
    type=FiniteRange(1),
    help="Requests per second, by default: latency 100, outage 200.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1),
    help="latency: time for each kind of request, by default 20; freshness: time of publishing, by default "
    "30; outage: time of each phase, by default 20.",
)
@click.option(
    "--articles", type=click.IntRange(100), default=10_000, show_default=True, help="Articles with a vector."
)
@click.option(
    "--sizes", default="10000,100000", show_default=True, metavar="N,...", help="index: numbers of articles."
)
@click.option(
    "--texts", type=click.IntRange(8), help="embed: texts per round; by default, enough for some seconds."
)
@click.option("--k", type=click.IntRange(1), default=100, show_default=True, help="ann: articles per query.")
@click.option(
    "--queries", type=click.IntRange(1), default=200, show_default=True, help="ann: queries per round."
)
@click.option(
    "--vectors", type=EXISTING_FILE, help="ann: .npy file (articles, d) to search, not synthetic vectors."
)
@click.option(
    "--bundle",
    type=EXISTING_FOLDER,
    help="ann: bundle whose vectors of the articles of --articles-of are searched.",
)
@click.option("--articles-of", type=EXISTING_FOLDER, metavar="DIR", help="ann: MIND folder, with --bundle.")
@click.option(
    "--qdrant",
    type=EXISTING_FILE,
    metavar="PROGRAM",
    help="outage: program of the Qdrant server, which is started, stopped and killed.",
)
@settings_options("partitions", "dimension", "encoder", "pooling")
def command(
    settings: Settings,
    *,
    name: str,
    as_json: bool,
    sizes: str,
    vectors: Path | None,
    bundle: Path | None,
    articles_of: Path | None,
    qdrant: Path | None,
    **given: Any,
) -> None:
    """Measure freshet on this machine, each figure beside its floor from the same run.

    throughput: impressions per second through one stream worker. latency: from a request to its answer.
    freshness: from a click to the vector that the next request uses, from an article to its recommendation.
    outage: from a request to its answer while a Qdrant server (--qdrant) answers, hangs and is gone.
    embed: article texts per second. index: searches. ann: the same searches by other libraries. train:
    examples through the training loop. A Kafka of its own is started in a temporary folder, unless
    --bootstrap-servers names another.
    """
    from freshet.workers.bench.report import render
    from freshet.workers.bench.run import BenchSizes, measure
    from freshet.workers.terminal.stage_progress import StageProgress

    if (bundle is None) != (articles_of is None):
        raise click.UsageError("--bundle and --articles-of need each other: whose vectors, and of what")
    if vectors is not None and bundle is not None:
        raise click.UsageError("--vectors and --bundle exclude each other: both say what to search in")
    if name == "outage" and qdrant is None:
        raise click.UsageError("outage needs --qdrant: the program of the Qdrant server to stop and kill")
    chosen = BenchSizes(
        index_sizes=_sizes(sizes),
        vectors=vectors,
        bundle=bundle,
        articles_of=articles_of,
        qdrant=qdrant,
        **given,
    )
    context = click.get_current_context()
    named = context.get_parameter_source("bootstrap_servers") is ParameterSource.COMMANDLINE
    names = [each for each in NAMES if each != "outage" or qdrant is not None] if name == "all" else [name]
    for bench in names:
        with StageProgress() as progress, progress.stage(bench) as update:
            report = measure(bench, settings, chosen, own_broker=not named, progress=update)
        show_result(report.as_json(), partial(render, report), as_json=as_json, markup=True)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 10000,100000") from None
    if min(sizes) < 1_000:  # noqa: PLR2004
        raise click.BadParameter("an index of fewer than 1,000 articles measures nothing")
    return sizes
