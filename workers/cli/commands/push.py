"""``freshet push``: turn push on or off for a user."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import event_json_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.printable import say


@click.command(name="push")
@click.argument("user")
@click.argument("state", type=click.Choice(["on", "off"]))
@event_json_option
@connection_options
def command(settings: Settings, *, user: str, state: str, as_json: bool) -> None:
    """Turn push on or off for USER: with push on, each click is answered by a fresh recommendation."""
    with client_session(settings) as client:
        event = client.set_push(user, state == "on")
    say(event.to_json() if as_json else f"push is {state} for {user}")
