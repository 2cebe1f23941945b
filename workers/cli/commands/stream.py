"""``freshet stream``: run one stream worker."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import verbose_option
from freshet.workers.terminal.connection_options import settings_options


@click.command()
@verbose_option
@settings_options(
    "partitions", "replication", "bundle", "bundles", "dimension", "metrics_host", "metrics_port"
)
def command(settings: Settings, verbose: bool) -> None:
    """Run one stream worker, which keeps users and statistics and answers requests.

    Start up to one worker per partition; Kafka shares the partitions among them. Give each its own data
    folder and metrics port.
    """
    from freshet.workers.processes.logs import set_up_logs
    from freshet.workers.processes.stream import run_stream

    set_up_logs(verbose, settings)
    run_stream(settings)
