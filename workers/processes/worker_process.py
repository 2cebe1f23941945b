"""Workers as processes of their own, started as a user would start them, for benchmarks and tests."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.processes.child_process import ChildProcess

_LOG_TAIL_BYTES = 3_000


class WorkerEnded(WorkerError):
    """The process of a worker ended by itself."""


class WorkerProcess(ChildProcess):
    """A Python module run as a program with freshet's settings; usable as a context manager.

    Args:
        arguments: Arguments of the Python interpreter, such as ``["-m", "freshet.workers", "stream"]``.
        settings: Settings that the environment passes on.
        log_file: File for the standard output and standard error of the process.
    """

    def __init__(self, arguments: Sequence[str], settings: Settings, log_file: Path) -> None:
        super().__init__(arguments, os.environ | _environment(settings), log_file)

    def check(self) -> None:
        """Check that the worker runs.

        Raises:
            WorkerEnded: The worker ended; the message carries the end of its log.
        """
        if self._process.poll() is not None:
            tail = self.log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            raise WorkerEnded(
                f"The worker ended with status {self._process.returncode}. The end of its log:\n{tail}"
            )

    def cpu_s(self) -> float:
        """Return the processor seconds used so far; not a number once the process is gone."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            return math.nan
        return float(times.user + times.system)

    def wait(self, timeout_s: float) -> int:
        """Wait until the worker ends by itself, and return its exit status.

        Raises:
            subprocess.TimeoutExpired: The worker still runs after ``timeout_s``.
        """
        return self._process.wait(timeout_s)


def stream_worker(settings: Settings) -> WorkerProcess:
    """Start one ``freshet stream``."""
    return WorkerProcess(["-m", "freshet.workers", "stream"], settings, settings.data_dir / "stream.log")


def embedding_worker(settings: Settings) -> WorkerProcess:
    """Start one ``freshet embed``."""
    return WorkerProcess(["-m", "freshet.workers", "embed"], settings, settings.data_dir / "embed.log")


def _environment(settings: Settings) -> dict[str, str]:
    # Secrets do not come here: they are in the environment already, their only source.
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"FRESHET_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if name not in {"kafka_password", "qdrant_api_key"}
    }
