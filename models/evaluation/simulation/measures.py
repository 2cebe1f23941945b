r"""Metrics of one policy's run in a simulated world: clicks, regret, cost of exploration, hits found.

All clicks except ``clicks_per_list`` are expected clicks, sums of the world's own probabilities
:math:`e(i)\, a`, without the noise of sampled clicks.

A *hit* is an article with one of the largest true appeals among those published in a period. The appeal is
the mean probability over readers that they click the article when they look at it, an hour after its
publication. A hit is *found* when it was shown a number of times, was clicked a number of times, or is among
the first of the trending articles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.bursts import Burst
from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.trending import trending_scores
from freshet.models.datasets.synthetic.stream import attraction
from freshet.models.datasets.synthetic.world import HOUR_S, World

FOUND_AFTER_SHOWN = 20
FOUND_AFTER_CLICKS = 5
FOUND_AMONG_TRENDING = 10
LONGEST_SEARCH_H = 6.0
"""Hours after which a hit counts as found if it was found later or never."""
YOUNG_S = 3 * HOUR_S
BREAKING_S = 5 * HOUR_S

_READERS = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Metrics of one policy, means over the measured lists of one run."""

    clicks_per_list: float
    """Sampled clicks of a list."""
    value: float
    """Expected clicks of a list as shown."""
    oracle_value: float
    """Expected clicks of the oracle's list for the same reader at the same time."""
    regret: float
    """Relative regret, 1 - value / oracle_value."""
    greedy_value: float
    """Expected clicks of the list that the same service would have shown without exploration."""
    explored_slots: float
    """Explored slots of a list."""
    won_in_explored_slots: float
    """Expected clicks of the explored slots of a list."""
    lost_in_other_slots: float
    """``greedy_value`` minus the expected clicks of the other slots. Minus ``won_in_explored_slots``, it is
    the immediate cost of exploration; its later gain is part of ``value``."""
    hits_shown_h: float
    """Mean hours from a hit's publication until it was shown 20 times, at most 6."""
    hits_clicked_h: float
    """Mean hours from a hit's publication until it was clicked 5 times, at most 6."""
    hits_trending_h: float
    """Mean hours from a hit's publication until it was among the first 10 of the trending, at most 6."""
    hits_missed: float
    """Share of the hits that were not among the first 10 of the trending within 6 hours."""
    hit_exposure: float
    """Share of all exposures that were of hits."""
    young_hit_exposure: float
    """Share of the exposures of articles younger than 3 hours that were of hits."""
    bursts: float
    """Detected bursts of clicks (:mod:`freshet.models.articles.bursts`)."""
    bursts_on_news: float
    """Share of the bursts that were of hits, or of stories that broke less than 5 hours before."""


OUTCOME_NAMES = tuple(field.name for field in fields(Outcome))


def hits_of(world: World, share: float, from_s: float, until_s: float) -> NDArray[np.int64]:
    """Find the rows of the ``share`` of a period's articles with the largest true appeal, at least one.

    Args:
        world: The world with its articles.
        share: Share of the articles, between 0 and 1.
        from_s: Beginning of the period, Unix seconds.
        until_s: End of the period, Unix seconds.

    Raises:
        ValueError: No article is published in the period.
    """
    articles = world.articles
    rows = np.flatnonzero((articles.published_s >= from_s) & (articles.published_s < until_s))
    if not len(rows):
        raise ValueError("no article is published while hits are looked for: more articles, or more hours")
    readers = world.readers.base[:_READERS]
    lasting = articles.quality[rows] + articles.timeliness(
        rows, articles.published_s[rows].astype(np.float64) + HOUR_S
    )
    appeal = attraction(readers @ articles.vectors[rows].T + lasting).mean(axis=0)
    best = np.argsort(-appeal, kind="stable")[: max(1, round(share * len(rows)))]
    return np.sort(rows[best])


