"""Prints a verb's result: as one JSON object for programs, or as text and tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
from pydantic import BaseModel
from rich.console import RenderableType
from rich.table import Table

from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal


def show_result(
    result: object, render: Callable[[], RenderableType], *, as_json: bool, markup: bool = False
) -> None:
    """Print ``result`` as JSON, or what ``render`` makes of it; ``markup`` allows Rich's in the latter."""
    if as_json:
        say_json(result)
    else:
        Terminal(markup=markup).print(render())


def say_json(result: object) -> None:
    """Print one line of JSON; dataclasses, NumPy arrays, pydantic models and paths may be part of it."""
    say(orjson.dumps(result, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY))


def two_column_table(title: str, *sections: Iterable[tuple[str, str]]) -> Table:
    """Names at the left, figures at the right, and a line between sections."""
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for section in sections:
        for name, figure in section:
            table.add_row(name, figure)
        table.add_section()
    return table


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
