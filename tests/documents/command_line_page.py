"""``docs/reference/command-line.md``: every verb with its arguments and options, as ``--help`` says them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from freshet.workers.cli.main import main
from freshet.workers.terminal.connection_options import CONNECTION, option_name
from tests.documents.markdown_text import code, table

_INTRODUCTION = """\
# Command line

Every verb takes `--help`; those that print results take `--json` and then print one JSON object and nothing
else (`subscribe`: one on each line). Exit status 0 means done, 1 that something failed or is wrong, 2 wrong
usage. An error that nobody expected is one line; `FRESHET_DEBUG=1` shows where it came from.
"""
_CONNECTION = """\
## Connection options

Most verbs take these; the tables below say so in one line. They are [settings](configuration.md) too.
"""
_WIDE = 10_000
_CONNECTION_OPTIONS = [option_name(field) for field in CONNECTION]


def command_line_page() -> str:
    """The page's text: the verbs in alphabetical order, those of a group below it."""
    commands = list(_commands("freshet", main))[1:]
    summary = [
        [f"[`{name}`](#{name.replace(' ', '-')})", command.get_short_help_str(_WIDE)]
        for name, command in commands
        if name.count(" ") == 1
    ]
    lines = [_INTRODUCTION, *table(["verb", "does"], summary), "", _CONNECTION]
    lines += [*table(["option", "meaning"], _connection_rows(commands)), ""]
    for name, command in commands:
        lines += _section(name, command)
    return "\n".join(lines)


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command and all below it, by the words that call them, without hidden ones."""
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name) as context:
            for verb in command.list_commands(context):
                found = command.get_command(context, verb)
                if found is not None and not found.hidden:
                    yield from _commands(f"{name} {verb}", found)


def _section(name: str, command: click.Command) -> list[str]:
    context = _context(name, command)
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"##{'#' if name.count(' ') > 1 else ''} {name}", "", "```text", usage, "```", ""]
    lines += [inspect.cleandoc(command.help or "").replace("\b\n", ""), ""]
    records = _records(context, command)
    if any(option in _CONNECTION_OPTIONS for option, _, _ in records):
        own = [record for record in records if record[0] not in _CONNECTION_OPTIONS]
        rows = [*(list(record[1:]) for record in own), ["[connection options](#connection-options)", ""]]
    else:
        rows = [list(record[1:]) for record in records]
    return [*lines, *table(["option", "meaning"], rows), ""] if rows else lines


def _connection_rows(commands: list[tuple[str, click.Command]]) -> list[list[str]]:
    name, command = next((name, command) for name, command in commands if name == "freshet doctor")
    records = _records(_context(name, command), command)
    return [list(record[1:]) for record in records if record[0] in _CONNECTION_OPTIONS]


def _records(context: click.Context, command: click.Command) -> list[tuple[str, str, str]]:
    """Of each option: its longest name, how it is written, what it means."""
    found = []
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.is_eager:
            record = parameter.get_help_record(context)
            if record is not None:
                found.append((max(parameter.opts, key=len), code(record[0]), record[1]))
    return found


def _context(name: str, command: click.Command) -> click.Context:
    # The same however wide the terminal is.
    return click.Context(command, info_name=name, terminal_width=_WIDE, max_content_width=_WIDE)
