"""A thread that runs beside a block of ``with`` and ends with it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class BackgroundThread(ABC):
    """A context manager: its thread starts at the beginning and is told to stop at the end.

    Args:
        name: The thread's.
        join_timeout_s: How long the end waits for the thread; it does not keep the process alive.
    """

    def __init__(self, name: str, join_timeout_s: float) -> None:
        self._join_timeout_s = join_timeout_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """What the thread does, until ``_stop`` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(self._join_timeout_s)
