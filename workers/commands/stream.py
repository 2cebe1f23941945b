"""``freshet stream``: one Faust worker."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.connection_options import settings_options


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
    from freshet.workers.logs import set_up_logs  # noqa: PLC0415  # heavy imports only when the verb runs
    from freshet.workers.stream import run_stream  # noqa: PLC0415

    set_up_logs(verbose, settings)
    run_stream(settings)
