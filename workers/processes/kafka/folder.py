"""Ownership of the local broker's folder: one broker at a time, and none once its last process is gone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from freshet.workers.errors import BrokerFailed
from freshet.workers.processes.kafka.guard import STOP_TIMEOUT_S

_POLL_S = 0.05


@contextmanager
def own_folder(folder: Path) -> Iterator[IO[str]]:
    """Lock the folder's lock file; a process that inherits the open file keeps the lock for its own life.

    A broker whose freshet is gone needs a moment to close its logs, and is waited for.

    Raises:
        BrokerFailed: Another freshet's broker owns the folder.
    """
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _locked(lock):
            owner = _read_owner(lock)
            if (
                owner.freshet_pid > 0 and psutil.pid_exists(owner.freshet_pid)
            ) or time.monotonic() > deadline:
                raise BrokerFailed(
                    f"The data folder {folder} is in use by the broker of process {owner.freshet_pid}. "
                    "Stop it, choose another folder (--data-dir), or use that broker with "
                    f"--bootstrap-servers {owner.bootstrap_servers}."
                )
            time.sleep(_POLL_S)
        yield lock


def write_owner(lock: IO[str], bootstrap_servers: str) -> None:
    """Write down for others that this process runs a broker in the folder, and its address."""
    lock.seek(0)
    lock.truncate()
    json.dump({"freshet_pid": os.getpid(), "bootstrap_servers": bootstrap_servers}, lock)
    lock.flush()


@dataclass(frozen=True, slots=True)
class _Owner:
    freshet_pid: int
    bootstrap_servers: str


def _read_owner(lock: IO[str]) -> _Owner:
    lock.seek(0)
    with suppress(ValueError, KeyError):
        record = json.loads(lock.read())
        return _Owner(int(record["freshet_pid"]), str(record["bootstrap_servers"]))
    # The owner is starting: it has locked the file, but not written yet.
    return _Owner(0, "HOST:PORT")


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
