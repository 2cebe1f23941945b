"""Tests run in two processes; what they make in one folder is made by one of them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.repository import ROOT

_BUILD = ROOT / "build"


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Wait until no other process of these tests is in a block of this ``name``."""
    _BUILD.mkdir(exist_ok=True)
    with (_BUILD / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
