"""Folds what libraries log again and again: a client whose broker is gone says so hundreds of times a second.

Guarantee: of a message that repeats, the first few of a minute are written, and of the others their number,
at the minute's end or the program's. freshet's own records are always written: each is about something else.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
import time
from collections import Counter

PERIOD_S = 60.0
WRITTEN = 3
"""Of a message in each period."""

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")

_Message = tuple[str, int, str]
"""The logger's name, the level, and the text without its numbers: ports, times, objects' addresses."""


class FoldingHandler(logging.StreamHandler):  # type: ignore[type-arg] # generic in the stubs alone
    """Writes to standard error.

    Args:
        period_s: How long a message counts as the same one.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._period_s = period_s
        self._since_s = time.monotonic()
        self._seen: Counter[_Message] = Counter()
        self._last: dict[_Message, logging.LogRecord] = {}
        """Of each message that is folded, the last record."""
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, or count it; the caller holds the handler's lock."""
        try:
            written = record.name.partition(".")[0] == "freshet" or self._is_new(record)
        except Exception:
            self.handleError(record)  # as logging does where arguments do not fit the text
            return
        if written:
            super().emit(record)

    def close(self) -> None:
        """Write what is folded, and close."""
        self._end_period()
        super().close()

    def _is_new(self, record: logging.LogRecord) -> bool:
        if time.monotonic() - self._since_s >= self._period_s:
            self._end_period()
        message = (record.name, record.levelno, _NUMBERS.sub("", record.getMessage()))
        self._seen[message] += 1
        if self._seen[message] <= WRITTEN:
            return True
        self._last[message] = record
        if self._timer is None:
            # Nobody may log anything any more.
            self._timer = threading.Timer(self._period_s, self._end_period)
            self._timer.daemon = True
            self._timer.start()
        return False

    def _end_period(self) -> None:
        self.acquire()
        try:
            now_s = time.monotonic()
            for message, record in self._last.items():
                times = self._seen[message] - WRITTEN
                folded = copy.copy(record)
                folded.msg = (
                    f"{record.getMessage()} (repeated {times} times in {now_s - self._since_s:.0f} s)"
                )
                folded.args, folded.exc_info, folded.exc_text = (), None, None
                folded.__dict__["repeated"] = times
                super().emit(folded)
            self._seen.clear()
            self._last.clear()
            self._since_s = now_s
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        finally:
            self.release()
