"""A worker as a process of its own: started as a user would start it, stopped in any case.

What a benchmark or a test sees of it from outside is its topics, its log and its processor time.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError

_STOP_TIMEOUT_S = 120.0
_LOG_TAIL_BYTES = 3_000


class WorkerEnded(WorkerError):
    """A worker's process ended by itself."""


class WorkerProcess:
    """A Python module run as a program with freshet's settings; usable as a context manager.

    Args:
        arguments: Of the Python interpreter: ``["-m", "freshet.workers", "stream"]``.
        settings: Passed on in the environment.
        log_file: Takes what the process writes to standard error, and to standard output.
    """

    def __init__(self, arguments: Sequence[str], settings: Settings, log_file: Path) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env=os.environ | _environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def check(self) -> None:
        """Do nothing while the worker runs.

        Raises:
            WorkerEnded: It ended; the message carries the end of its log.
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
            subprocess.TimeoutExpired: It did not within ``timeout_s``.
        """
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Ask the worker to stop, kill it if it does not, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise


def stream_worker(settings: Settings) -> WorkerProcess:
    """One ``freshet stream``."""
    return WorkerProcess(["-m", "freshet.workers", "stream"], settings, settings.data_dir / "stream.log")


def embedding_worker(settings: Settings) -> WorkerProcess:
    """One ``freshet embed``."""
    return WorkerProcess(["-m", "freshet.workers", "embed"], settings, settings.data_dir / "embed.log")


def _environment(settings: Settings) -> dict[str, str]:
    # Secrets do not come here: they are in the environment already, their only source.
    values = settings.model_dump(mode="json", exclude_none=True)
    return {
        f"FRESHET_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if name not in {"kafka_password", "qdrant_api_key"}
    }
