"""What the integration tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Collect garbage after each file: a socket that was not closed is reported where it was opened.

    Warnings are errors, and otherwise whichever test runs at the time would fail of it.
    """
    yield
    gc.collect()
