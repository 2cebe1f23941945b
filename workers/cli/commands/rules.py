"""``freshet rules``: set, list and remove editorial rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import json_option, refusing
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import say_json, show_result


@click.group(name="rules")
def command() -> None:
    """Pin, bury, embargo and withdraw articles, and bound topics and ages, in every answer.

    Workers apply them within a second, without a restart. A rule holds by the time of the request. Where
    rules conflict, withdraw, embargo and max-age come first, then upper bounds, bury, pin, and last lower
    bounds.
    """


@command.command(name="list")
@json_option
@connection_options
def list_(settings: Settings, *, as_json: bool) -> None:
    """List all rules, including those that are over or not yet in force."""
    from rich.table import Table

    from freshet.streams.state.editorial_rules import read_rules
    from freshet.workers.cli.rule_options import in_words, when

    rules = read_rules(settings)
    table = Table("name", "kind", "rule", "holds")
    for rule in rules:
        table.add_row(rule.name, rule.kind, in_words(rule), when(rule, datetime.now(UTC)))
    listed = [rule.model_dump(mode="json", exclude_none=True) for rule in rules]
    show_result({"rules": listed}, lambda: table if rules else "no rule is set", as_json=as_json)


@command.command(name="set")
@click.argument("name", required=False)
@click.argument(
    "kind",
    required=False,
    type=click.Choice(["pin", "bury", "embargo", "withdraw", "max-age", "at-most", "quota"]),
)
@click.option("--news", multiple=True, metavar="NEWS", help="Article; repeatable, except for a pin.")
@click.option("--category", "categories", multiple=True, help="Category; repeatable.")
@click.option("--subcategory", "subcategories", multiple=True, help="Subcategory; repeatable.")
@click.option("--position", type=click.IntRange(1, 200), help="Rank of a pin, from 1.  [default: 1]")
@click.option(
    "--max-age",
    "max_age_h",
    type=FiniteRange(0, min_open=True),
    metavar="HOURS",
    help="Age limit of max-age.",
)
@click.option("--per", type=click.Choice(["category", "subcategory"]), help="What at-most counts.")
@click.option("--at-least", metavar="N|PERCENT", help="Lower bound of a quota: 2, or 20% of the list.")
@click.option("--at-most", metavar="N|PERCENT", help="Upper bound of a quota or of at-most.")
@click.option("--from", "since", type=EventTime(), help="Event time at which the rule begins.")
@click.option("--until", type=EventTime(), help="Event time at which the rule ends.")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="One rule as JSON, or a list of rules, instead of all other arguments; - is stdin.",
)
@json_option
@connection_options
def set_(
    settings: Settings,
    *,
    name: str | None,
    kind: str | None,
    path: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Set the rule NAME, replacing one of the same name.

    Examples: `freshet rules set lead pin --news N310 --until 2026-03-02T18:00`, or
    `freshet rules set travel quota --category travel --at-least 10%`.
    """
    from freshet.models.events.events import EventError
    from freshet.workers.cli.rule_options import in_words, rule_of_options, rules_of_json

    with refusing(EventError):
        if path is not None:
            if name is not None or any(value not in {None, ()} for value in given.values()):
                raise click.UsageError("--file holds the whole rule: leave all other arguments out")
            with click.open_file(str(path)) as file:
                rules = rules_of_json(file.read())
        elif name is None or kind is None:
            raise click.UsageError("give NAME and KIND, or --file")
        else:
            rules = [rule_of_options(name, kind, given)]
    with client_session(settings) as client:
        controls = [client.set_rule(rule) for rule in rules]
    if as_json:
        records = [control.model_dump(mode="json", exclude_none=True) for control in controls]
        say_json({"set": records})
        return
    for rule in rules:
        say(f"{rule.name}: {in_words(rule)}")


@command.command()
@click.argument("name")
@json_option
@connection_options
def remove(settings: Settings, *, name: str, as_json: bool) -> None:
    """Remove the rule NAME."""
    from freshet.streams.state.editorial_rules import read_rules

    with client_session(settings) as client:
        names = [rule.name for rule in read_rules(settings)]
        if name not in names:
            known = f"the rules are {', '.join(names)}" if names else "no rule is set"
            raise click.ClickException(f"no rule is called {name!r}: {known}")
        event = client.remove_rule(name)
    say(event.to_json() if as_json else f"{name} is removed")


@command.command()
@click.argument("news")
@json_option
@connection_options
def withdraw(settings: Settings, *, news: str, as_json: bool) -> None:
    """Remove the article NEWS from all recommendations, for good.

    A rule of the kind withdraw can be removed, or end by itself; this cannot.
    """
    with client_session(settings) as client:
        event = client.withdraw(news)
    say(event.to_json() if as_json else f"{news} is withdrawn")
