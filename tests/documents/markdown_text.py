"""Markdown out of what the code says of itself: docstrings, and tables whose cells cannot break them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_LITERAL = re.compile(r"``([^`]+)``")


def prose(docstring: str) -> str:
    """A docstring in reStructuredText as Markdown: roles and literals become code."""
    return _LITERAL.sub(r"`\1`", _ROLE.sub(r"`\1`", inspect.cleandoc(docstring)))


def line(docstring: str) -> str:
    """The same on one line, for a table's cell."""
    return " ".join(prose(docstring).split())


def code(text: str) -> str:
    """Text in backticks; nothing for an empty text."""
    return f"`{text}`" if text else ""


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines; a ``|`` inside a cell is escaped."""
    lines = [f"| {' | '.join(heading)} |", "|" + " --- |" * len(heading)]
    for row in rows:
        cells = (cell.replace("|", r"\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
