"""Compares exploration policies on synthetic worlds, for ``freshet simulate``.

Each seed gives a world, in which every policy serves the same readers. A figure is a mean over seeds with
Student's interval. The interval of a difference to no exploration is that of the paired differences within
the worlds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from freshet.models.datasets.synthetic.world import World
from freshet.models.evaluation.off_policy.estimate import LoggedLists, NoSupport, OffPolicyEstimate, estimate
from freshet.models.evaluation.simulation.measures import OUTCOME_NAMES, Outcome
from freshet.models.evaluation.simulation.run import NO_EXPLORATION, LoggedList, SimulationConfig, simulate
from freshet.models.recommend.exploration.policy import Explorer
from freshet.streams.settings import Settings
from freshet.streams.state.exploration import explorer_of
from freshet.workers.evaluation.simulation.log import SimulationLog

POLICIES = (NO_EXPLORATION, "thompson", "linucb", "plackett-luce")
WHOLE_LIST = "plackett-luce"
"""Policy that can show every candidate at every position, so its log supports any target policy."""


@dataclass(frozen=True)
class SimulateOptions:
    """Options of the command line."""

    config: SimulationConfig
    """Configuration of the first seed; the other worlds differ in the seed only."""
    policies: tuple[str, ...]
    """Names from ``POLICIES``, always with ``none``."""
    seeds: int
    log: Path | None = None
    """Parent of the folders for the first seed's lists, one folder for each policy."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with its 95 % interval; no interval for a single seed or without scipy."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PolicySummary:
    """Figures of a policy, by the names of :class:`Outcome`."""

    name: str
    figures: Mapping[str, Interval]
    against_none: Mapping[str, Interval]
    """Differences to no exploration; those of ``RELATIVE`` figures as a share of it."""


@dataclass(frozen=True)
class OffPolicyCheck:
    """Off-policy estimate of the greedy list from the first log of ``WHOLE_LIST``, and the true value."""

    truth: float
    """Expected clicks of the list without exploration."""
    estimate: OffPolicyEstimate


@dataclass(frozen=True)
class SimulationReport:
    """Figures of all policies."""

    options: SimulateOptions
    lists_per_s: float
    summaries: tuple[PolicySummary, ...]
    outcomes: tuple[Mapping[str, Outcome], ...]
    """Outcomes by policy, for each seed."""
    off_policy: OffPolicyCheck | None

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of the report, for orjson."""
        config = self.options.config
        return {
            "version": 1,
            "config": config,
            "seeds": [config.world.seed + i for i in range(self.options.seeds)],
            "lists_per_s": round(self.lists_per_s, 1),
            "policies": {
                summary.name: {"figures": summary.figures, "against_none": summary.against_none}
                for summary in self.summaries
            },
            "runs": self.outcomes,
            "off_policy": self.off_policy,
            "log": None if self.options.log is None else str(self.options.log),
        }


RELATIVE = ("clicks_per_list", "value", "greedy_value", "oracle_value")
"""Figures whose differences are given as a share of the figure without exploration."""


def run(
    options: SimulateOptions, settings: Settings, progress: Callable[[int, int], None]
) -> SimulationReport:
    """Simulate all policies and seeds; ``progress`` gets the lists shown, and all lists.

    Raises:
        ValueError: There is nothing to measure.
        FileExistsError: A log's folder is not empty.
        OSError: A log cannot be written.
    """
    makers = {policy: partial(_explorer, settings, policy) for policy in options.policies}
    config = options.config
    total = options.seeds * len(makers) * config.world.impressions
    done = 0

    def shown(lists: int) -> None:
        nonlocal done
        done += lists
        progress(done, total)

    started = time.perf_counter()
    lists = _WholeLists()
    outcomes = []
    for i in range(options.seeds):
        of_seed = replace(config, world=replace(config.world, seed=config.world.seed + i))
        if i:
            outcomes.append(simulate(of_seed, makers, progress=shown))
        else:
            outcomes.append(_first(options, of_seed, makers, shown, lists))
    seconds = time.perf_counter() - started
    return SimulationReport(
        options,
        total / seconds,
        tuple(_summary(policy, outcomes) for policy in options.policies),
        tuple(outcomes),
        lists.check() if WHOLE_LIST in makers else None,
    )


def _first(
    options: SimulateOptions,
    config: SimulationConfig,
    makers: Mapping[str, Callable[[], Explorer | None]],
    shown: Callable[[int], None],
    lists: _WholeLists,
) -> dict[str, Outcome]:
    """Simulate the first seed; write its lists and keep them for the off-policy check."""
    if options.log is None:
        return simulate(config, makers, progress=shown, on_list=lists.add_list)
    worlds: list[World] = []
    with SimulationLog(options.log, options.policies) as log:

        def keep(entry: LoggedList) -> None:
            lists.add_list(entry)
            log.add_list(entry)

        outcomes = simulate(config, makers, progress=shown, on_list=keep, on_world=worlds.append)
        log.finish(worlds[0], config, outcomes)
    return outcomes


def _explorer(settings: Settings, policy: str) -> Explorer | None:
    return explorer_of(settings.model_copy(update={"exploration": policy}))


def _summary(policy: str, outcomes: Sequence[Mapping[str, Outcome]]) -> PolicySummary:
    figures, against = {}, {}
    for name in OUTCOME_NAMES:
        of_policy = [float(getattr(run[policy], name)) for run in outcomes]
        figures[name] = _interval(of_policy)
        of_none = [float(getattr(run[NO_EXPLORATION], name)) for run in outcomes]
        differences = [
            (mine - base) / (base if name in RELATIVE else 1.0)
            for mine, base in zip(of_policy, of_none, strict=True)
        ]
        against[name] = _interval(differences)
    return PolicySummary(policy, figures, against)


def _interval(values: Sequence[float]) -> Interval:
    """Compute the mean with Student's 95 % interval."""
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(mean, None, None)
    try:
        from scipy.special import stdtrit  # the quantiles of Student's t distribution
    except ModuleNotFoundError:
        return Interval(mean, None, None)
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


class _WholeLists:
    """Collects the lists of ``WHOLE_LIST`` for the estimators."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._user: list[int] = []
        self._slots: list[int] = [0]
        self._propensity: list[float] = []
        self._target: list[float] = []
        self._reward: list[float] = []
        self._truth = 0.0

    def add_list(self, entry: LoggedList) -> None:
        if entry.policy != WHOLE_LIST or not entry.measured:
            return
        shown = entry.shown
        self._user.append(self._users.setdefault(shown.request.user_id, len(self._users)))
        self._slots.append(self._slots[-1] + len(shown.rows))
        self._propensity += [item.propensity or 1.0 for item in shown.items]
        self._target += (shown.rows == shown.greedy).astype(float).tolist()
        self._reward += entry.clicked.astype(float).tolist()
        self._truth += entry.greedy_value

    def check(self) -> OffPolicyCheck | None:
        if not self._user:
            return None
        start = np.array(self._slots)
        logged = LoggedLists(
            user=np.array(self._user),
            start=start,
            position=np.arange(start[-1]) - np.repeat(start[:-1], np.diff(start)) + 1,
            reward=np.array(self._reward),
            propensity=np.minimum(np.array(self._propensity), 1.0),
            target=np.array(self._target),
        )
        try:
            return OffPolicyCheck(self._truth / len(self._user), estimate(logged))
        except NoSupport:
            return None
