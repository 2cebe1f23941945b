"""``freshet embed``: one embedding worker."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import settings_options


@click.command()
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of the encoder; by default all cores."
)
@click.option("--verbose", is_flag=True, help="Show the libraries' logs too.")
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
    """Run one embedding worker: articles in; vectors in the index and on Kafka out.

    Start as many as there are partitions; Kafka shares the articles among them. Give each a metrics port of
    its own. Without --qdrant-url vectors only go to the topic article-vectors, from which each stream worker
    fills its own embedded index. Ctrl-C or SIGTERM finishes the batch at hand, commits it and leaves.
    """
    from freshet.workers.processes.embedding.process import run_embedding
    from freshet.workers.processes.logs import set_up_logs

    set_up_logs(verbose, settings)
    run_embedding(settings, threads)
