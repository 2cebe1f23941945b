"""``freshet schema``: print the contract of topics and events, for clients in other languages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import EXISTING_FILE, json_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import say_json, show_result


@click.command(name="schema")
@click.argument("event", required=False)
@click.option("--asyncapi", is_flag=True, help="Print the AsyncAPI document: topics, keys and all events.")
@click.option(
    "--against",
    metavar="FILE",
    type=EXISTING_FILE,
    help="Compare with the AsyncAPI document of an earlier version; exit status 1 if clients would break.",
)
@json_option
@settings_options("partitions", "replication")
def command(
    settings: Settings, *, event: str | None, asyncapi: bool, against: Path | None, as_json: bool
) -> None:
    """Print the JSON Schema (draft 2020-12) of an EVENT, such as `click`; without one, list the events.

    The AsyncAPI document (3.0, JSON) holds all of them, with the prefix, partitions and broker of the
    settings.
    """
    if (event is not None) + asyncapi + (against is not None) > 1:
        raise click.UsageError("give one of EVENT, --asyncapi and --against")
    if against is not None:
        _compare(settings, against, as_json)
    elif asyncapi:
        from freshet.streams.contract.document import contract

        _print(contract(settings))
    elif event is not None:
        _print(_schema(event))
    else:
        _list(settings, as_json)


def _print(document: dict[str, Any]) -> None:
    say(json.dumps(document, indent=2, ensure_ascii=False))


def _schema(name: str) -> dict[str, Any]:
    from freshet.models.events.events import json_schema
    from freshet.models.events.json_schemas import event_name
    from freshet.streams.kafka.topics import TOPICS

    by_name = {event_name(topic.event): topic.event for topic in TOPICS}
    wanted = {kind.__name__: kind for kind in by_name.values()} | by_name
    if name not in wanted:
        raise click.UsageError(f"there is no event {name!r}; there are {', '.join(sorted(by_name))}")
    return json_schema(wanted[name])


def _list(settings: Settings, as_json: bool) -> None:
    from rich.table import Table

    from freshet.models.events.json_schemas import event_name
    from freshet.streams.kafka.connection import topic_name
    from freshet.streams.kafka.topics import TOPICS

    rows = [
        {
            "event": event_name(topic.event),
            "topic": topic_name(settings, topic.name),
            "key": topic.key,
            "published_by": topic.published_by,
        }
        for topic in TOPICS
    ]
    table = Table()
    for heading in ("event", "topic", "key", "published by"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    show_result({"events": rows}, lambda: table, as_json=as_json)


def _compare(settings: Settings, file: Path, as_json: bool) -> None:
    from freshet.streams.contract.changes import additions, contract_breaks
    from freshet.streams.contract.document import contract

    now = contract(settings)
    try:
        before = json.loads(file.read_bytes())
        breaks, added = contract_breaks(before, now), additions(before, now)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(
            f"{file} is no document of `freshet schema --asyncapi`: {type(error).__name__}: {error}"
        ) from error
    if as_json:
        found = [{"where": found.where, "what": found.what} for found in breaks]
        say_json({"compatible": not breaks, "breaking": found, "added": added})
    else:
        for line in breaks:
            say(f"breaking  {line}")
        for name in added:
            say(f"added     {name}")
        say(f"{len(breaks)} breaking {'change' if len(breaks) == 1 else 'changes'}, {len(added)} added")
    if breaks:
        sys.exit(1)
