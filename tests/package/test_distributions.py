"""``python -m build``: the wheel has what runs, the source distribution what builds and tests as well."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.package.source_tree import copy_source, files_below, run


class Distributions:
    """What ``python -m build`` makes: the wheel from the source distribution, and that from the source."""

    def __init__(self, folder: Path) -> None:
        self.source = copy_source(folder / "source")
        self.files = files_below(self.source)
        # Without isolation: installing the folder with pip, in another test, does fetch the build's needs.
        self.log = run(
            sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ".", cwd=self.source
        )
        (self.wheel,) = folder.glob("*.whl")
        (self.sdist,) = folder.glob("*.tar.gz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return Distributions(tmp_path_factory.mktemp("distributions"))


def test_nothing_is_built_that_setuptools_is_about_to_ignore(made: Distributions) -> None:
    assert "Package would be ignored" not in made.log
    assert "Deprecat" not in made.log


def test_the_source_distribution_is_the_repository(made: Distributions) -> None:
    with tarfile.open(made.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert made.files - names == set()
    added = {name for name in names - made.files if not name.startswith("freshet.egg-info/")}
    assert added == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_holds_every_module_and_every_file_that_they_read(made: Distributions) -> None:
    with zipfile.ZipFile(made.wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("freshet-")}
    ours = {
        f"freshet/{name}"
        for name in made.files
        if name.startswith(("models/", "streams/", "workers/")) and not name.endswith(".pyc")
    }
    compiled = {name for name in names if name.endswith(".so")}
    assert {name.partition(".")[0] for name in compiled} == {
        f"freshet/models/kernels/compiled/{name}" for name in ("counts", "features", "ranking")
    }
    assert names - compiled == ours
    assert {f"freshet/{part}/py.typed" for part in ("models", "streams", "workers")} <= names


def test_without_a_compiler_it_is_built_without_what_is_compiled(made: Distributions, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, made.source)
    run(*command, cwd=tmp_path, environment={"CC": "/nowhere/cc"})
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "freshet/models/kernels/in_numpy/features.py" in names
    assert not [name for name in names if name.endswith(".so")]


def test_the_metadata_name_the_licence_the_extras_and_no_torch_for_the_core(made: Distributions) -> None:
    with zipfile.ZipFile(made.wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(path).decode())
        licences = {name.rpartition("/")[2] for name in archive.namelist() if "/licenses/" in name}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert licences == {"LICENSE", "NOTICE"}
    assert {"embed", "train", "trace", "java", "ann", "dev"} == set(metadata.get_all("Provides-Extra") or [])
    core = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
    assert core
    assert not [need for need in core if re.match(r"torch|transformers|scipy|scikit", need)]


def test_every_extra_is_documented(made: Distributions) -> None:
    page = (made.source / "docs/how-to/install.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(made.wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        extras = re.findall(r"^Provides-Extra: (.+)$", archive.read(path).decode(), re.MULTILINE)
    assert {extra for extra in extras if f"| `{extra}` |" not in page} == set()
