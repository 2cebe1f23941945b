"""``freshet up``: run everything on one machine."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import verbose_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.terminal import Terminal, bullet


def _properties(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for (name, equals, _), text in zip(pairs, texts, strict=True):
        if not (name and equals) or "\n" in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as connections.max.idle.ms=20000")
    return {name: value for name, _, value in pairs}


@click.command()
@click.option(
    "--kafka-port",
    default=9_092,
    show_default=True,
    type=click.IntRange(1, 65_535),
    help="Port of the local broker.",
)
@click.option(
    "--kafka-property",
    "kafka_properties",
    multiple=True,
    callback=_properties,
    metavar="NAME=VALUE",
    help="Property of the local broker; repeatable.",
)
@click.option("--no-embed", is_flag=True, help="Leave the articles to `freshet embed` processes.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of the encoder; by default all cores but one."
)
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="Stop when standard input ends.")
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
def command(
    *,
    settings: Settings,
    kafka_port: int,
    kafka_properties: dict[str, str],
    no_embed: bool,
    threads: int | None,
    exit_with_stdin: bool,
    verbose: bool,
) -> None:
    """Start a local Kafka, the stream and embedding workers, the index and the metrics; Ctrl-C stops all.

    With --bootstrap-servers (or FRESHET_BOOTSTRAP_SERVERS), that Kafka is used and none is started.
    """
    from freshet.workers.processes.logs import set_up_logs
    from freshet.workers.processes.up import UpOptions, run_up

    set_up_logs(verbose, settings)
    console = Terminal(soft_wrap=True, highlight=False)
    options = UpOptions(
        local_kafka="bootstrap_servers" not in settings.model_fields_set,
        kafka_port=kafka_port,
        kafka_properties=kafka_properties,
        embed=not no_embed,
        threads=threads,
        exit_with_stdin=exit_with_stdin,
    )
    run_up(settings, options, lambda line: console.print(bullet(line)))
    console.print("stopped")
