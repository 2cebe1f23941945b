"""Prequential evaluation: rank each impression with the code that serves, then learn from it.

No ranking depends on its own impression or a later one: user states, article statistics and the population's
vector rest on impressions that came before it, and with a feedback delay, at least that long before it. The
baselines know exactly as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import population_vector
from freshet.models.evaluation.baselines import click_rates_so_far, random_scores
from freshet.models.evaluation.ranking_metrics import RankingReport, RankingScores
from freshet.models.events.events import Impression, to_unix_s
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.models.ranking.scored_slate import ScoredSlate, score_slate
from freshet.models.users.state import Pooling, UserState
from freshet.models.users.user_share import Counted
from freshet.models.users.view import UserView

POPULATION_INTERVAL_S = 300.0
"""Event time between two updates of the population's vector."""

_STREAM = "impressions"


@dataclass(frozen=True, slots=True)
class PrequentialReport:
    """Ranking metrics of freshet and of the baselines on the same impressions."""

    ranker: RankingReport
    click_through_rate: RankingReport
    random: RankingReport
    users: int
    """Users seen, including those of the warm-up."""
    learned: int
    """Impressions learned from, including those of the warm-up."""


class RankedImpression(NamedTuple):
    """Labels and scores (n,) of one impression's ``n`` candidates."""

    impression_id: str
    ids: list[str]
    """The candidates' ids, in the order of the labels and scores."""
    labels: NDArray[np.float64]
    """Shape (n,): 1 clicked, 0 skipped."""
    ranker: NDArray[np.float64]
    click_through_rate: NDArray[np.float64]
    others: tuple[NDArray[np.float64], ...] = ()
    """Scores by each further ranker."""


class Learner(Protocol):
    """A ranker that learns from impressions."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score candidates (n,) with features (n, len(FEATURES))."""
        ...

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        """Learn from a slate's features at its ranking; return False if there is nothing to learn."""
        ...


class ImpressionRecord(NamedTuple):
    """Fields of an impression that ranking and learning need, without the cost of an event's validation."""

    impression_id: str
    user_id: str
    time_s: float
    """Unix seconds."""
    candidates: Sequence[str]
    clicked: Sequence[str]
    history: Sequence[str]

    @classmethod
    def of(cls, impression: Impression) -> ImpressionRecord:
        """Take the fields of an event."""
        return cls(
            impression.impression_id,
            impression.user_id,
            to_unix_s(impression.time),
            impression.candidates,
            impression.clicked,
            impression.history,
        )


class _Pending(NamedTuple):
    """A ranked impression whose feedback is not due yet."""

    impression: ImpressionRecord
    slate: ScoredSlate | None
    clicked: NDArray[np.bool_] | None
    """Shape (n,): clicks on the candidates of ``slate``."""


