"""Text from outside as it may be printed: nothing in it steers the terminal that shows it.

Titles, ids and reasons are anybody's, and a terminal obeys what it is sent: an escape sequence renames the
window, clears it, or hides a line. Guarantee: of what verbs print and processes log, the control characters
(C0, DEL, C1) and the marks that turn the direction of text around arrive spelt out, or, in what Rich lays out
(:mod:`freshet.workers.terminal.terminal`), not at all. Ruff refuses what would print past these two modules.
"""

from __future__ import annotations

import codecs
import io
import re
import sys

import click

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but the tab and the end of a line."""


def printable(text: str) -> str:
    r"""``text`` with its steering characters spelt as in JSON, ``\u001b``: JSON keeps its meaning."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def spell_out_what_cannot_be_encoded() -> None:
    """Have standard output and error take any text, whatever the locale: spelt out, not refused."""
    codecs.register_error("spelt", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not one that is closed
            stream.reconfigure(errors="spelt")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex(",", 2)
    return "".join(f"\\u{unit}" for unit in units.split(",")), error.end


def say(text: str | bytes, *, err: bool = False) -> None:
    """Print a line for people, or a document of JSON; to standard error if asked to."""
    click.echo(printable(text.decode() if isinstance(text, bytes) else text), err=err)  # noqa: TID251
