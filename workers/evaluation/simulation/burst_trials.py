"""Measures delay and false alarms of the burst detector, for ``freshet simulate --bursts``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from rich.table import Table

from freshet.models.evaluation.simulation.burst_trial import BurstTrial, run
from freshet.workers.terminal.figure_table import figure_table

FACTORS = (3.0, 5.0, 10.0)
MEDIANS = (20.0, 60.0)
KINDS = {
    "clicks, same exposure": {"exposed": True},
    "clicks, exposure unknown": {"exposed": False},
    "exposure: no news": {"exposed": True, "more_exposure": True},
}


@dataclass(frozen=True, slots=True)
class BurstRow:
    """Detection of one kind of burst, over all seeds."""

    kind: str
    clicks_per_hour: float
    """Clicks per hour of the median new article."""
    factor: float
    bursts: int
    found: int
    median_delay_min: float | None
    late_delay_min: float | None
    """90 % quantile of the delay of the bursts found."""
    false_alarms_per_day: float


def measure(
    seeds: int, first_seed: int, articles: int, progress: Callable[[int, int], None]
) -> tuple[BurstRow, ...]:
    """Measure all kinds of bursts; ``progress`` gets the trials done, and all trials."""
    rows = []
    done, total = 0, len(KINDS) * len(MEDIANS) * len(FACTORS) * seeds
    for (kind, how), median, factor in product(KINDS.items(), MEDIANS, FACTORS):
        trials = []
        for seed in range(first_seed, first_seed + seeds):
            trials.append(run(BurstTrial(factor, median, articles, seed=seed, **how)))
            done += 1
            progress(done, total)
        delays_min = np.array([delay / 60.0 for trial in trials for delay in trial.delays_s])
        rows.append(
            BurstRow(
                kind,
                median,
                factor,
                bursts=sum(trial.bursts for trial in trials),
                found=len(delays_min),
                median_delay_min=float(np.median(delays_min)) if len(delays_min) else None,
                late_delay_min=float(np.quantile(delays_min, 0.9)) if len(delays_min) else None,
                false_alarms_per_day=sum(trial.false_alarms for trial in trials)
                / sum(trial.days for trial in trials),
            )
        )
    return tuple(rows)


def render(rows: tuple[BurstRow, ...], articles: int) -> Table:
    """Render the rows for a terminal."""
    table = figure_table(
        *("what", "clicks/h", "times", "found", "median", "9 of 10", "false alarms/day"),
        no_wrap=True,
        title=f"Bursts of two hours among {articles} articles",
    )
    for row in rows:
        table.add_row(
            row.kind,
            f"{row.clicks_per_hour:g}",
            f"{row.factor:g}",
            f"{row.found} of {row.bursts}",
            "" if row.median_delay_min is None else f"{row.median_delay_min:.0f} min",
            "" if row.late_delay_min is None else f"{row.late_delay_min:.0f} min",
            f"{row.false_alarms_per_day:.1f}",
        )
    return table
