"""``freshet embed``: run one embedding worker."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import verbose_option
from freshet.workers.terminal.connection_options import settings_options


@click.command()
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of the encoder; by default all cores."
)
@verbose_option
@settings_options(
    "partitions",
    "replication",
    "bundle",
    "bundles",
    "encoder",
    "pooling",
    "dimension",
    "metrics_host",
    "metrics_port",
)
def command(settings: Settings, threads: int | None, verbose: bool) -> None:
    """Run one embedding worker, which turns articles into vectors, on Kafka and in the index.

    Start up to one worker per partition; Kafka shares the articles among them. Give each its own metrics
    port. Without --qdrant-url, vectors go to the topic article-vectors only, from which each stream worker
    fills its own embedded index. Ctrl-C or SIGTERM finishes the current batch, commits it and stops.
    """
    from freshet.workers.processes.embedding.process import run_embedding
    from freshet.workers.processes.logs import set_up_logs

    set_up_logs(verbose, settings)
    run_embedding(settings, threads)
