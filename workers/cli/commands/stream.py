"""``freshet stream``: one Faust worker."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import settings_options


@click.command()
@click.option("--verbose", is_flag=True, help="Show the libraries' logs too.")
@settings_options(
    "partitions", "replication", "bundle", "bundles", "dimension", "metrics_host", "metrics_port"
)
def command(settings: Settings, verbose: bool) -> None:
    """Run one stream worker: users, statistics and recommendations.

    Start as many as there are partitions; Kafka shares the partitions among them. Give each a data folder and
    a metrics port of its own.
    """
    from freshet.workers.processes.logs import set_up_logs
    from freshet.workers.processes.stream import run_stream

    set_up_logs(verbose, settings)
    run_stream(settings)
