"""The images' Dockerfiles: the linter finds nothing, the base is pinned, nothing runs as root."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compose.compose_file import ROOT
from tests.external_tools import external_tool

IMAGES = ROOT / "deploy" / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
_LINTER = Path(__file__).parent / "dockerfile_lint"


@functools.cache
def _linter() -> Path:
    """The linter of package-lock.json, in ``build/dockerfile_lint``."""
    folder = ROOT / "build" / "dockerfile_lint"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_LINTER / name, folder)
    subprocess.run(
        [external_tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=folder,
        check=True,
    )
    return folder / "node_modules" / ".bin" / "dockerfile-utils"


def _findings(file: Path) -> str:
    # Errors give exit status 1, warnings 0: what counts is what it prints.
    run = subprocess.run([_linter(), "lint", file], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.stdout


def _instructions(file: Path) -> list[tuple[str, str]]:
    """Each instruction and its argument, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def _last_stage(file: Path) -> list[tuple[str, str]]:
    found = _instructions(file)
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def test_there_are_two_images() -> None:
    assert [file.stem for file in DOCKERFILES] == ["embed", "stream"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_the_linter_finds_nothing(file: Path) -> None:
    assert _findings(file) == ""


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:3.11.16-slim-bookworm\nCOPPY a b\n")
    assert "COPPY" in _findings(wrong)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_every_stage_begins_with_one_pinned_base_or_another_stage(file: Path) -> None:
    stages = [words.split() for word, words in _instructions(file) if word == "FROM"]
    names = {words[2] for words in stages if len(words) > 1}
    bases = {words[0] for words in stages} - names
    # The kernels are compiled where there is a compiler, and run where there is none.
    assert bases == {"python:3.11.16-bookworm", "python:3.11.16-slim-bookworm"}
    assert stages[0][0] == "python:3.11.16-bookworm"
    assert len(stages) > 1


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_the_image_does_not_run_as_root(file: Path) -> None:
    users = [words for word, words in _instructions(file) if word == "USER"]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_what_is_copied_from_the_source_exists_and_is_not_ignored(file: Path) -> None:
    sources = [
        source
        for word, words in _instructions(file)
        if word == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    ]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(each + "/") for each in allowed), source
    used = {each for each in allowed if any(s == each or s.startswith(each + "/") for s in sources)}
    assert used == allowed


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_everything_is_installed_from_a_list_with_hashes(file: Path) -> None:
    for word, words in _instructions(file):
        if word == "RUN" and "pip install" in words and "/dist/" not in words and "torch==" not in words:
            assert "--require-hashes" in words, words
            assert "--only-binary :all:" in words, words


def test_the_stream_image_has_nothing_of_torch() -> None:
    text = (IMAGES / "stream.Dockerfile").read_text(encoding="utf-8") + (IMAGES / "stream.txt").read_text()
    assert not re.search(r"^(torch|transformers|nvidia|cuda|triton)", text, re.MULTILINE)
