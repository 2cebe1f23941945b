"""``freshet up`` as a child says why it did not start, stops when told to, and ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from freshet.workers.processes.up_process import UpFailed, UpProcess
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.broker


def tree_of(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_system_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("where the broker's folder should be")
    with UpProcess(tmp_path, tmp_path / "up.log", embed=False) as up, pytest.raises(UpFailed) as failure:
        up.wait_until_ready(HANG_S)
    assert "cannot be made" in str(failure.value)
    assert str(tmp_path / "up.log") in str(failure.value)


def test_a_system_stops_cleanly_when_told_to_while_it_starts(tmp_path: Path) -> None:
    with UpProcess(tmp_path, tmp_path / "up.log", embed=False) as up:
        wait_until(lambda: len(tree_of(up.pid)) > 2, "the broker's process")
        processes = [process.pid for process in tree_of(up.pid)]
        assert up.stop() == 0
    wait_until(lambda: not any(map(is_alive, processes)), "the end of all processes")


def test_a_system_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from freshet.workers.processes.up_process import UpProcess\n"
        f"up = UpProcess(Path({str(tmp_path)!r}), Path({str(log)!r}), embed=False)\n"
        f"up.wait_until_ready({HANG_S}); print(up.pid, flush=True); time.sleep({HANG_S})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        processes = [process.pid for process in tree_of(pid)]
        assert len(processes) > 2
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, processes)), "the end of all processes")
    assert "stopped" in log.read_text().splitlines()
