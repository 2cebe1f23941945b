"""``freshet up`` as a child process, for programs that need a whole system: it never outlives its parent.

Guarantee: the child is stopped when the context is left, however it is left, and stops by itself when this
process is gone. Ctrl-C at the terminal reaches this process only, which then stops the child.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError

READY = "freshet is up"
"""What the line begins with that says that requests are answered."""

_BULLET = "• "
_HOST = "127.0.0.1"
_POLL_S = 0.05
_STOP_TIMEOUT_S = 120.0
_TAIL_LINES = 25


class UpFailed(WorkerError):
    """``freshet up`` did not start, or ended by itself."""


class UpProcess:
    """A system with a Kafka of its own on free ports, in a data folder of its own; a context manager.

    Args:
        data_dir: Of everything that the system keeps. What the folder holds already is used again.
        log_file: Takes what the process prints.
        embed: Embed articles in it.
        environment: Further variables of the process.
        kafka_properties: Of the broker, by their names.

    The environment's ``FRESHET_*`` variables are not passed on: the system is the same everywhere.
    """

    def __init__(
        self,
        data_dir: Path,
        log_file: Path,
        *,
        embed: bool = True,
        environment: Mapping[str, str] = MappingProxyType({}),
        kafka_properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        kafka_port, metrics_port = _free_ports(2)
        # Not from the environment, which may name another Kafka.
        self.settings = Settings.model_construct(
            bootstrap_servers=f"{_HOST}:{kafka_port}", data_dir=data_dir, metrics_port=metrics_port
        )
        """How clients reach it."""
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self._log_start_bytes = log_file.stat().st_size if log_file.exists() else 0
        options = [f"--data-dir={data_dir}", f"--kafka-port={kafka_port}", f"--metrics-port={metrics_port}"]
        if not embed:
            options.append("--no-embed")
        options += [f"--kafka-property={name}={value}" for name, value in kafka_properties.items()]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "freshet.workers", "up", "--exit-with-stdin", *options],
                env={name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
                | dict(environment),
                stdin=subprocess.PIPE,
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

    def wait_until_ready(self, timeout_s: float, on_line: Callable[[str], None] = lambda line: None) -> None:
        """Wait until it answers requests; ``on_line`` is told each step of its start.

        Raises:
            UpFailed: It ended, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        told = 0
        while True:
            ended = self._process.poll() is not None
            lines = self._lines()
            steps = [line.removeprefix(_BULLET) for line in lines if line.startswith(_BULLET)]
            for step in steps[told:]:
                on_line(step)
            told = len(steps)
            if any(step.startswith(READY) for step in steps):
                return
            if ended:
                raise self._failed("ended before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Do nothing while it runs.

        Raises:
            UpFailed: It ended.
        """
        if self._process.poll() is not None:
            raise self._failed(f"ended with status {self._process.returncode}")

    def stop(self) -> int:
        """Stop it and return its exit status; a second call only returns that."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
        return self._process.returncode

    def _lines(self) -> list[str]:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start_bytes)
            text = log.read().decode(errors="replace")
        # A line is told when it is complete.
        return text[: text.rfind("\n") + 1].splitlines()

    def _failed(self, what: str) -> UpFailed:
        tail = "\n".join(f"    {line}" for line in self._lines()[-_TAIL_LINES:])
        return UpFailed(
            f"`freshet up` {what}. The end of its log ({self.log_file}):\n{tail or '    (empty)'}\n"
            "`freshet doctor` checks Java, ports, disk and Kafka."
        )


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind((_HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
