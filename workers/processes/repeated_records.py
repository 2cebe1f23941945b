"""Folds repeated log records of libraries: a client whose broker is gone logs hundreds of them a second.

Guarantee: of a message that repeats, the first few of a minute are written, and the number of the others at
the end of the minute or of the program. freshet's own records are always written: each has its own subject.
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
"""Records written of one message in each period."""

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")

_Message = tuple[str, int, str]
"""Logger's name, level, and text without numbers such as ports, times and addresses of objects."""


class FoldingHandler(logging.StreamHandler):  # type: ignore[type-arg] # generic in the stubs alone
    """A handler that writes to standard error and folds repeated messages.

    Args:
        period_s: Seconds for which a message counts as the same one.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._period_s = period_s
        self._since_s = time.monotonic()
        self._seen: Counter[_Message] = Counter()
        self._last: dict[_Message, logging.LogRecord] = {}
        """Last record of each message that is folded."""
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
        """Write the numbers of folded records, and close."""
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
