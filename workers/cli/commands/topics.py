"""``freshet topics``: create the missing topics, or list all and what is wrong with them."""

from __future__ import annotations

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import json_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import say_json
from freshet.workers.terminal.terminal import Terminal


@click.group()
def command() -> None:
    """Create freshet's topics, or list them.

    Workers create missing topics. Where they may not, run `freshet topics create` first, as a user who may.
    """


@command.command()
@json_option
@settings_options("partitions", "replication")
def create(settings: Settings, as_json: bool) -> None:
    """Create the topics that do not exist, and wait until they can be used.

    A topic that exists is left as it is; what is wrong with it is reported, with the command that repairs
    it, and the exit status is 1.
    """
    from freshet.streams.kafka.topic_admin import check_topics, ensure_topics

    created = sorted(ensure_topics(settings))
    problems = check_topics(settings)
    if as_json:
        say_json({"created": created, "problems": [str(problem) for problem in problems]})
    else:
        for name in created:
            say(f"created {name}")
        if not created:
            say("every topic exists")
        for problem in problems:
            say(str(problem), err=True)
    if problems:
        raise SystemExit(1)


@command.command(name="list")
@json_option
@settings_options("partitions")
def list_(settings: Settings, as_json: bool) -> None:
    """List freshet's topics: partitions, cleanup, and what is wrong with each, if anything.

    The exit status is 1 if a topic is missing or wrong.
    """
    from rich.table import Table

    from freshet.streams.kafka.connection import topic_name
    from freshet.streams.kafka.topic_admin import check_topics, count_partitions
    from freshet.streams.kafka.topics import TOPICS

    partitions = count_partitions(settings)
    problems = {problem.topic: problem for problem in check_topics(settings)}
    rows = [
        {
            "topic": name,
            "key": topic.key,
            "cleanup": topic.cleanup,
            "partitions": partitions.get(name),
            "problem": str(problems[name]) if name in problems else None,
        }
        for topic in TOPICS
        for name in [topic_name(settings, topic.name)]
    ]
    if as_json:
        say_json({"topics": rows})
    else:
        table = Table("topic", "key", "cleanup", "partitions", "problem")
        for row in rows:
            shown = problems[str(row["topic"])].what if row["problem"] else ""
            number = "" if row["partitions"] is None else str(row["partitions"])
            table.add_row(str(row["topic"]), str(row["key"]), str(row["cleanup"]), number, shown)
        Terminal().print(table)
        for problem in problems.values():
            say(str(problem), err=True)
    if problems:
        raise SystemExit(1)
