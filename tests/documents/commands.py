"""``freshet`` commands as documents write them: whether the verb and each option exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from freshet.workers.cli.main import main

_ENDS = {"&&", "||", "|", ";", "&", ")", "|&"}


def freshet_commands(script: str) -> Iterator[list[str]]:
    """The words after each ``freshet`` of a script, without assignments, comments and redirections."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] | None = None
        try:
            tokens = list(lexer)
        except ValueError:
            # A quoted text of several lines, such as a here-document: no command begins in it.
            continue
        for before, token in zip(["", *tokens], tokens, strict=False):
            if token == "freshet" and (before in _ENDS or not before or "=" in before or before == "$("):
                words = []
            elif token in _ENDS or token.startswith(("<", ">")):
                if words is not None:
                    yield words
                words = None
            elif words is not None:
                words.append(token)
        if words is not None:
            yield words


def problems(words: list[str]) -> list[str]:
    """What is wrong with a command: a verb or an option that does not exist."""
    command: click.Command = main
    position = 0
    while isinstance(command, click.Group) and position < len(words) and not words[position].startswith("-"):
        # `list|show` in a table stands for both.
        name = re.split(r"\\?\|", words[position])[0]
        found = command.get_command(click.Context(command), name)
        if found is None:
            return [f"`freshet {' '.join(words[:position])} {name}`: there is no such verb"]
        command, position = found, position + 1
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    options |= {"-h", "--help", "--version"}
    given = [word.split("=", 1)[0] for word in words[position:]]
    given = [word for word in given if re.fullmatch(r"--?[a-z][a-z-]*", word)]
    return [f"`freshet {' '.join(words)}`: no option {word}" for word in given if word not in options]
