"""Reads text files line by line: UTF-8 with or without a byte order mark, LF or CRLF.

All readers of data sets use it. The mark is not part of the first line, and a reader never holds more than
``MAX_LINE_BYTES``. A line that cannot be used carries the reason. A file that is not UTF-8 at all is a single
line, which carries that reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import IO, NamedTuple

from pydantic import ValidationError

from freshet.models.events.wire import MAX_EVENT_BYTES

MAX_LINE_BYTES = MAX_EVENT_BYTES
"""Longest usable line, and the most that a reader holds."""

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
    """Position in the file, counted from 1, blank lines included."""
    offset: int
    """Bytes from the file's beginning."""
    raw: bytes
    """Line without its break and the mark; an overlong line is cut to ``MAX_LINE_BYTES``."""
    problem: str
    """Reason why the line cannot be used; empty for a usable line."""

    def checked_raw(self) -> bytes:
        """Return ``raw``.

        Raises:
            ValueError: The line cannot be used.
        """
        if self.problem:
            raise ValueError(self.problem)
        return self.raw


def read_lines(file: IO[bytes]) -> Iterator[Line]:
    """Yield the lines that are not blank of a file that is open at its beginning."""
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
    """Read a line: its content, its size in bytes (0: end of file), and ``""`` or why it is unusable."""
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
    """Strip the byte order mark from a file's beginning; also return ``""`` or why the file is not UTF-8."""
    for signature, why in _NOT_UTF_8.items():
        if raw.startswith(signature):
            return raw, why
    return raw.removeprefix(_MARK), ""


def readable_reason(error: ValueError) -> str:
    """Describe in one sentence what is wrong with a line."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False)[:3]
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'line'}: {p['msg']}" for p in problems)
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return str(error)
