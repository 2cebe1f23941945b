"""``freshet bench``: measure, each figure beside its floor from the same run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

NAMES = ("throughput", "latency", "freshness", "outage", "embed", "index", "ann", "train")


@click.command(name="bench")
@click.argument("name", type=click.Choice([*NAMES, "all"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; of `all`, one for each line.")
@click.option(
    "--impressions",
    type=click.IntRange(1_000),
    default=30_000,
    show_default=True,
    help="throughput: a round's; train: of the stream.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="throughput, train: the median counts.",
)
@click.option("--rate", type=FiniteRange(1), help="Requests per second, by default: latency 100, outage 200.")
@click.option(
    "--seconds",
    type=FiniteRange(1),
    help="latency: for each kind of request, by default 20; freshness: of publishing, by default 30; "
    "outage: of each turn, by default 20.",
)
@click.option(
    "--articles", type=click.IntRange(100), default=10_000, show_default=True, help="Articles with a vector."
)
@click.option(
    "--sizes",
    default="10000,100000",
    show_default=True,
    metavar="N,...",
    help="index: numbers of articles.",
)
@click.option(
    "--texts", type=click.IntRange(8), help="embed: texts of a round; by default what takes seconds."
)
@click.option("--k", type=click.IntRange(1), default=100, show_default=True, help="ann: articles asked for.")
@click.option("--queries", type=click.IntRange(1), default=200, show_default=True, help="ann: of a round.")
@click.option(
    "--vectors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ann: search in this .npy file (articles, d), not in synthetic vectors.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="ann: search in the vectors that this bundle gives the articles of --articles-of.",
)
@click.option(
    "--articles-of",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="ann: a MIND folder, with --bundle.",
)
@click.option(
    "--qdrant",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PROGRAM",
    help="outage: the Qdrant server's program, which is started, stopped and killed.",
)
@settings_options("partitions", "dimension", "encoder", "pooling")
def command(
    settings: Settings,
    *,
    name: str,
    as_json: bool,
    impressions: int,
    rounds: int,
    rate: float | None,
    seconds: float | None,
    articles: int,
    sizes: str,
    texts: int | None,
    k: int,
    queries: int,
    vectors: Path | None,
    bundle: Path | None,
    articles_of: Path | None,
    qdrant: Path | None,
) -> None:
    """Measure freshet on this machine, each figure beside its floor from the same run.

    throughput: impressions per second through one stream worker. latency: from a request to its answer.
    freshness: from a click to the vector that the next request uses, from an article to its recommendation.
    outage: from a request to its answer while a Qdrant server (--qdrant) answers, hangs and is gone.
    embed: article texts per second. index: searches. ann: the same searches by other libraries. train:
    examples through the training loop. A Kafka of its own is started in a temporary folder, unless
    --bootstrap-servers names another.
    """
    import orjson
    from rich.progress import Progress

    from freshet.workers.bench.report import render
    from freshet.workers.bench.run import BenchSizes, measure

    if (bundle is None) != (articles_of is None):
        raise click.UsageError("--bundle and --articles-of need each other: whose vectors, and of what")
    if vectors is not None and bundle is not None:
        raise click.UsageError("--vectors and --bundle exclude each other: both say what to search in")
    if name == "outage" and qdrant is None:
        raise click.UsageError("outage needs --qdrant: the program of the Qdrant server to stop and kill")
    chosen = BenchSizes(
        impressions,
        rounds,
        rate,
        seconds,
        articles,
        _sizes(sizes),
        texts,
        k,
        queries,
        vectors,
        bundle,
        articles_of,
        qdrant,
    )
    context = click.get_current_context()
    named = context.get_parameter_source("bootstrap_servers") is ParameterSource.COMMANDLINE
    names = [each for each in NAMES if each != "outage" or qdrant is not None] if name == "all" else [name]
    for bench in names:
        with Progress(console=Terminal(stderr=True), transient=True) as bars:
            bar = bars.add_task(bench, total=None)
            report = measure(
                bench,
                settings,
                chosen,
                own_broker=not named,
                progress=partial(_show, bars, bar),
            )
        if as_json:
            say(orjson.dumps(report.as_json()))
        else:
            Terminal(markup=True).print(render(report))


def _show(bars: Progress, bar: TaskID, done: int, total: int) -> None:
    bars.update(bar, completed=done, total=total)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 10000,100000") from None
    if min(sizes) < 1_000:  # noqa: PLR2004
        raise click.BadParameter("an index of fewer than 1,000 articles measures nothing")
    return sizes
