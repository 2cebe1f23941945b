"""Range checks that the models' settings share; each message names the setting, its value and its range."""

from __future__ import annotations

import math


def check_at_least(settings: object, low: float, *names: str) -> None:
    """Raise ``ValueError`` unless each named setting is at least ``low`` and finite."""
    for name in names:
        if not low <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} is {getattr(settings, name)}, must be at least {low}")


def check_positive(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each named setting is positive and finite."""
    for name in names:
        if not 0.0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} is {getattr(settings, name)}, must be positive")


def check_share(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each named setting is from 0 to below 1."""
    for name in names:
        if not 0.0 <= getattr(settings, name) < 1.0:
            raise ValueError(f"{name} is {getattr(settings, name)}, must be from 0 to below 1")
