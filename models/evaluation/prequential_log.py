"""Prequential evaluation of an impression log.

Unlike :class:`~freshet.models.evaluation.prequential.PrequentialEvaluation`'s report, the scores keep every
metric of every impression, so that segments can be compared, and **newest** is a further baseline.
Impressions before the cut are learned from and not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.mind_timeline import SHOWN_AFTER_S
from freshet.models.evaluation.baselines import random_order
from freshet.models.evaluation.frozen import NEWEST, RANDOM
from freshet.models.evaluation.prequential import (
    ImpressionRecord,
    Learner,
    PrequentialEvaluation,
    RankedImpression,
)
from freshet.models.evaluation.slate_scores import BATCH, Slates, SlateScores
from freshet.models.events.events import Impression, from_unix_s
from freshet.models.ports import FloatMatrix
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.models.users.pooling import Pooling

FRESHET, CLICK_RATE_SO_FAR = "freshet", "click rate so far"
METHODS = (FRESHET, CLICK_RATE_SO_FAR, NEWEST, RANDOM)


class PrequentialLog:
    """Ranks a log's impressions in the order of time, each before it learns from it.

    Args:
        log: Impressions in the order of time.
        vectors: Shape (articles, d), zeros where an article has none; ``None``: rank by ids alone.
        pooling: Pooling of clicks into user vectors of dimension d; 1 by ids alone.
        ranker: Ranker of the candidates; an online ranker learns from each impression.
        published_at_s: Shape (articles,), Unix seconds.
        scores: Collects the metrics of :data:`METHODS`, ``others`` and ``given``.
        seed: Seed of the random baseline.
        feedback_delay_s: Event time from an impression to its feedback.
        others: Further rankers, by name.
        given: By name, scores (slots,) known beforehand for every slot of the log's slates.
    """

    def __init__(  # noqa: PLR0917 - on what, with what, into what
        self,
        log: ImpressionLog,
        vectors: FloatMatrix | None,
        pooling: Pooling,
        ranker: LinearRanker | OnlineRanker,
        published_at_s: NDArray[np.float64],
        scores: SlateScores,
        *,
        seed: int = 0,
        feedback_delay_s: float = 0.0,
        others: Mapping[str, Learner] | None = None,
        given: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        others = others or {}
        self._given = given or {}
        self._log = log
        self._scores = scores
        self._published_at_s = published_at_s
        self._seed = seed
        self._number_of = {news_id: number for number, news_id in enumerate(log.articles.ids)}
        self._evaluation = PrequentialEvaluation(
            _catalog(log, vectors, pooling.d, published_at_s),
            pooling,
            ranker,
            feedback_delay_s=feedback_delay_s,
            on_ranked=self._ranked,
            others=tuple(others.values()),
        )
        self._positions: list[int] = []
        self._sizes: list[int] = []
        self._ids: list[str] = []
        self._others = tuple(others)
        self._columns: list[list[NDArray[np.float64]]] = [[] for _ in range(3 + len(others))]

    def run(self, start: int, stop: int, *, measured: bool) -> None:
        """Rank and learn from the impressions in ``range(start, stop)``, later than those of earlier calls.

        Args:
            start: First position.
            stop: Position after the last.
            measured: False to learn only.
        """
        for position, shown in enumerate(_records(self._log, start, stop), start):
            self._evaluation.add_impression(shown, measured=measured)
            if measured:
                self._positions.append(position)
                if len(self._sizes) >= BATCH:
                    self._flush()
        self._flush()

    def _ranked(self, ranked: RankedImpression) -> None:
        self._sizes.append(len(ranked.ids))
        self._ids += ranked.ids
        columns = (ranked.labels, ranked.ranker, ranked.click_through_rate, *ranked.others)
        for column, values in zip(self._columns, columns, strict=True):
            column.append(values)

    def _flush(self) -> None:
        if not self._sizes:
            return
        labels, ranker, rate, *others = (np.concatenate(column) for column in self._columns)
        number_of = self._number_of
        candidates = np.array(list(map(number_of.__getitem__, self._ids)), np.int32)
        slates = Slates(
            np.array(self._positions, np.int64), candidates, labels > 0, np.array(self._sizes, np.int64)
        )
        newest = self._published_at_s[candidates]
        positions = np.repeat(slates.positions, slates.sizes)
        chance = random_order(positions, candidates, self._seed).astype(np.float64)
        methods = (*METHODS, *self._others)
        found = dict(zip(methods, (ranker, rate, newest, chance, *others), strict=True))
        if self._given:
            slots = self._slots(positions, candidates)
            found |= {name: values[slots] for name, values in self._given.items()}
        self._scores.add_slates(slates, found)
        self._positions.clear()
        self._sizes.clear()
        self._ids.clear()
        for column in self._columns:
            column.clear()

    def _slots(self, positions: NDArray[np.int64], candidates: NDArray[np.int32]) -> NDArray[np.intp]:
        """Find the slots (n,) in the log of candidates (n,) in the impressions at positions (n,)."""
        log = self._log
        first, last = int(log.slate_start[positions[0]]), int(log.slate_start[positions[-1] + 1])
        starts = log.slate_start[int(positions[0]) : int(positions[-1]) + 2]
        of_log = np.repeat(np.arange(positions[0], positions[-1] + 1), np.diff(starts))
        order = np.lexsort((log.candidates[first:last], of_log))
        slots = np.empty(len(positions), np.intp)
        slots[np.lexsort((candidates, positions))] = first + order
        return slots


def impressions(log: ImpressionLog, start: int, stop: int) -> Iterator[Impression]:
    """Yield the impressions in ``range(start, stop)`` as events; reading the log has validated them."""
    for shown in _records(log, start, stop):
        yield Impression.model_construct(
            impression_id=shown.impression_id,
            user_id=shown.user_id,
            time=from_unix_s(shown.time_s),
            candidates=tuple(shown.candidates),
            clicked=tuple(shown.clicked),
            history=tuple(shown.history),
        )


def _records(log: ImpressionLog, start: int, stop: int) -> Iterator[ImpressionRecord]:
    ids, user_ids = log.articles.id_array, log.user_ids
    for first in range(start, stop, BATCH):
        last = min(first + BATCH, stop)
        bounds = (log.slate_start[first : last + 1] - log.slate_start[first]).tolist()
        part = slice(int(log.slate_start[first]), int(log.slate_start[last]))
        candidates, clicked = ids[log.candidates[part]].tolist(), log.clicked[part].tolist()
        users, times_s = log.user[first:last].tolist(), log.time_s[first:last].tolist()
        for i, (user, time_s) in enumerate(zip(users, times_s, strict=True)):
            slate = slice(bounds[i], bounds[i + 1])
            names = candidates[slate]
            yield ImpressionRecord(
                str(first + i),
                user_ids[user],
                time_s,
                names,
                list(compress(names, clicked[slate])),
                ids[log.history_of(first + i)].tolist(),
            )


def _catalog(
    log: ImpressionLog, vectors: FloatMatrix | None, d: int, published_at_s: NDArray[np.float64]
) -> ArticleCatalog:
    """Make a catalog of the articles that are announced or have a vector."""
    articles = log.articles
    catalog = ArticleCatalog(d)
    has_vector = np.zeros(len(articles), np.bool_) if vectors is None else (vectors != 0).any(axis=1)
    for number in np.flatnonzero(articles.announced | has_vector).tolist():
        catalog.put_article(
            articles.ids[number],
            vectors[number] if vectors is not None and has_vector[number] else None,
            float(published_at_s[number]) - SHOWN_AFTER_S if articles.announced[number] else np.nan,
            articles.titles[number],
            articles.categories[number],
            articles.subcategories[number],
        )
    return catalog
