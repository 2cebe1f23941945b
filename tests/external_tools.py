"""Programs that are no Python packages and that some tests run for real."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def external_tool(name: str) -> Path:
    """Where the program ``name`` is.

    Where it is not installed the test is skipped with the reason; with ``FRESHET_TEST_TOOLS=required``, as in
    continuous integration, it fails.
    """
    found = shutil.which(name)
    if found is None:
        unusable(f"the program {name} is not on the PATH; deploy/test-tools.sh installs it on Debian")
    return Path(found)


def unusable(reason: str) -> NoReturn:
    """Skip the test, because a program is missing or too old; in continuous integration fail it."""
    if os.environ.get("FRESHET_TEST_TOOLS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
