"""What an examination of :mod:`freshet.workers.doctor.examine` says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]
"""``warn``: something works less well, or not yet. ``fail``: freshet cannot work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    status: Status
    text: str
    remedy: str = ""
    """What to do; empty when nothing is to be done."""
