"""The packages of ``tests/node``, installed once for each lock file, and Node programs that import them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.external_tools import external_tool, unusable
from tests.one_at_a_time import one_at_a_time
from tests.repository import ROOT

SOURCES = Path(__file__).parent / "node"
BUILD = ROOT / "build"
OLDEST_NODE = (20, 19)


def node_modules() -> Path:
    """The folder with the packages as ``package-lock.json`` has them; installed by npm where they are not.

    Nothing that a package brings is run while it is installed.
    """
    npm = external_tool("npm")
    lock = (SOURCES / "package-lock.json").read_bytes()
    folder = BUILD / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    with one_at_a_time("node"):
        _install(npm, folder)
    return folder / "node_modules"


def _install(npm: Path, folder: Path) -> None:
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, unfinished)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        run = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"npm ci failed:\n{run.stdout}{run.stderr}"
        unfinished.rename(folder)


def run_node(
    program: Path, *arguments: str, environment: Mapping[str, str] | None = None, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program whose imports are the packages; it must lie in a folder that the test may write to."""
    node = external_tool("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(number) for number in version.removeprefix("v").split(".")[:2]) < OLDEST_NODE:
        unusable(f"Node {version} is older than {OLDEST_NODE[0]}.{OLDEST_NODE[1]}, which the packages need")
    link = program.parent / "node_modules"
    if not link.exists():
        link.symlink_to(node_modules(), target_is_directory=True)
    return subprocess.run(
        [node, program, *arguments],
        env=environment,
        input=input,
        capture_output=True,
        text=True,
        check=False,
    )
