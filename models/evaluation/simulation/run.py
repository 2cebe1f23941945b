"""Closed-loop simulation: policies serve the same readers of a synthetic newspaper, and learn from them.

Each policy has its own service (:mod:`freshet.models.evaluation.simulation.service`, the code that serves)
and its own copy of the readers (:mod:`freshet.models.evaluation.simulation.readers`), whose click
probabilities are known. All policies have the same visits with common random numbers. So the gain and the
cost of exploration are known, not estimated. The same configuration gives the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.bursts import BurstDetector
from freshet.models.datasets.synthetic.stream import examination
from freshet.models.datasets.synthetic.world import HOUR_S, SynthConfig, World, build_world
from freshet.models.evaluation.simulation.measures import Outcome, OutcomeMeasure, hits_of
from freshet.models.evaluation.simulation.readers import SimulatedReaders, Visits, visits
from freshet.models.evaluation.simulation.service import ShownList, SimulatedService
from freshet.models.recommend.exploration.policy import Explorer

NO_EXPLORATION = "none"


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """Settings of a simulation.

    Raises:
        ValueError: A setting is out of range.
    """

    world: SynthConfig
    """Settings of the world, whose impressions are the lists of each policy; its seed is the simulation's."""
    k: int = 10
    """Length of a list."""
    diversity: float = 0.3
    learning: bool = True
    """Whether the ranker's weights are learned."""
    vectors: bool = True
    """Whether the services know the articles' vectors; otherwise they rank by ids alone."""
    warm_up: float = 0.15
    """Share of the time before measuring begins."""
    hit_share: float = 0.05
    """Share of hits among the articles published from the warm-up to ``hits_until``."""
    hits_until: float = 0.85
    """Share of the time after which no hit is published, because it could not be found before the end."""

    def __post_init__(self) -> None:
        if not 1 <= self.k < self.world.articles * 0.1:
            raise ValueError(f"k must be from 1 to below a tenth of the articles, got {self.k}")
        if not 0.0 <= self.warm_up < self.hits_until <= 1.0:
            raise ValueError(
                f"warm_up must be below hits_until, between 0 and 1, got {self.warm_up} and {self.hits_until}"
            )
        if not 0.0 < self.hit_share < 1.0:
            raise ValueError(f"hit_share must be between 0 and 1, got {self.hit_share}")

    def time_s(self, share: float) -> float:
        """Time in Unix seconds when ``share`` of the simulation has passed."""
        return self.world.start_s + share * self.world.hours * HOUR_S


@dataclass(frozen=True, slots=True)
class LoggedList:
    """List of one policy, with its click probabilities and its greedy counterpart."""

    policy: str
    shown: ShownList
    chances: NDArray[np.float64]
    """Shape (n,): probability of a click on each item at its position."""
    clicked: NDArray[np.bool_]
    """Shape (n,)."""
    greedy_value: float
    """Expected clicks of the list without exploration."""
    greedy: tuple[str, ...]
    """Articles of the list without exploration."""
    greedy_chances: NDArray[np.float64]
    """Shape (n,): probability of a click on each item of the list without exploration."""
    history: tuple[str, ...]
    """Earlier clicks of a reader who is served for the first time."""
    measured: bool
    """False in the warm-up."""


def simulate(
    config: SimulationConfig,
    policies: Mapping[str, Callable[[], Explorer | None]],
    *,
    progress: Callable[[int], None] = lambda lists: None,
    on_list: Callable[[LoggedList], None] | None = None,
    on_world: Callable[[World], None] | None = None,
) -> dict[str, Outcome]:
    """Serve the whole stream by each policy.

    Args:
        config: Settings of the simulation.
        policies: Functions that make the policies' explorers, by name.
        progress: Receives the number of lists shown since the last call.
        on_list: Receives every list, of one policy after the other.
        on_world: Receives the world before the simulation begins.

    Raises:
        ValueError: No article is published while hits are looked for, or no list is measured.
    """
    world = build_world(config.world)
    if on_world is not None:
        on_world(world)
    hits = hits_of(world, config.hit_share, config.time_s(config.warm_up), config.time_s(config.hits_until))
    runs = [_Run(name, config, world, make(), hits, on_list) for name, make in policies.items()]
    for window in visits(world, config.world.seed):
        for run in runs:
            run.serve(window)
            progress(len(window.users))
    return {run.name: run.measure.outcome() for run in runs}


class _Run:
    """Service, readers and metrics of one policy."""

    def __init__(  # noqa: PLR0917 - one call, above
        self,
        name: str,
        config: SimulationConfig,
        world: World,
        explorer: Explorer | None,
        hits: NDArray[np.int64],
        on_list: Callable[[LoggedList], None] | None,
    ) -> None:
        self.name = name
        self.measure = OutcomeMeasure(world, hits)
        self._config = config
        self._ids = world.articles.ids
        self._readers = SimulatedReaders(world, config.world.seed)
        self._service = SimulatedService(
            world.articles,
            explorer,
            k=config.k,
            learning=config.learning,
            diversity=config.diversity,
            vectors=config.vectors,
        )
        self._measured_from_s = config.time_s(config.warm_up)
        self._on_list = on_list
        self._served: set[int] = set()
        self._detector = BurstDetector()

    def serve(self, window: Visits) -> None:
        """Show a list in each visit of the window, and learn from it."""
        self._service.publish(self._readers.begin(window))
        oracle = self._readers.best_values(self._config.k)
        for visit, (user, time_s) in enumerate(
            zip(window.users.tolist(), window.times_s.tolist(), strict=True)
        ):
            self._show(window.first + visit, visit, user, float(time_s), float(oracle[visit]))
        self._readers.end()
        self.measure.see_trending(self._service.catalog, window.end_s)
        self.measure.see_bursts(self._detector.update(self._service.catalog, window.end_s), window.end_s)

    def _show(self, number: int, visit: int, user: int, now_s: float, oracle_value: float) -> None:
        history: list[int] = []
        if user not in self._served:
            self._served.add(user)
            history = self._readers.history(user)
        # The name contains the seed: exploration is seeded by it, and would be the same in all runs.
        name = f"S{self._config.world.seed}-{number}"
        shown = self._service.recommend(user, history, now_s, name)
        greedy = examination(np.arange(len(shown.greedy))) * self._readers.attractions(visit, shown.greedy)
        chances, clicked = self._readers.show(visit, shown.rows)
        self._service.learn(user, shown, clicked, now_s)
        measured = now_s >= self._measured_from_s
        value = float(greedy.sum())
        self.measure.add_list(
            shown.rows, chances, clicked, shown.explored, value, oracle_value, now_s, measured=measured
        )
        if self._on_list is not None:
            best, earlier = (tuple(self._ids[row] for row in rows) for rows in (shown.greedy, history))
            entry = LoggedList(self.name, shown, chances, clicked, value, best, greedy, earlier, measured)
            self._on_list(entry)
