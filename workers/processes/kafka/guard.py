"""Runs a broker that never outlives the process that wanted it.

The guard stands between freshet and Kafka's Java process, in a session of its own, so that Ctrl-C at the
terminal reaches freshet's workers and not the broker. Its standard input is a pipe that the parent holds
open: when the parent closes it, or dies, by SIGKILL too, the guard ends the broker (SIGTERM, then SIGKILL)
and exits with the broker's status. Where a forked child of the parent has inherited the pipe's
writing end, the guard notices that its own parent has changed. On Linux the kernel kills the broker when the
guard itself is killed.

This module imports the standard library only: it has to be there within milliseconds, and small.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import FrameType

STOP_TIMEOUT_S = 20.0
"""Time between SIGTERM and SIGKILL, in which the broker closes its logs."""

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def guard(command: Sequence[str], parent_pid: int, inherited_fds: Sequence[int] = ()) -> int:
    """Run a command until it ends by itself, the parent goes, or SIGTERM or SIGINT comes; return its status.

    Args:
        command: The program and its arguments; it inherits standard output and standard error.
        parent_pid: The process to watch.
        inherited_fds: Open files that the command keeps for its life, such as a lock.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=inherited_fds,
        preexec_fn=_die_with_parent(),  # noqa: PLW1509 - the guard has one thread only
    ) as child:
        while child.poll() is None and not stopping and os.getppid() == parent_pid:
            readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
            if readable and not os.read(sys.stdin.fileno(), 1):
                break
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """Make the function that the child calls before it becomes the broker; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return set_death_signal


def main(arguments: Sequence[str]) -> int:
    """Run ``PARENT_PID LOCK_FD PROGRAM [ARGUMENT...]``; return its status, or 128 + a signal."""
    parent_pid, lock_fd, *command = arguments
    status = guard(command, int(parent_pid), [int(lock_fd)])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
