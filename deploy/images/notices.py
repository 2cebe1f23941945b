"""Writes the third-party notices of the images, from the metadata of what is installed.

``notices.py table`` prints the page that is checked in: it is the same on every machine whose environment has
the pinned versions. ``notices.py texts`` prints the licences' texts of everything in its interpreter's
environment: the images are built with it. Needs the standard library only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

_TEXT_FILE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_LONGEST_LICENCE_NAME = 60
_HEAD = """# Third-party notices

What the container images contain beside freshet, Python and the base image's Debian packages. Written by
`make image-locks` from the packages' own metadata, checked by a test. The licences' texts are in each image,
in `/opt/freshet/THIRD-PARTY-NOTICES`, and in the packages' own `dist-info` folders. "No" in the last column:
the package ships no text of its licence.

| package | version | licence | text |
| --- | --- | --- | --- |
"""
_CUDA = """
The embedding image also contains PyTorch (torch, BSD-3-Clause). That for GPUs contains PyTorch's CUDA build
with Triton (MIT) and NVIDIA's libraries, under NVIDIA's own licences: redistribution is bound to their terms,
so read their texts in the image before you publish it.

"""


class NotInstalled(Exception):
    """A package of a lock file is not in this environment."""


def licence(found: Distribution) -> str:
    """The package's licence in a few words: its SPDX expression, its classifiers, or its own words."""
    expression = found.metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in found.metadata.get_all("Classifier") or []
        if value.startswith("License :: ") and value != "License :: OSI Approved"
    ]
    if classifiers:
        return ", ".join(sorted(classifiers))
    first_line = (found.metadata.get("License") or "").strip().partition("\n")[0]
    return first_line[:_LONGEST_LICENCE_NAME] or "not stated; see its text"


def texts(found: Distribution) -> list[Path]:
    """The files of a package that hold its licence and notices."""
    files = [
        Path(str(found.locate_file(file)))
        for file in found.files or []
        if any(part.endswith((".dist-info", ".egg-info")) for part in file.parts)
        and _TEXT_FILE.search(file.name)
    ]
    return sorted(file for file in files if file.is_file())


def names(requirements: Path) -> list[tuple[str, str]]:
    """Name and version of each package that a lock file pins."""
    return re.findall(
        r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE
    )


def table(locks: Iterable[Path]) -> str:
    """The rows of all packages of ``locks``.

    Raises:
        NotInstalled: One of them is not in this environment, or in another version.
    """
    pinned = sorted({pair for lock in locks for pair in names(lock)})
    return "".join(_row(name, version) for name, version in pinned)


def _row(name: str, version: str) -> str:
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        raise NotInstalled(f"{name} {version} is not installed here") from error
    if found.version != version:
        raise NotInstalled(f"{name} is {found.version} here, and {version} in the lock file")
    return f"| {name} | {version} | {licence(found)} | {'yes' if texts(found) else 'no'} |\n"


def all_texts() -> Iterator[str]:
    """Each package of this environment, with its licence's texts."""
    for found in sorted(distributions(), key=lambda each: each.name.lower()):
        yield f"{'=' * 100}\n{found.name} {found.version}\nLicence: {licence(found)}\n{'=' * 100}\n"
        for file in texts(found):
            yield f"--- {file.name}\n{file.read_text(encoding='utf-8', errors='replace').rstrip()}\n\n"


def notices(locks: Iterable[Path], cuda: Path) -> str:
    """The whole page of notices."""
    listed = "".join(f"- {name} {version}\n" for name, version in names(cuda))
    return f"{_HEAD}{table(locks)}{_CUDA}{listed}"


def main(arguments: list[str]) -> None:
    """Write what is asked for to standard output."""
    here = Path(__file__).parent
    if arguments == ["texts"]:
        sys.stdout.writelines(all_texts())
    elif arguments == ["table"]:
        sys.stdout.write(notices([here / "stream.txt", here / "embed.txt"], here / "cuda.txt"))
    else:
        sys.exit("usage: notices.py table | texts")


if __name__ == "__main__":
    main(sys.argv[1:])
