"""Numbers on the command line: each is a number, however Python would read it."""

from __future__ import annotations

import math

import click


class FiniteRange(click.FloatRange):  # noqa: TID251 - the one that refuses them
    """Click's range of decimal numbers without ``inf`` and ``nan``, which click finds in many a range."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a usage error that names the option."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SEED = click.IntRange(0, 2**32 - 1)
"""A seed that every generator of random numbers takes."""
MAX_TIMEOUT_S = 86_400.0
SECONDS = FiniteRange(0, MAX_TIMEOUT_S, min_open=True)
"""A time-out: more than nothing, and at most a day."""
