"""Types of numeric options, which accept finite numbers only."""

from __future__ import annotations

import math

import click


class FiniteRange(click.FloatRange):  # noqa: TID251 - the only use, which refuses inf and nan
    """Range of decimal numbers without ``inf`` and ``nan``, which click's own accepts."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse ``value``; fail with a usage error that names the option."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SEED = click.IntRange(0, 2**32 - 1)
"""Seed that every random number generator accepts."""
MAX_TIMEOUT_S = 86_400.0
SECONDS = FiniteRange(0, MAX_TIMEOUT_S, min_open=True)
"""Time-out above 0, of at most a day."""
