"""A program as a child process with a log file, stopped in any case."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

_STOP_TIMEOUT_S = 120.0


class ChildProcess(AbstractContextManager["ChildProcess"]):
    """A Python program in a session of its own; it is stopped when the context is left.

    Args:
        arguments: Arguments of the Python interpreter, such as ``["-m", "freshet.workers", "stream"]``.
        environment: All of its environment variables.
        log_file: File to which the process' standard output and standard error are appended.
        stdin: Its standard input, as :class:`subprocess.Popen` takes it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def stop(self) -> int:
        """Ask the process to stop, kill it if it does not, and return its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            if self._process.stdin is not None:
                self._process.stdin.close()
