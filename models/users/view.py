"""What ranking needs of a user at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import FloatMatrix
from freshet.models.users.newest_clicks import Click
from freshet.models.users.state import Pooling, UserState


@dataclass(frozen=True, slots=True)
class UserView:
    """What ranking needs of a user at one moment."""

    vectors: FloatMatrix
    """Shape (heads, d): the interest heads' queries, then the vector of the skips."""
    dot_offsets: NDArray[np.float32]
    """Shape (heads,): each vector's dot product with the mean of what is being clicked."""
    head_names: tuple[str, ...]
    head_weights: NDArray[np.float64]
    """Shape (heads,): the decayed evidence that each vector rests on."""
    clicks: int
    """Clicks ever applied."""
    seen: Mapping[str, int]
    """Recent clicks by news id."""
    exposures: Mapping[str, int]
    """Times shown by news id, clicked or not."""
    recent: Sequence[Click] = ()
    """Times and news ids of the recent clicks, the oldest first."""

    @classmethod
    def of(
        cls,
        state: UserState | None,
        now_s: float,
        population: NDArray[np.float32],
        pooling: Pooling | None = None,
    ) -> UserView:
        """The view of ``state`` at ``now_s``; of a user never seen (``None``), the population's.

        Args:
            state: The user's state.
            now_s: Event time, Unix seconds.
            population: The mean of what is clicked, (d,) or (heads, d): the prior where the pooling has none.
            pooling: Of a user never seen; without it, that of an untrained bundle.
        """
        pooling = pooling if state is None else state.pooling
        prior = population if pooling is None or pooling.prior is None else pooling.prior
        if state is None:
            heads = len(prior) if prior.ndim > 1 else 2 if pooling is None else pooling.heads
            vectors = np.broadcast_to(prior, (heads, prior.shape[-1])).astype(np.float32)
            names = ("population",) * (heads - 1) + ("skips",)
            weights = np.zeros(len(vectors))
            clicks, exposures = 0, dict[str, int]()
            recent: Sequence[Click] = ()
        else:
            vectors = state.vectors(now_s, prior)
            names = state.pooling.head_names
            weights = np.asarray(state.weights(now_s), np.float64)
            clicks = state.clicks
            recent = state.recent
            exposures = state.exposures
        if pooling is not None:
            vectors = pooling.queries(vectors)
        offsets: NDArray[np.float32] = np.vecdot(vectors, population)
        seen: dict[str, int] = {}
        for _, news_id in recent:
            seen[news_id] = seen.get(news_id, 0) + 1
        return cls(vectors, offsets, names, weights, clicks, seen, exposures, recent)
