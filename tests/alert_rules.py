"""freshet's alerting rules as a test needs them: read, and with time compressed.

A real Prometheus evaluates rules whose windows are minutes and days in seconds and minutes, if every duration
is divided by one number: `for`, the interval of a group, the ranges of selectors. Expressions and thresholds
stay as they are, so what a compressed rule shows is that the fault, lasting as long in proportion, raises the
alert; that an hour is the right window it does not show.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from tests.repository import ROOT

FILE = ROOT / "deploy" / "prometheus" / "alerts.yml"
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_RANGE = re.compile(r"\[([0-9a-z]+)\]")
_OTHER_DURATIONS = re.compile(r"\boffset\b|\[[^\]]*:")


def rules() -> dict[str, Any]:
    """The file as Prometheus reads it."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def alerts() -> dict[str, dict[str, Any]]:
    """The alerting rules by name."""
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in every if "alert" in rule}


def compressed(found: dict[str, Any], factor: int) -> dict[str, Any]:
    """Rules in which every duration is divided by ``factor``, and that are otherwise the same.

    Raises:
        ValueError: A rule has a duration that this does not know to divide.
    """
    found = copy.deepcopy(found)
    for group in found["groups"]:
        if "interval" in group:
            group["interval"] = shorter(group["interval"], factor)
        for rule in group["rules"]:
            if _OTHER_DURATIONS.search(rule["expr"]):
                raise ValueError(f"an offset or a subquery: {rule['expr']}")
            rule["expr"] = _RANGE.sub(lambda match: f"[{shorter(match[1], factor)}]", rule["expr"])
            if "for" in rule:
                rule["for"] = shorter(rule["for"], factor)
    return found


def shorter(duration: str, factor: int) -> str:
    """A duration of Prometheus, such as ``1h30m``, divided by ``factor``.

    Raises:
        ValueError: It is no duration, or less than a millisecond remains.
    """
    parts = _DURATION.findall(duration)
    if "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is no duration")
    milliseconds = sum(int(number) * _UNITS_MS[unit] for number, unit in parts) // factor
    if milliseconds < 1:
        raise ValueError(f"nothing remains of {duration} divided by {factor}")
    return f"{milliseconds}ms"