class PrequentialEvaluation:
    """Ranks one impression after another, and learns from each once its feedback is due.

    Args:
        catalog: Articles known beforehand, without statistics; the evaluation fills them in.
        pooling: Pooling of clicks into user vectors.
        ranker: Ranker of the candidates; an online ranker learns from each impression.
        feedback_delay_s: Event time from an impression to its feedback.
        seed: Seed of the random baseline.
        on_ranked: Receives each measured impression's scores, which :meth:`report` then leaves out.
        others: Further rankers, whose scores ``on_ranked`` receives too.
    """

    def __init__(
        self,
        catalog: ArticleCatalog,
        pooling: Pooling,
        ranker: LinearRanker | OnlineRanker,
        *,
        feedback_delay_s: float = 0.0,
        seed: int = 0,
        on_ranked: Callable[[RankedImpression], None] | None = None,
        others: Sequence[Learner] = (),
    ) -> None:
        if feedback_delay_s < 0:
            raise ValueError(f"feedback_delay_s must not be negative, got {feedback_delay_s}")
        self._catalog = catalog
        self._pooling = pooling
        self._ranker = ranker
        self._others = tuple(others)
        self._learners: tuple[Learner, ...] = self._others
        if isinstance(ranker, OnlineRanker):
            self._learners = (ranker, *self._others)
        self._delay_s = feedback_delay_s
        self._seed = seed
        self._on_ranked = on_ranked
        self._users: dict[str, UserState] = {}
        self._pending: deque[_Pending] = deque()
        self._learned = 0
        self._now_s = -np.inf
        self._population: NDArray[np.float32] = np.zeros(catalog.d, np.float32)
        self._population_due_s = -np.inf
        self._ranker_scores, self._ctr_scores, self._random_scores = (RankingScores() for _ in range(3))

    def add_impression(self, impression: Impression | ImpressionRecord, *, measured: bool = True) -> None:
        """Rank ``impression``, measure the ranking, and learn from it when its feedback is due.

        Args:
            impression: An impression not older than the one before.
            measured: False in the warm-up, whose impressions are only learned from.

        Raises:
            ValueError: The impression is older than the one before.
        """
        shown = ImpressionRecord.of(impression) if isinstance(impression, Impression) else impression
        self._advance(shown)
        slate = labels = None
        if measured or self._learners:
            slate = self._rank(shown, shown.candidates)
            clicked = set(shown.clicked)
            labels = np.array([news_id in clicked for news_id in slate.ids])
            if measured:
                self._measure(shown.impression_id, slate, labels)
        self._pending.append(_Pending(shown, slate, labels))

    def rank(self, impression: Impression, candidates: Sequence[str]) -> ScoredSlate:
        """Score any candidates for the user and the time of ``impression``, and learn nothing from it.

        Raises:
            ValueError: The impression is older than the one before.
        """
        shown = ImpressionRecord.of(impression)
        self._advance(shown)
        return self._rank(shown, candidates)

    def report(self, *, bootstrap_seed: int = 0) -> PrequentialReport:
        """Report the metrics of the impressions measured so far.

        Raises:
            ValueError: No impression was measured.
        """
        return PrequentialReport(
            ranker=self._ranker_scores.report(seed=bootstrap_seed),
            click_through_rate=self._ctr_scores.report(seed=bootstrap_seed),
            random=self._random_scores.report(seed=bootstrap_seed),
            users=len(self._users),
            learned=self._learned,
        )

    def _advance(self, impression: ImpressionRecord) -> None:
        """Learn from the impressions whose feedback is due at the time of ``impression``."""
        now_s = impression.time_s
        if now_s < self._now_s:
            raise ValueError(
                f"impression {impression.impression_id} is {self._now_s - now_s:.0f} s older than the one "
                "before it: a prequential evaluation needs the order of time, sort the impressions first"
            )
        self._now_s = now_s
        while self._pending and self._pending[0].impression.time_s + self._delay_s <= now_s:
            self._learn(self._pending.popleft())

    def _rank(self, impression: ImpressionRecord, candidates: Sequence[str]) -> ScoredSlate:
        now_s = impression.time_s
        state = self._users.get(impression.user_id)
        if state is None and impression.history:
            state = self._users[impression.user_id] = UserState.empty(self._pooling)
            state.seed_history(now_s, impression.history, self._catalog)
        if now_s >= self._population_due_s:
            self._population = population_vector(self._catalog, now_s)
            self._population_due_s = now_s + POPULATION_INTERVAL_S
        user = UserView.of(state, now_s, self._population, self._pooling)
        return score_slate(candidates, user, self._catalog, self._ranker, now_s)

    def _measure(self, impression_id: str, slate: ScoredSlate, clicked: NDArray[np.bool_]) -> None:
        by_ctr = click_rates_so_far(self._catalog, slate.rows)
        labels = clicked.astype(np.float64)
        if self._on_ranked is not None:
            others = tuple(ranker.score(slate.features) for ranker in self._others)
            self._on_ranked(RankedImpression(impression_id, slate.ids, labels, slate.scores, by_ctr, others))
            return
        self._ranker_scores.add_impression(labels, slate.scores)
        self._ctr_scores.add_impression(labels, by_ctr)
        self._random_scores.add_impression(labels, random_scores(impression_id, slate.ids, self._seed))

    def _learn(self, pending: _Pending) -> None:
        impression = pending.impression
        time_s = impression.time_s
        source = (_STREAM, 0, self._learned)
        self._learned += 1
        state = self._users.get(impression.user_id)
        if state is None:
            state = self._users[impression.user_id] = UserState.empty(self._pooling)
        state.seed_history(time_s, impression.history, self._catalog)
        context = state.context(time_s) if impression.clicked else ()
        counted = state.counted(source, time_s, impression.candidates, impression.clicked)
        state.apply_impression(source, time_s, impression.candidates, impression.clicked, self._catalog)
        if pending.slate is not None and pending.clicked is not None:
            shown, labels, rows = pending.slate.ids, pending.clicked, pending.slate.rows
        else:
            clicked = set(impression.clicked)
            shown = list(dict.fromkeys(impression.candidates))
            labels, rows = np.array([news_id in clicked for news_id in shown]), None
        if not counted.whole:
            self._catalog.count_slate(*_only(counted, shown), time_s, context, slate=len(shown))
        else:
            self._catalog.count_slate(shown, labels, time_s, context, rows=rows)
        if pending.slate is not None and counted.teaches:
            for learner in self._learners:
                learner.learn(pending.slate.features, labels, time_s=time_s)


def _only(counted: Counted, shown: Sequence[str]) -> tuple[list[str], NDArray[np.bool_]]:
    """Articles of ``shown`` that count, and whether a click on each counts."""
    ids = [news_id for news_id in shown if news_id in counted.shown]
    return ids, np.array([news_id in counted.clicked for news_id in ids], np.bool_)


def evaluate(
    impressions: Iterable[Impression],
    catalog: ArticleCatalog,
    pooling: Pooling,
    ranker: LinearRanker | OnlineRanker,
    *,
    warm_up: int = 0,
    feedback_delay_s: float = 0.0,
    seed: int = 0,
) -> PrequentialReport:
    """Rank ``impressions``, which come in the order of time, and learn from each afterwards.

    Args:
        impressions: Impressions with their clicks.
        catalog: Articles known beforehand, without statistics; the evaluation fills them in.
        pooling: Pooling of clicks into user vectors.
        ranker: Ranker of the candidates; an online ranker learns from each impression.
        warm_up: Number of impressions at the beginning that are learned from but not measured.
        feedback_delay_s: Event time from an impression to its feedback.
        seed: Seed of the random baseline and of the bootstrap.

    Raises:
        ValueError: The impressions are out of order, or none could be measured.

    >>> from freshet.models.events.events import from_unix_s
    >>> slate = {"user_id": "U1", "candidates": ("N1", "N2"), "clicked": ("N2",)}
    >>> times = map(from_unix_s, range(1_800_000_000, 1_800_000_020))
    >>> impressions = [Impression(impression_id=f"I{i}", time=time, **slate) for i, time in enumerate(times)]
    >>> pooling = Pooling(1, (86_400.0,), 86_400.0, 1.0, max_recent_clicks=50, max_exposures=200)
    >>> report = evaluate(impressions, ArticleCatalog(1), pooling, LinearRanker())
    >>> report.click_through_rate.auc, report.learned
    (0.975, 19)
    """
    evaluation = PrequentialEvaluation(catalog, pooling, ranker, feedback_delay_s=feedback_delay_s, seed=seed)
    for position, impression in enumerate(impressions):
        evaluation.add_impression(impression, measured=position >= warm_up)
    return evaluation.report(bootstrap_seed=seed)
