"""docker-compose.yml as ``docker compose`` reads it: by the library that it is made of, compose-go."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.external_tools import external_tool
from tests.one_at_a_time import one_at_a_time
from tests.repository import ROOT

FILE = ROOT / "docker-compose.yml"
ALL_PROFILES = ("gpu", "replay")

_PROGRAM = Path(__file__).parent / "compose_project"
_BINARY = ROOT / "build" / "compose_project"


class ComposeFileRefused(Exception):
    """``docker compose`` would not read the file."""


def project(*profiles: str, file: Path = FILE, **variables: str) -> dict[str, Any]:
    """The project that ``docker compose --profile ... config`` shows.

    Args:
        profiles: Those that are asked for.
        file: Which file.
        variables: The environment that the file may use; nothing of the tests' own.

    Raises:
        ComposeFileRefused: The file is not as the Compose specification wants it, or not consistent.
    """
    run = subprocess.run(
        [_binary(), file, *profiles],
        env=variables,
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise ComposeFileRefused(run.stderr)
    parsed: dict[str, Any] = json.loads(run.stdout)
    return parsed


@functools.cache
def _binary() -> Path:
    go = external_tool("go")
    with one_at_a_time("compose_project"):
        # Go builds what has changed only; the versions are those of go.sum.
        subprocess.run(
            [go, "build", "-buildvcs=false", "-o", _BINARY, "."],
            cwd=_PROGRAM,
            env=os.environ | {"GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"},
            check=True,
        )
    return _BINARY
