"""Runs the blocks of one page from top to bottom, as somebody who follows it would.

Each block is a shell of its own (``sh -e``) in the page's folder, which begins empty. ``freshet`` is found on
the path, and finds the system that the pages share through the environment; addresses that a page spells out
become those of that system. What a page leaves running ends with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.documents.commands import freshet_commands
from tests.documents.pages import COMMANDS, Block
from tests.waiting import HANG_S

_POLL_S = 0.05
_NOT_RUN = {"skip", "see", "up"}


class BlockFailed(AssertionError):
    """A block did not do what its page says."""


def runs(block: Block) -> bool:
    """Whether a block is one of those that are run here."""
    told = {directive.kind for directive in block.directives}
    return block.language in {COMMANDS, "python"} and not told & _NOT_RUN


def starts_only_the_system(block: Block) -> bool:
    """Whether all that a block marked ``up`` does is to start what the pages share."""
    lines = [line.split("#")[0].strip() for line in block.text.splitlines()]
    others = [line for line in lines if line and not line.startswith((". ", "freshet up"))]
    return not others and [words[0] for words in freshet_commands(block.text)] == ["up"]


class PageRun:
    """A page being followed; a context manager.

    Args:
        folder: Where the page's commands run.
        environment: Of the commands, beside this process' own without ``FRESHET_*``.
        addresses: What to put in place of the addresses that pages spell out.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        self._folder = folder
        self._addresses = addresses
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        binaries = Path(sys.executable).parent
        self._environment = {**kept, "PATH": f"{binaries}{os.pathsep}{kept['PATH']}", "COLUMNS": "160"}
        # Training in miniature: threads that wait for each other take more of a busy machine than one.
        self._environment |= {"OMP_NUM_THREADS": "1", **environment}
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in self._background:
            try:
                process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(self, block: Block) -> str:
        """Run a block as its directives say; returns what it printed.

        Raises:
            BlockFailed: It ended with another status than it should, or not in time.
        """
        for command in block.told("first"):
            self._finish(block, ["sh", "-ec", self._substituted(block, command)], 0)
        text = self._substituted(block, block.text)
        argv = ["sh", "-ec", text]
        if block.language == "python":
            script = self._folder / f"block_{block.line}.py"
            script.write_text(text, encoding="utf-8")
            argv = [sys.executable, str(script)]
        if waiting := block.told("background"):
            return self._leave_running(block, argv, waiting[0])
        (status,) = block.told("status") or ["0"]
        output = self._finish(block, argv, int(status))
        for awaited in block.told("prints"):
            if awaited not in output:
                raise BlockFailed(f"{block.where} did not print {awaited!r}:\n{text}\n{output}")
        return output

    def check_output(self, block: Block, printed: str) -> None:
        """Compare a block marked ``output`` with what the block before it printed.

        Raises:
            BlockFailed: They differ.
        """
        if printed.strip() != block.text.strip():
            raise BlockFailed(f"{block.where} says\n{block.text}\nand the block before it prints\n{printed}")

    def _substituted(self, block: Block, text: str) -> str:
        for replacement in block.told("with"):
            old, new = replacement.split("=", 1)
            if old not in text and text == block.text:
                raise BlockFailed(f"{block.where}: `with {replacement}`: the block has no {old!r}")
            text = text.replace(old, new)
        for old, new in self._addresses.items():
            text = text.replace(old, new)
        return text

    def _finish(self, block: Block, argv: list[str], status: int) -> str:
        with subprocess.Popen(
            argv,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output = process.communicate(timeout=HANG_S)[0].decode(errors="replace")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != status:
            raise BlockFailed(
                f"{block.where} ended with status {process.returncode}, not {status}:\n{argv[-1]}\n{output}"
            )
        return output

    def _leave_running(self, block: Block, argv: list[str], awaited: str) -> str:
        log = self._folder / f"block_{block.line}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                argv,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append(process)
        deadline = time.monotonic() + HANG_S
        while awaited not in (printed := log.read_text(encoding="utf-8", errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BlockFailed(f"{block.where} did not print {awaited!r}:\n{argv[-1]}\n{printed}")
            time.sleep(_POLL_S)
        return printed
