r"""Validation of article vectors by how well they rank later impressions; it decides which epoch is kept.

Users are the pooled heads of the clicks before each impression, as the stream keeps them, all interest heads
counting the same; skips count nothing. What is scored is :math:`u \cdot (v - m)`, m being the mean vector of
the clicks, and 0 for an article without a vector, as in :mod:`freshet.models.evaluation.bundle_scorer`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import UserSpec
from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import FloatMatrix
from freshet.models.training.labelled_slates import candidate_slots, rankable_impressions
from freshet.models.training.user_events import UserEvents

MAX_IMPRESSIONS = 20_000
"""Maximum number of impressions, spread evenly over the slice."""
MAX_CLICKS = 50
_CHUNK = 1_000


class SlateValidation:
    """Impressions of a validation slice, prepared to be ranked with many sets of vectors.

    Args:
        train: Slice before ``validation``.
        validation: Slice to rank; its impressions with both labels count.
        user: Pooling of clicks.
    """

    def __init__(self, train: ImpressionLog, validation: ImpressionLog, user: UserSpec) -> None:
        self._prior_weight = user.prior_weight
        both = rankable_impressions(validation, MAX_IMPRESSIONS)
        self._sizes = np.diff(validation.slate_start)[both]
        at, _ = candidate_slots(validation, both)
        self._candidates = validation.candidates[at]
        self._labels = validation.clicked[at].astype(np.float64)
        before = UserEvents(validation, train).batch(both, MAX_CLICKS, 0)
        self._clicks = before.clicks
        self._weights = np.stack(
            [np.exp2(-before.click_age_s / half_life_s) for half_life_s in user.half_lives_s]
        ) * (before.clicks >= 0)
        self._popular = np.bincount(train.candidates[train.clicked], minlength=len(train.articles))

    def __len__(self) -> int:
        return len(self._sizes)

    def auc(self, items: NDArray[np.int64], vectors: FloatMatrix) -> float:
        """Compute the mean AUC over the impressions; NaN if there are none.

        Args:
            items: Shape (n,), numbers of the articles that have a vector.
            vectors: Shape (n, d), compared by cosine.
        """
        if not len(self):
            return float("nan")
        table = np.zeros((len(self._popular) + 1, vectors.shape[1]), np.float32)
        table[items] = to_unit_norm(vectors)
        known = (table != 0).any(axis=1)
        clicks = self._popular * known[:-1]
        mean = clicks @ table[:-1] / max(clicks.sum(), 1)
        scores = np.empty(len(self._candidates))
        ends = np.cumsum(self._sizes)
        for start in range(0, len(self), _CHUNK):
            part = slice(start, start + _CHUNK)
            users = self._users(part, table, known, mean.astype(np.float32))
            sizes = self._sizes[part]
            span = slice(int(ends[start] - sizes[0]), int(ends[start] - sizes[0] + sizes.sum()))
            shown = self._candidates[span]
            centred = (table[shown] - mean) * known[shown, None]
            scores[span] = (np.repeat(users, sizes, axis=0) * centred).sum(axis=1)
        return float(RankedSlates.of(self._labels, scores, self._sizes).auc().mean())

    def _users(
        self, part: slice, table: FloatMatrix, known: NDArray[np.bool_], mean: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        clicks = self._clicks[part]
        weights = self._weights[:, part] * known[clicks]
        sums = np.einsum("hbl,bld->hbd", weights, table[clicks], optimize=True)  # (heads, B, d)
        norms = weights.sum(axis=2)[:, :, None] + self._prior_weight
        users: NDArray[np.float32] = ((sums + self._prior_weight * mean) / norms).sum(axis=0)
        return users
