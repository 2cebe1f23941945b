"""``freshet up`` as a child process, for programs that need a whole system: it never outlives its parent.

Guarantee: the child is stopped when the context is left, however it is left, and stops by itself when this
process is gone. Ctrl-C at the terminal reaches this process only, which then stops the child.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.processes.child_process import ChildProcess
from freshet.workers.processes.kafka.broker import HOST, free_ports

READY = "freshet is up"
"""Beginning of the line that says that requests are answered."""

_BULLET = "• "
_POLL_S = 0.05
_TAIL_LINES = 25


class UpFailed(WorkerError):
    """``freshet up`` did not start, or ended by itself."""


class UpProcess(ChildProcess):
    """A system with a Kafka of its own on free ports, in a data folder of its own; a context manager.

    Args:
        data_dir: Folder of everything that the system keeps; an earlier system's data there is used again.
        log_file: File for the output of the process.
        embed: Whether articles are embedded in it.
        environment: Further environment variables of the process.
        kafka_properties: Properties of the broker, by name.

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
        kafka_port, metrics_port = free_ports(2)
        # Not from the environment, which may name another Kafka.
        self.settings = Settings.model_construct(
            bootstrap_servers=f"{HOST}:{kafka_port}", data_dir=data_dir, metrics_port=metrics_port
        )
        """Settings of clients of the system."""
        options = [f"--data-dir={data_dir}", f"--kafka-port={kafka_port}", f"--metrics-port={metrics_port}"]
        if not embed:
            options.append("--no-embed")
        options += [f"--kafka-property={name}={value}" for name, value in kafka_properties.items()]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        super().__init__(
            ["-m", "freshet.workers", "up", "--exit-with-stdin", *options],
            inherited | dict(environment),
            log_file,
            stdin=subprocess.PIPE,
        )

    def wait_until_ready(self, timeout_s: float, on_line: Callable[[str], None] = lambda line: None) -> None:
        """Wait until the system answers requests, and call ``on_line`` with each step of its start.

        Raises:
            UpFailed: The process ended, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        shown = 0
        while True:
            ended = self._process.poll() is not None
            lines = self._lines()
            steps = [line.removeprefix(_BULLET) for line in lines if line.startswith(_BULLET)]
            for step in steps[shown:]:
                on_line(step)
            shown = len(steps)
            if any(step.startswith(READY) for step in steps):
                return
            if ended:
                raise self._failed("ended before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Check that the process runs.

        Raises:
            UpFailed: The process ended.
        """
        if self._process.poll() is not None:
            raise self._failed(f"ended with status {self._process.returncode}")

    def _lines(self) -> list[str]:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start_bytes)
            text = log.read().decode(errors="replace")
        # Only lines that are complete.
        return text[: text.rfind("\n") + 1].splitlines()

    def _failed(self, what: str) -> UpFailed:
        tail = "\n".join(f"    {line}" for line in self._lines()[-_TAIL_LINES:])
        return UpFailed(
            f"`freshet up` {what}. The end of its log ({self.log_file}):\n{tail or '    (empty)'}\n"
            "`freshet doctor` checks Java, ports, disk and Kafka."
        )
