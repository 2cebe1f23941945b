"""``freshet up``: everything on one machine."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.connection_options import settings_options
from freshet.workers.terminal import Terminal, bullet


@click.command()
@click.option(
    "--kafka-port",
    default=9_092,
    show_default=True,
    type=click.IntRange(1, 65_535),
    help="Of the local broker.",
)
@click.option("--no-embed", is_flag=True, help="Leave the articles to `freshet embed` processes.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of the encoder; by default all cores but one."
)
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="Stop when standard input ends.")
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
def command(
    *,
    settings: Settings,
    kafka_port: int,
    no_embed: bool,
    threads: int | None,
    exit_with_stdin: bool,
    verbose: bool,
) -> None:
    """Start a local Kafka, the stream, the embedding worker, the index and the metrics; Ctrl-C stops all.

    With --bootstrap-servers (or FRESHET_BOOTSTRAP_SERVERS) that Kafka is used and none is started.
    """
    from freshet.workers.logs import set_up_logs  # noqa: PLC0415  # heavy imports only when the verb runs
    from freshet.workers.up import UpOptions, run_up  # noqa: PLC0415

    set_up_logs(verbose, settings)
    console = Terminal(soft_wrap=True, highlight=False)
    options = UpOptions(
        local_kafka="bootstrap_servers" not in settings.model_fields_set,
        kafka_port=kafka_port,
        embed=not no_embed,
        threads=threads,
        exit_with_stdin=exit_with_stdin,
    )
    run_up(settings, options, lambda line: console.print(bullet(line)))
    console.print("stopped")
