"""``freshet rules``: what editors decide for all answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(name="rules")
def command() -> None:
    """Pin, bury, embargo and withdraw articles, and bound topics and ages, in every answer.

    Workers obey within a second, without a restart. A rule holds in the time of the request that is answered.
    Where rules conflict: withdraw, embargo and max-age come first, then upper bounds, bury, pin, and last
    lower bounds.
    """


@command.command(name="list")
@_AS_JSON
@connection_options
def list_(settings: Settings, *, as_json: bool) -> None:
    """Show the rules that are set, those included whose time is over or yet to come."""
    from rich.table import Table

    from freshet.streams.errors import FreshetError
    from freshet.streams.state.editorial_rules import read_rules
    from freshet.workers.cli.rule_options import in_words, when

    try:
        rules = read_rules(settings)
    except FreshetError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        shown = [rule.model_dump(mode="json", exclude_none=True) for rule in rules]
        say(json.dumps({"rules": shown}))
        return
    table = Table("name", "kind", "rule", "holds")
    for rule in rules:
        table.add_row(rule.name, rule.kind, in_words(rule), when(rule, datetime.now(UTC)))
    Terminal().print(table if rules else "no rule is set")


@command.command(name="set")
@click.argument("name", required=False)
@click.argument(
    "kind",
    required=False,
    type=click.Choice(["pin", "bury", "embargo", "withdraw", "max-age", "at-most", "quota"]),
)
@click.option("--news", multiple=True, metavar="NEWS", help="An article; repeatable, but for a pin.")
@click.option("--category", "categories", multiple=True, help="Of this category; repeatable.")
@click.option("--subcategory", "subcategories", multiple=True, help="Of this subcategory; repeatable.")
@click.option("--position", type=click.IntRange(1, 200), help="Of a pin; 1 is the first.  [default: 1]")
@click.option(
    "--max-age", "max_age_h", type=FiniteRange(0, min_open=True), metavar="HOURS", help="Of max-age."
)
@click.option("--per", type=click.Choice(["category", "subcategory"]), help="What at-most counts.")
@click.option("--at-least", metavar="N|PERCENT", help="Of a quota: 2, or 20% of the list.")
@click.option("--at-most", metavar="N|PERCENT", help="Of a quota or of at-most.")
@click.option("--from", "since", type=EventTime(), help="Event time from which on the rule holds.")
@click.option("--until", type=EventTime(), help="Event time at which it, or an embargo, ends.")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="One rule as JSON, or a list of them, instead of all other arguments; - is the standard input.",
)
@_AS_JSON
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
    """Set the rule NAME; one of this name is replaced.

    Such as `freshet rules set lead pin --news N310 --until 2026-03-02T18:00`, or
    `freshet rules set travel quota --category travel --at-least 10%`.
    """
    from freshet.models.events.events import EventError
    from freshet.workers.cli.rule_options import in_words, rule_of_options, rules_of_json

    try:
        if path is not None:
            if name is not None or any(value not in {None, ()} for value in given.values()):
                raise click.UsageError("--file has the whole rule: leave all other arguments out")
            with click.open_file(str(path)) as file:
                rules = rules_of_json(file.read())
        elif name is None or kind is None:
            raise click.UsageError("say NAME and KIND, or --file")
        else:
            rules = [rule_of_options(name, kind, given)]
    except EventError as error:
        raise click.UsageError(str(error)) from error
    with client_session(settings) as client:
        controls = [client.set_rule(rule) for rule in rules]
    if as_json:
        records = [control.model_dump(mode="json", exclude_none=True) for control in controls]
        say(json.dumps({"set": records}))
        return
    for rule in rules:
        say(f"{rule.name}: {in_words(rule)}")


@command.command()
@click.argument("name")
@_AS_JSON
@connection_options
def remove(settings: Settings, *, name: str, as_json: bool) -> None:
    """Take the rule NAME back."""
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
@_AS_JSON
@connection_options
def withdraw(settings: Settings, *, news: str, as_json: bool) -> None:
    """Take the article NEWS out of every recommendation, for good.

    A rule of the kind withdraw can be taken back, or be for a time; this cannot.
    """
    with client_session(settings) as client:
        event = client.withdraw(news)
    say(event.to_json() if as_json else f"{news} is withdrawn")
