"""``freshet explain``: why a user gets an article, or does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from freshet.streams.settings import Settings
from freshet.workers.client_session import client_session
from freshet.workers.connection_options import connection_options
from freshet.workers.event_time import EventTime


@click.command(name="explain")
@click.argument("user")
@click.argument("news")
@click.option(
    "-k", type=click.IntRange(1, 200), default=10, show_default=True, help="The length of the user's list."
)
@click.option("--time", type=EventTime(), help="The event time to answer for.  [default: now]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connection_options
def command(
    settings: Settings,
    *,
    user: str,
    news: str,
    k: int,
    time: datetime | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Explain the article NEWS to USER: its place, its score, the click that it is like, the rules.

    It asks the live system, which answers as if the user asked now; nothing is published as shown.
    """
    from rich.console import Console  # noqa: PLC0415

    from freshet.models.events import MAX_K  # noqa: PLC0415
    from freshet.workers.explanation_text import Explanation, explanation_table  # noqa: PLC0415

    now = time or datetime.now(UTC)
    with client_session(settings) as client:
        alone = client.recommend(user, candidates=(news,), details=True, time=now, timeout_s=timeout_s)
        listed = client.recommend(user, k, time=now, timeout_s=timeout_s)
        pool = client.recommend(user, MAX_K, diversity=0.0, time=now, timeout_s=timeout_s)
        item = alone.items[0]
        title = ""
        if item.because is not None:
            clicked = client.recommend(user, candidates=(item.because,), time=now, timeout_s=timeout_s)
            title = clicked.items[0].title
    explanation = Explanation(item, listed, pool, title)
    if as_json:
        click.echo(json.dumps(explanation.to_json()))
    else:
        Console().print(explanation_table(explanation))
