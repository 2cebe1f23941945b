"""What the images install is what was tested: the lists agree with the constraints and with the package."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.compose_file import ROOT

IMAGES = ROOT / "deploy" / "images"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
REMEDY = "run `make image-locks`"


def _pins(file: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def _needs(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


STREAM = _pins(IMAGES / "stream.txt")
EMBED = _pins(IMAGES / "embed.txt")
CUDA = _pins(IMAGES / "cuda.txt")
CONSTRAINTS = _pins(ROOT / "deploy" / "constraints.txt")


def test_the_locked_versions_are_those_that_are_tested() -> None:
    # What CUDA needs is pinned by torch itself, and differs on every system.
    for name, version in (STREAM | EMBED | {"torch": CUDA["torch"]}).items():
        assert CONSTRAINTS.get(name) == version, f"{name} {version}: {REMEDY}"


def test_the_lists_hold_everything_that_the_package_asks_for() -> None:
    for lock, needs in ((STREAM, _needs("trace")), (EMBED | CUDA, _needs("trace", "embed"))):
        for need in needs:
            version = lock.get(canonicalize_name(need.name))
            assert version is not None, f"{need}: {REMEDY}"
            assert need.specifier.contains(version), f"{need}, locked {version}: {REMEDY}"
    assert STREAM.items() <= EMBED.items()


def test_the_builder_is_one_that_the_package_accepts() -> None:
    build = _pins(IMAGES / "build.txt")
    assert build == _pins(IMAGES / "build.in")
    for name in ("setuptools", "cython", "numpy"):
        assert build[name] == CONSTRAINTS[name]
    needs = [Requirement(need) for need in PYPROJECT["build-system"]["requires"]]
    assert {canonicalize_name(need.name) for need in needs} <= build.keys()
    assert all(need.specifier.contains(build[canonicalize_name(need.name)]) for need in needs)


@pytest.mark.parametrize("name", ["build.txt", "stream.txt", "embed.txt", "cuda.txt"])
def test_every_entry_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (IMAGES / name).read_text(encoding="utf-8").strip())
    assert len(entries) > 1
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_torch_is_the_same_on_a_cpu_and_on_a_gpu() -> None:
    text = (IMAGES / "embed.Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"torch==(\S+)", text) == [CUDA["torch"]]


def test_the_notices_are_those_of_what_the_images_contain() -> None:
    written = (IMAGES / "THIRD-PARTY-NOTICES.md").read_text(encoding="utf-8")
    assert _notices().notices([IMAGES / "stream.txt", IMAGES / "embed.txt"], IMAGES / "cuda.txt") == written


def test_the_licences_texts_are_found() -> None:
    texts = "".join(_notices().all_texts())
    assert "Apache License" in texts
    assert re.search(r"^numpy \S+\nLicence: BSD-3-Clause", texts, re.MULTILINE)


def _notices() -> ModuleType:
    """``notices.py``, which is a program of the images and no part of the package."""
    spec = importlib.util.spec_from_file_location("notices", IMAGES / "notices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
