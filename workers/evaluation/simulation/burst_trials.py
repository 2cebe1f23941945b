"""``freshet simulate --bursts``: how soon the burst detector sees news that breaks, and how often it errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from freshet.models.evaluation.simulation.burst_trial import BurstTrial, run

FACTORS = (3.0, 5.0, 10.0)
MEDIANS = (20.0, 60.0)
KINDS = {
    "clicks, same exposure": {"exposed": True},
    "clicks, exposure unknown": {"exposed": False},
    "exposure: no news": {"exposed": True, "more_exposure": True},
}


@dataclass(frozen=True, slots=True)
class BurstRow:
    """One kind of burst, over all seeds."""

    kind: str
    clicks_per_hour: float
    """Of the median new article."""
    factor: float
    bursts: int
    found: int
    median_delay_min: float | None
    late_delay_min: float | None
    """Nine of ten that were found were found by then."""
    false_alarms_per_day: float


def measure(
    seeds: int, first_seed: int, articles: int, progress: Callable[[int, int], None]
) -> tuple[BurstRow, ...]:
    """All kinds of bursts; ``progress`` is told how many trials are done, of how many."""
    rows = []
    done, total = 0, len(KINDS) * len(MEDIANS) * len(FACTORS) * seeds
    for kind, how in KINDS.items():
        for median in MEDIANS:
            for factor in FACTORS:
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
                        sum(trial.bursts for trial in trials),
                        len(delays_min),
                        float(np.median(delays_min)) if len(delays_min) else None,
                        float(np.quantile(delays_min, 0.9)) if len(delays_min) else None,
                        sum(trial.false_alarms for trial in trials) / sum(trial.days for trial in trials),
                    )
                )
    return tuple(rows)


def render(rows: tuple[BurstRow, ...], articles: int) -> Table:
    """The rows for a terminal."""
    table = Table(title=f"Bursts of two hours among {articles} articles")
    for name in ("what", "clicks/h", "times", "found", "median", "9 of 10", "false alarms/day"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
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