class OutcomeMeasure:
    """Accumulates the metrics of one policy's lists; memory depends on the number of articles only.

    Args:
        world: The world of all compared policies.
        hits: Rows of the hits.
    """

    def __init__(self, world: World, hits: NDArray[np.int64]) -> None:
        self._published_s = world.articles.published_s
        self._ids = world.articles.ids
        n = len(self._ids)
        self._hits = hits
        self._is_hit = np.zeros(n, np.bool_)
        self._is_hit[hits] = True
        self._shown = np.zeros(n, np.int64)
        self._clicked = np.zeros(n, np.int64)
        self._found_s = {name: np.full(n, np.inf) for name in ("shown", "clicked", "trending")}
        self._lists = 0
        self._sums = np.zeros(7)
        self._articles = world.articles
        self._row_of = {news_id: row for row, news_id in enumerate(self._ids)}
        self._bursts = self._bursts_on_news = 0
        self._exposures = np.zeros(4)
        """Exposures of all articles, hits, young articles and young hits."""

    def add_list(  # noqa: PLR0917 - a list, its chances and what came of it
        self,
        rows: NDArray[np.int64],
        chances: NDArray[np.float64],
        clicked: NDArray[np.bool_],
        explored: NDArray[np.bool_],
        greedy_value: float,
        oracle_value: float,
        now_s: float,
        *,
        measured: bool,
    ) -> None:
        """Add a list; one of the warm-up (not ``measured``) only counts towards finding hits."""
        self._shown[rows] += 1
        self._clicked[rows[clicked]] += 1
        for counts, least, name in (
            (self._shown, FOUND_AFTER_SHOWN, "shown"),
            (self._clicked, FOUND_AFTER_CLICKS, "clicked"),
        ):
            found = rows[counts[rows] >= least]
            self._found_s[name][found] = np.minimum(self._found_s[name][found], now_s)
        if not measured:
            return
        value = float(chances.sum())
        won = float(chances[explored].sum())
        self._lists += 1
        self._sums += (
            float(clicked.sum()),
            value,
            oracle_value,
            greedy_value,
            float(explored.sum()),
            won,
            greedy_value - (value - won),
        )
        young = now_s - self._published_s[rows] < YOUNG_S
        hit = self._is_hit[rows]
        self._exposures += (len(rows), hit.sum(), young.sum(), (young & hit).sum())

    def see_trending(self, catalog: ArticleCatalog, now_s: float) -> None:
        """Record which hits are among the first of the trending."""
        scores = trending_scores(catalog, now_s)
        first = np.argsort(-scores, kind="stable")[:FOUND_AMONG_TRENDING]
        names = {catalog.ids[i] for i in first[scores[first] > 0].tolist()}
        for row in self._hits.tolist():
            if self._ids[row] in names:
                self._found_s["trending"][row] = min(self._found_s["trending"][row], now_s)

    def see_bursts(self, begun: Sequence[Burst], now_s: float) -> None:
        """Count detected bursts."""
        for burst in begun:
            row = self._row_of[burst.news_id]
            breaks = now_s - self._articles.story_start_s[row] < BREAKING_S
            self._bursts += 1
            self._bursts_on_news += bool(self._is_hit[row] or breaks)

    def outcome(self) -> Outcome:
        """Mean metrics of the measured lists.

        Raises:
            ValueError: No list was measured.
        """
        if not self._lists:
            raise ValueError("no list was measured: more impressions, or a shorter warm-up")
        clicks, value, oracle, greedy, slots, won, lost = (self._sums / self._lists).tolist()
        hours = {
            name: np.minimum((found_s - self._published_s)[self._hits] / HOUR_S, LONGEST_SEARCH_H)
            for name, found_s in self._found_s.items()
        }
        shown, of_hits, young, young_hits = self._exposures.tolist()
        return Outcome(
            clicks_per_list=clicks,
            value=value,
            oracle_value=oracle,
            regret=1.0 - value / oracle,
            greedy_value=greedy,
            explored_slots=slots,
            won_in_explored_slots=won,
            lost_in_other_slots=lost,
            hits_shown_h=float(hours["shown"].mean()),
            hits_clicked_h=float(hours["clicked"].mean()),
            hits_trending_h=float(hours["trending"].mean()),
            hits_missed=float((hours["trending"] >= LONGEST_SEARCH_H).mean()),
            hit_exposure=of_hits / shown,
            young_hit_exposure=young_hits / max(young, 1.0),
            bursts=float(self._bursts),
            bursts_on_news=self._bursts_on_news / max(self._bursts, 1),
        )
