"""Offsets for residual training: the ranker's score of each candidate by ids, without vectors.

A stream counts what a tower must not learn: how popular an article is now, how new, and how often the user
was shown it. Where the articles read today are skipped next week, a tower that learns popularity is worse
than none. So each candidate's score by ids alone is computed once, test-then-train, with the code that
serves, and training adds it to the tower's: the tower learns the rest (as the base margin of gradient
boosting; Friedman, 2001).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.mind_timeline import SHOWN_AFTER_S
from freshet.models.evaluation.frozen import publication_times
from freshet.models.evaluation.prequential import PrequentialEvaluation, RankedImpression
from freshet.models.evaluation.prequential_log import impressions
from freshet.models.ranking.linear import DEFAULT_WEIGHTS, LinearRanker
from freshet.models.users.pooling import Pooling

_BY_IDS = Pooling(1, (86_400.0,), 86_400.0, 1.0, max_recent_clicks=50, max_exposures=200)
"""Pooling without vectors: only recent clicks and exposures count."""


def joined(earlier: ImpressionLog, later: ImpressionLog) -> ImpressionLog:
    """Join two consecutive slices of one log.

    Raises:
        ValueError: They are not of one log.
    """
    if earlier.articles is not later.articles or earlier.user_ids is not later.user_ids:
        raise ValueError("the two parts are not of one log: their numbers differ")
    return replace(
        later,
        time_s=np.concatenate([earlier.time_s, later.time_s]),
        user=np.concatenate([earlier.user, later.user]),
        slate_start=np.concatenate([earlier.slate_start[:-1], later.slate_start + earlier.slate_start[-1]]),
        candidates=np.concatenate([earlier.candidates, later.candidates]),
        clicked=np.concatenate([earlier.clicked, later.clicked]),
        history=np.concatenate([earlier.history, later.history]),
    )


def ranker_offsets(log: ImpressionLog, weights: Mapping[str, float] = DEFAULT_WEIGHTS) -> NDArray[np.float32]:
    """Score every candidate of a log by ids alone, about 3,000 impressions per second.

    Args:
        log: Impressions in the order of time; each one's scores depend on those before it.
        weights: Weights of the ranker; those of vector features have no effect.

    Returns:
        Shape (candidates,), aligned with ``log.candidates``.

    Raises:
        MindError: ``published.tsv`` cannot be read.
    """
    ids = log.articles.ids
    catalog = ArticleCatalog(1)
    published_at_s = publication_times(log)
    for number in np.flatnonzero(log.articles.announced).tolist():
        catalog.put_article(ids[number], None, float(published_at_s[number]) - SHOWN_AFTER_S)
    offsets = np.zeros(len(log.candidates), np.float32)
    number_of = {news_id: number for number, news_id in enumerate(ids)}
    position = 0

    def keep(ranked: RankedImpression) -> None:
        start, stop = int(log.slate_start[position]), int(log.slate_start[position + 1])
        numbers = np.fromiter((number_of[news_id] for news_id in ranked.ids), np.int32, len(ranked.ids))
        slate = np.argsort(log.candidates[start:stop], kind="stable")
        offsets[start + slate] = ranked.ranker[np.argsort(numbers, kind="stable")]

    # Every article without a vector has the same `no_vector`, which has no weight by default.
    ranker = LinearRanker({name: weight for name, weight in weights.items() if name != "no_vector"})
    evaluation = PrequentialEvaluation(catalog, _BY_IDS, ranker, on_ranked=keep)
    for position, impression in enumerate(impressions(log, 0, len(log))):  # noqa: B007 - read by `keep`
        evaluation.add_impression(impression)
    return offsets
