"""``freshet click``: tell that a user opened an article."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.printable import say


@click.command(name="click")
@click.argument("user")
@click.argument("news")
@click.option("--impression-id", metavar="ID", help="The impression that showed the article.")
@click.option("--request-id", metavar="ID", help="The recommendation that the click came from.")
@click.option("--click-id", metavar="ID", help="The click's own name: told again with it, it counts once.")
@click.option("--json", "as_json", is_flag=True, help="Print the event.")
@connection_options
def command(
    settings: Settings,
    *,
    user: str,
    news: str,
    impression_id: str | None,
    request_id: str | None,
    click_id: str | None,
    as_json: bool,
) -> None:
    """Publish that USER clicked the article NEWS, now."""
    with client_session(settings) as client:
        event = client.click(
            user, news, impression_id=impression_id, request_id=request_id, click_id=click_id
        )
    say(event.to_json() if as_json else f"{user} clicked {news} at {event.time.isoformat()}")
