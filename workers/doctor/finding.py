"""Finding of an examination by :mod:`freshet.workers.doctor.examine`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]
"""Severity. ``warn``: something works less well, or not yet; ``fail``: freshet cannot work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Line of the report."""

    subject: str
    status: Status
    text: str
    remedy: str = ""
    """Advice on what to do; empty if there is nothing to do."""
