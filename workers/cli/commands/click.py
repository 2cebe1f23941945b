"""``freshet click``: publish that a user opened an article."""

from __future__ import annotations

from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import event_json_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.printable import say


@click.command(name="click")
@click.argument("user")
@click.argument("news")
@click.option("--impression-id", metavar="ID", help="Id of the impression that showed the article.")
@click.option("--request-id", metavar="ID", help="Id of the recommendation that the click came from.")
@click.option("--click-id", metavar="ID", help="Id of the click: published again with it, it counts once.")
@event_json_option
@connection_options
def command(settings: Settings, *, user: str, news: str, as_json: bool, **ids: Any) -> None:
    """Publish that USER clicked the article NEWS, now."""
    with client_session(settings) as client:
        event = client.click(user, news, **ids)
    say(event.to_json() if as_json else f"{user} clicked {news} at {event.time.isoformat()}")
