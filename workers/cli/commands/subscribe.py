"""``freshet subscribe``: show recommendations as they arrive."""

from __future__ import annotations

from contextlib import ExitStack

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.number_options import SECONDS
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal


@click.command(name="subscribe")
@click.argument("user", required=False)
@click.option(
    "--push", is_flag=True, help="Turn push on for USER meanwhile: each click is answered by a fresh list."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after N recommendations.")
@click.option(
    "--timeout",
    "timeout_s",
    type=SECONDS,
    metavar="SECONDS",
    help="Stop when none has arrived for this long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each recommendation as one line of JSON.")
@connection_options
def command(
    settings: Settings,
    *,
    user: str | None,
    push: bool,
    count: int | None,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Show all recommendations from now on, or those for USER, until Ctrl-C."""
    from freshet.workers.terminal.recommendation_table import recommendation_table

    if push and user is None:
        raise click.UsageError("--push needs a USER.")
    console = Terminal()
    shown = 0
    with client_session(settings) as client, ExitStack() as at_the_end:
        recommendations = at_the_end.enter_context(client.subscribe(user, timeout_s))
        if push and user is not None:
            at_the_end.callback(client.set_push, user, False)
            client.set_push(user, True)
        say(f"Waiting for recommendations for {user or 'every user'}; Ctrl-C stops.", err=True)
        for recommendation in recommendations:
            shown += 1
            if as_json:
                say(recommendation.to_json())
            else:
                console.print(recommendation_table(recommendation))
            if shown == count:
                break
    if count is not None and shown < count:
        raise click.ClickException(
            f"{shown} of {count} recommendations arrived, then none for {timeout_s:g} s. Is a worker "
            "running? `freshet doctor` checks."
        )
