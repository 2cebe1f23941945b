"""Makes untrusted text safe to print: nothing in it controls the terminal.

Titles, ids and reasons come from anybody, and a terminal executes escape sequences: they rename the window,
clear it, or hide a line. Guarantee: in what verbs print and processes log, control characters (C0, DEL, C1)
and the marks that reverse the direction of text are escaped, or, in what Rich lays out
(:mod:`freshet.workers.terminal.terminal`), removed. Ruff refuses code that prints past these two modules.
"""

from __future__ import annotations

import codecs
import io
import re
import sys

import click

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters except the tab and the end of a line."""


def printable(text: str) -> str:
    r"""Escape control characters in ``text`` as in JSON, ``\u001b``, so that JSON keeps its meaning."""
    return CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape_unencodable_output() -> None:
    """Make standard output and error accept any text in any locale: escaped, not refused."""
    codecs.register_error("escaped", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # A closed one is not.
            stream.reconfigure(errors="escaped")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex(",", 2)
    return "".join(f"\\u{unit}" for unit in units.split(",")), error.end


def say(text: str | bytes, *, err: bool = False) -> None:
    """Print a line for people or a JSON document, on standard error if ``err`` is set."""
    click.echo(printable(text.decode() if isinstance(text, bytes) else text), err=err)  # noqa: TID251
