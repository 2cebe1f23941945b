"""A thread that lives as long as a ``with`` block."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class BackgroundThread(ABC):
    """A context manager that starts a thread, and stops it at the end.

    Args:
        name: The thread's name.
        join_timeout_s: Seconds for which the end waits for the thread, which never keeps the process alive.
    """

    def __init__(self, name: str, join_timeout_s: float) -> None:
        self._join_timeout_s = join_timeout_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """Do the thread's work until ``_stop`` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._join_timeout_s)
