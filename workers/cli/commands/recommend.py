"""``freshet recommend``: request a user's recommendations and show them."""

from __future__ import annotations

from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import json_option, timeout_option
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal


@click.command(name="recommend")
@click.argument("user")
@click.option("-k", type=click.IntRange(1, 200), default=10, show_default=True, help="Number of articles.")
@click.option("--candidate", "candidates", multiple=True, metavar="NEWS", help="Rank only this; repeatable.")
@click.option("--category", "categories", multiple=True, help="Allow this category; repeatable.")
@click.option("--exclude-category", "excluded", multiple=True, help="Exclude this category; repeatable.")
@click.option("--language", "languages", multiple=True, help="Allow this language; repeatable.")
@click.option(
    "--max-age",
    "max_age_h",
    type=FiniteRange(0, min_open=True),
    metavar="HOURS",
    help="Exclude articles published earlier than this.",
)
@click.option("--exclude-seen/--include-seen", default=True, help="Exclude what the user clicked. [default]")
@click.option(
    "--diversity",
    type=FiniteRange(0, 1),
    default=0.3,
    show_default=True,
    help="0 ranks by score alone; a higher value spreads the list over more subjects.",
)
@timeout_option
@json_option
@connection_options
def command(
    settings: Settings,
    *,
    user: str,
    k: int,
    candidates: tuple[str, ...],
    categories: tuple[str, ...],
    excluded: tuple[str, ...],
    languages: tuple[str, ...],
    max_age_h: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the best articles for USER now.

    With --candidate, all the given articles are ranked; the number, the filters and the diversity then do
    not apply.
    """
    from freshet.models.events.events import Filters
    from freshet.workers.terminal.recommendation_table import recommendation_table

    with client_session(settings) as client:
        recommendation = client.recommend(
            user,
            k,
            candidates=candidates or None,
            filters=Filters(
                categories=categories,
                exclude_categories=excluded,
                languages=languages,
                max_age_s=None if max_age_h is None else max_age_h * 3_600.0,
            ),
            **given,
        )
    if as_json:
        say(recommendation.to_json())
    else:
        Terminal().print(recommendation_table(recommendation))
