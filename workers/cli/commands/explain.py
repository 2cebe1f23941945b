"""``freshet explain``: explain why a user gets an article, or does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import json_option, timeout_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.results import show_result

_POOL = 100
"""Articles to compare with: with all their details they fit into one record."""


@click.command(name="explain")
@click.argument("user")
@click.argument("news")
@click.option(
    "-k", type=click.IntRange(1, 200), default=10, show_default=True, help="Length of the user's list."
)
@click.option("--time", type=EventTime(), help="Event time of the request.  [default: now]")
@timeout_option
@json_option
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
    """Explain the article NEWS to USER: its rank, its score, the most similar click, the rules.

    The running system answers as if the user asked now; nothing is published as shown.
    """
    from freshet.workers.terminal.explanation_text import Explanation, explanation_table

    asked: dict[str, Any] = {"time": time or datetime.now(UTC), "timeout_s": timeout_s}
    with client_session(settings) as client:
        listed = client.recommend(user, k, **asked)
        pool = client.recommend(user, _POOL, diversity=0.0, **asked)
        among = dict.fromkeys((news, *(item.news_id for item in pool.items)))
        ranking = client.recommend(user, candidates=tuple(among), details=True, **asked)
        explanation = Explanation(news, listed, pool, ranking)
        because = explanation.item.because
        if because is not None:
            clicked = client.recommend(user, candidates=(because,), **asked)
            explanation = replace(explanation, because_title=clicked.items[0].title)
    show_result(explanation.to_json(), lambda: explanation_table(explanation), as_json=as_json)
