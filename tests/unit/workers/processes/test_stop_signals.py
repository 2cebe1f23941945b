"""A service that is told to stop while it starts ends with status 0, whatever it is doing at the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from freshet.workers.cli.main import SERVICES

# Tells itself to stop when it is about to load a module, as if somebody did at that moment.
PROGRAM = """
import os, signal, sys

class Teller:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(sys.argv[2]))
        return None

from freshet.workers.cli.main import main

sys.meta_path.insert(0, Teller())
main(sys.argv[3:])
"""


def told_to_stop(number: int, at: str, *arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """How the command line ends that is told to stop when it loads the module ``at``."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, at, str(int(number)), *arguments],
        env=os.environ | {"FRESHET_DATA_DIR": str(data_dir), "FRESHET_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("verb", sorted(SERVICES))
def test_a_service_that_is_told_to_stop_before_it_is_loaded_ends_with_status_0(
    verb: str, number: signal.Signals, tmp_path: Path
) -> None:
    ended = told_to_stop(number, f"freshet.workers.cli.commands.{verb}", verb, data_dir=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_verb_that_does_a_piece_of_work_ends_as_interrupted(tmp_path: Path) -> None:
    ended = told_to_stop(signal.SIGINT, "freshet.workers.cli.commands.doctor", "doctor", data_dir=tmp_path)
    assert ended.returncode == 130


def test_a_service_that_hangs_while_it_stops_is_ended_and_says_where() -> None:
    program = (
        "import os, signal, threading\n"
        "from freshet.workers.processes import stop_signals\n"
        "def hang(number, frame):\n"
        "    threading.Event().wait()\n"
        "stop_signals.STOP_TIMEOUT_S = 0.2\n"
        "with stop_signals.handling_stop_signals(hang):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "in hang" in ended.stderr
