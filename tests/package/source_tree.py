"""A clean copy of the source, as a fresh clone has it, and programs run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.repository import ROOT


def copy_source(to: Path) -> Path:
    """Copy what git would not ignore to the new folder ``to``, and return it."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line]
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".git", *ignored))
    return to


def files_below(folder: Path) -> set[str]:
    """The paths of all files below ``folder``, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(
    *command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, status: int | None = 0
) -> str:
    """Run ``command`` in ``cwd``, outside this environment, and return what it prints.

    Raises:
        AssertionError: Its exit status is not ``status``, unless that is ``None``.
    """
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=mine | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    shown = f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    assert status is None or done.returncode == status, shown
    return done.stdout + done.stderr
