"""Training examples from the clicks of a log, each with negatives that are drawn anew in every epoch.

Guarantees: an epoch has every click once, in an order that its random numbers decide; a negative is never an
article that its user has clicked (:mod:`freshet.models.training.negatives`), nor one that the slice did not
show. Batches are gathered by a few array operations, none of them per example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.ports import FloatMatrix
from freshet.models.training.in_batch_negatives import in_batch_log_q, in_batch_mask
from freshet.models.training.negatives import (
    Negatives,
    SkipNegatives,
    make_sampler,
)


@dataclass(frozen=True)
class ClickBatch:
    """Batch of B clicks."""

    impressions: NDArray[np.int64]
    """Positions (B,) of the impressions in the log."""
    users: NDArray[np.int32]
    """Shape (B,)."""
    articles: NDArray[np.int32]
    """Articles (B, 1 + n): the clicked one first, then its negatives; (B, 1) with in-batch negatives."""
    counts: NDArray[np.bool_] | None = None
    """Mask (B, B) of the batch's articles that count for each click; with in-batch negatives only."""
    log_q: NDArray[np.float32] | None = None
    """Sampling correction (B,) of each article's logits; with in-batch negatives only."""


class ClickExamples:
    """Clicks of a slice of a log as examples.

    Args:
        log: Slice to train on.
        negatives: Kind of negatives.
        per_click: Negatives for each click; in-batch negatives are as many as the batch has.
        eligible: Numbers of the articles that may be negatives; by default those shown.
        skips_by_popularity: Draw negatives of impressions without a skip by popularity, not uniformly.

    Raises:
        ValueError: Nothing was clicked, or there is no such kind of negatives.
    """

    def __init__(
        self,
        log: ImpressionLog,
        negatives: Negatives,
        per_click: int,
        *,
        eligible: NDArray[np.int64] | None = None,
        skips_by_popularity: bool = False,
    ) -> None:
        clicked = np.flatnonzero(log.clicked)
        if not len(clicked):
            raise ValueError(f"{log.folder}: nothing was clicked in the part to train on")
        self.impressions: NDArray[np.int64] = (
            np.searchsorted(log.slate_start, clicked, side="right").astype(np.int64) - 1
        )
        """Shape (clicks,)."""
        self.users: NDArray[np.int32] = log.user[self.impressions]
        """Shape (clicks,)."""
        self.articles: NDArray[np.int32] = log.candidates[clicked]
        """Shape (clicks,)."""
        self.shown: NDArray[np.int64] = np.unique(log.candidates).astype(np.int64)
        """Numbers of the articles that the slice shows, ascending. An article that is only in histories would
        be a negative, and never a positive."""
        eligible = self.shown if eligible is None else eligible
        self._per_click = per_click
        self._index = PositiveIndex.of_log(log)
        self._sampler, self._hard = make_sampler(negatives, self._index, eligible)
        self._skips: SkipNegatives | None = None
        if negatives == "skips":
            kind: Negatives = "popularity" if skips_by_popularity else "uniform"
            otherwise, _ = make_sampler(kind, self._index, eligible)
            assert otherwise is not None
            self._skips = SkipNegatives(log, self._index, otherwise)
        self._clicks = np.bincount(self.articles, minlength=len(log.articles))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def wants_vectors(self) -> bool:
        """Whether :meth:`refresh` changes what is drawn."""
        return self._hard is not None

    def refresh(self, vectors: FloatMatrix) -> None:
        """Draw hard negatives near to the clicked article by these vectors (articles, d) from now on."""
        if self._hard is not None:
            self._hard.refresh(vectors)

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[ClickBatch]:
        """Yield one epoch, ``size`` clicks at a time, the last batch smaller."""
        order = rng.permutation(len(self))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            impressions, users = self.impressions[chosen], self.users[chosen]
            articles = self.articles[chosen]
            drawn = self._draw(impressions, users, articles, rng)
            if drawn is not None:
                yield ClickBatch(impressions, users, np.concatenate([articles[:, None], drawn], axis=1))
                continue
            counts = in_batch_mask(users, articles, self._index)
            log_q = in_batch_log_q(self._clicks, articles).astype(np.float32)
            yield ClickBatch(impressions, users, articles[:, None], counts, log_q)

    def _draw(
        self,
        impressions: NDArray[np.int64],
        users: NDArray[np.int32],
        articles: NDArray[np.int32],
        rng: np.random.Generator,
    ) -> NDArray[np.int32] | None:
        if self._skips is not None:
            return self._skips.sample(impressions, self._per_click, rng, articles)
        if self._sampler is not None:
            return self._sampler.sample(users, self._per_click, rng, articles)
        return None
