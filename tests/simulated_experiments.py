"""Many experiments at once, each looked at after every impression; with fixed seeds.

``python -m tests.simulated_experiments`` prints the figures of docs/how-to/experiments.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.experiments.sequential_test import MIN_USERS, cluster_variance, log_evidence

_EXPECTED_EFFECT = 0.2
_LEVEL = 0.05
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Readers:
    """Who is in a simulated experiment; each impression is of one of them, at random."""

    users: int = 1_500
    impressions: int = 4_000
    rate: float = 0.1
    """Of clicks per impression."""
    lift: float = 0.0
    """Of the second variant's click rates, as a share."""
    eagerness: float | None = None
    """Click rates are Beta(rate c, (1 - rate) c): the smaller c, the less alike readers; unset: all alike."""
    activity: float | None = None
    """Impressions of a reader are Pareto of this exponent; unset: all read alike."""


@dataclass(frozen=True, slots=True)
class Peeked:
    """What came of the experiments."""

    decided: float
    """The share in which the always-valid test ever found a difference."""
    fixed_decided: float
    """The share in which a z-test for one look ever did, looked at as often."""
    fixed_at_end: float
    """The share in which that test did at its end, as its user should have looked."""
    median_impressions: float
    """Until a difference was found; infinite where most found none."""


def peeked_at(readers: Readers, runs: int, seed: int, *, by_impression: bool = False) -> Peeked:
    """Simulate ``runs`` experiments; ``by_impression`` takes impressions as if they were independent."""
    random = np.random.default_rng(seed)
    shape = (runs, readers.users)
    rates = np.full(shape, readers.rate)
    if readers.eagerness is not None:
        rates = random.beta(readers.rate * readers.eagerness, (1 - readers.rate) * readers.eagerness, shape)
    treated = random.random(shape) < 0.5
    rates = np.where(treated, np.minimum(1.0, rates * (1.0 + readers.lift)), rates)
    visits = _visits(readers, runs, random)
    y_of, n_of = np.zeros(shape), np.zeros(shape)
    users, y, n, yy, yn, nn = (np.zeros((runs, 2)) for _ in range(6))
    run = np.arange(runs)
    evidence = np.zeros(runs)
    decided_after = np.full(runs, np.inf)
    fixed = np.zeros(runs, np.bool_)
    significant = fixed
    for look in range(readers.impressions):
        user = visits[:, look]
        variant = treated[run, user].astype(np.intp)
        clicks = (random.random(runs) < rates[run, user]).astype(np.float64)
        y_before, n_before = y_of[run, user], n_of[run, user]
        users[run, variant] += n_before == 0
        y[run, variant] += clicks
        n[run, variant] += 1
        yy[run, variant] += clicks * (2 * y_before + clicks)
        yn[run, variant] += clicks * n_before + y_before + clicks
        nn[run, variant] += 2 * n_before + 1
        y_of[run, user] += clicks
        n_of[run, user] += 1
        counts = (users.min(1) >= MIN_USERS) & (y.sum(1) > 0)
        if not counts.any():
            continue
        ratio = y / np.maximum(n, 1)
        if by_impression:
            variance = (ratio * (1 - ratio) / np.maximum(n, 1)).sum(1)
        else:
            several = np.maximum(users, 2)
            variance = cluster_variance(several, y, np.maximum(n, 1), yy=yy, yn=yn, nn=nn).sum(1)
        counts &= variance > 0
        variance = np.where(counts, variance, 1.0)
        difference = ratio[:, 1] - ratio[:, 0]
        effect_sd = _EXPECTED_EFFECT * np.maximum(y.sum(1), 1) / n.sum(1)
        now = log_evidence(difference, variance, effect_sd)
        evidence = np.maximum(evidence, np.where(counts, now, 0.0))
        newly = (evidence >= -np.log(_LEVEL)) & np.isinf(decided_after)
        decided_after[newly] = look + 1
        significant = counts & (np.abs(difference) > _Z * np.sqrt(variance))
        fixed |= significant
    return Peeked(
        decided=float(np.isfinite(decided_after).mean()),
        fixed_decided=float(fixed.mean()),
        fixed_at_end=float(significant.mean()),
        median_impressions=float(np.median(decided_after)),
    )


def _visits(readers: Readers, runs: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Whose each impression is, shape (runs, impressions)."""
    if readers.activity is None:
        return random.integers(readers.users, size=(runs, readers.impressions))
    weights = random.pareto(readers.activity, (runs, readers.users)) + 0.2
    ends = np.cumsum(weights, axis=1)
    drawn = random.random((runs, readers.impressions)) * ends[:, -1:]
    visits = [np.searchsorted(end, each) for end, each in zip(ends, drawn, strict=True)]
    return np.minimum(np.array(visits), readers.users - 1)


def main() -> None:
    """Print the figures of docs/how-to/experiments.md."""
    scenarios = (
        ("equal variants, readers alike", Readers(), False, 1),
        ("equal variants, readers unlike", Readers(eagerness=5.0), False, 2),
        ("equal variants, few read most", Readers(eagerness=2.0, activity=1.5), False, 3),
        ("equal variants, 1 % click", Readers(rate=0.01), False, 9),
        ("the same 600 readers, very unlike", Readers(users=600, eagerness=0.5), False, 4),
        ("  with impressions as the unit", Readers(users=600, eagerness=0.5), True, 4),
        ("20 % more clicks", Readers(lift=0.2), False, 5),
        ("40 % more clicks", Readers(lift=0.4), False, 5),
        ("20 % more clicks, 20,000 impressions of 8,000", Readers(8_000, 20_000, lift=0.2), False, 5),
    )
    for name, readers, by_impression, seed in scenarios:
        found = peeked_at(readers, 1_000, seed, by_impression=by_impression)
        print(
            f"{name}: {found.decided:.1%} decided, median after {found.median_impressions:,.0f}; "
            f"z-test watched {found.fixed_decided:.1%}, at its end {found.fixed_at_end:.1%}"
        )


if __name__ == "__main__":
    main()
