"""``freshet erase``: erase a user everywhere, with a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import json_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.number_options import MAX_TIMEOUT_S, FiniteRange
from freshet.workers.terminal.results import show_result

if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from freshet.streams.client.erasure import Receipt


@click.command()
@click.argument("user_id", metavar="USER")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=FiniteRange(0, MAX_TIMEOUT_S),
    default=60.0,
    show_default=True,
    help="How long to wait for the worker that holds the user.",
)
@json_option
@connection_options
def command(settings: Settings, *, user_id: str, timeout_s: float, as_json: bool) -> None:
    """Erase USER in every worker, and print what was erased, what expires when, and what stays.

    It cannot be undone. Earlier events never bring the user back, not even when they are published again;
    later ones begin a new user. The exit status is 1 if no worker has confirmed the erasure in time; the next
    worker that runs carries it out.
    """
    from freshet.streams.client.erasure import erase_user

    receipt = erase_user(settings, user_id, timeout_s)
    show_result(receipt, lambda: _table(receipt), as_json=as_json)
    if not receipt.complete:
        raise click.ClickException(
            f"no worker has confirmed the erasure within {timeout_s:g} s. The next worker that runs carries "
            "it out. Start one with `freshet up` or `freshet stream`, then erase again for a full receipt."
        )


def _table(receipt: Receipt) -> Table:
    from rich.table import Table

    at = f"{receipt.erased_at:%Y-%m-%d %H:%M:%S}Z"
    what = "erased" if receipt.complete else "requested, not confirmed"
    table = Table(title=f"{receipt.user_id}: {what}, everything up to {at}", show_lines=True)
    table.add_column("where", overflow="fold")
    table.add_column("what", overflow="fold")
    for erased in receipt.erased:
        table.add_row(
            f"{erased.topic}[{erased.partition}]",
            f"erased by offset {erased.offset}; Kafka has removed what was before "
            f"{_when(erased.earlier_gone_by, 'when it compacts, without a limit')}",
        )
    for expiring in receipt.expiring:
        gone = _when(expiring.gone_by, "never: it is configured to keep everything")
        if expiring.partition is None:
            table.add_row(expiring.topic, f"without the id; expires {gone}")
        else:
            place = f"{expiring.topic}[{expiring.partition}]"
            table.add_row(place, f"what is before offset {expiring.before_offset} expires {gone}")
    for kept in receipt.kept:
        table.add_row(kept.where, f"stays: {kept.why}")
    return table


def _when(time: datetime | None, otherwise: str) -> str:
    return otherwise if time is None else f"by {time:%Y-%m-%d %H:%M}Z"
