"""Text files line by line, one reader for all formats: UTF-8 with or without a byte order mark, LF or CRLF.

Guarantee: the mark is no part of the first line, and a reader never holds more than ``MAX_LINE_BYTES``. A
line that is no text says why, in its place. A file that is not UTF-8 at all is one line, which says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import IO, NamedTuple

from freshet.models.events.wire import MAX_EVENT_BYTES

MAX_LINE_BYTES = MAX_EVENT_BYTES
"""A longer line cannot be used; no file can make a reader hold more."""

_MARK = b"\xef\xbb\xbf"
_NOT_UTF_8 = {
    b"\xff\xfe": "the file is UTF-16: save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "the file is compressed with gzip: unpack it",
    b"PK\x03\x04": "the file is a ZIP archive: unpack it",
}


class Line(NamedTuple):
    """A line that is not blank."""

    number: int
    """Counted from 1, blank ones included."""
    offset: int
    """Bytes from the file's beginning."""
    raw: bytes
    """Without the line break and the mark; of an overlong line its first ``MAX_LINE_BYTES``."""
    problem: str
    """Empty, or why the line cannot be used."""


def read_lines(file: IO[bytes]) -> Iterator[Line]:
    """The lines of a file that stands at its beginning."""
    offset = 0
    for number in count(1):
        raw, taken, problem = read_line(file)
        if not taken:
            return
        start, offset = offset, offset + taken
        if number == 1:
            unmarked, why = text_start(raw)
            if why:
                yield Line(number, 0, raw, why)
                return
            raw, start = unmarked, len(raw) - len(unmarked)
        if raw.strip():
            yield Line(number, start, raw, problem)


def read_line(file: IO[bytes]) -> tuple[bytes, int, str]:
    """The next line without its break, the bytes it took (0: the end), and ``""`` or why it is of no use."""
    raw = file.readline(MAX_LINE_BYTES + 2)
    taken = len(raw)
    if taken <= MAX_LINE_BYTES or raw.endswith(b"\n"):
        return raw.rstrip(b"\r\n"), taken, "a NUL byte, which no text holds" if b"\0" in raw else ""
    rest = raw
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(MAX_LINE_BYTES)
        taken += len(rest)
    return raw[:MAX_LINE_BYTES], taken, f"{taken} bytes, more than the {MAX_LINE_BYTES} allowed"


def text_start(raw: bytes) -> tuple[bytes, str]:
    """The beginning of a file without its byte order mark, and ``""`` or why the file is not UTF-8."""
    for signature, why in _NOT_UTF_8.items():
        if raw.startswith(signature):
            return raw, why
    return raw.removeprefix(_MARK), ""
