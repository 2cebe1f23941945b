"""Docstrings stand alone: none begins with a preposition, which only the line above could complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository import ROOT

# fmt: off
PREPOSITIONS = {
    "above", "after", "against", "along", "among", "as", "at", "because", "before", "below",
    "beside", "between", "beyond", "by", "during", "for", "from", "in", "inside", "into", "like",
    "near", "of", "on", "out", "outside", "over", "per", "since", "than", "through", "to", "toward",
    "under", "unlike", "until", "up", "with", "within", "without",
}
# fmt: on


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of ``file``, those of attributes included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


@pytest.mark.parametrize("folder", ["models", "streams", "workers"])
def test_no_docstring_begins_with_a_preposition(folder: str) -> None:
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        for line, text in docstrings(file):
            first = re.match(r"\W*([\w-]+)", text)
            if first and first[1].lower() in PREPOSITIONS:
                found.append(f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert found == []
