"""View of a user at one moment, as ranking needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.ports import FloatMatrix
from freshet.models.users.newest_clicks import Click
from freshet.models.users.state import Pooling, UserState


@dataclass(frozen=True, slots=True)
class UserView:
    """View of a user at one moment, as ranking needs it.

    >>> view = UserView.of(None, 1_700_000_000.0, np.ones(2, np.float32))
    >>> view.head_names, view.vectors.tolist(), view.clicks
    (('population', 'skips'), [[1.0, 1.0], [1.0, 1.0]], 0)
    """

    vectors: FloatMatrix
    """Queries of the interest heads, then the vector of the skips, (heads, d)."""
    dot_offsets: NDArray[np.float32]
    """Dot product of each vector with the mean of the clicked articles, (heads,)."""
    head_names: tuple[str, ...]
    clicks: int
    """Number of clicks ever applied."""
    seen: Mapping[str, int]
    """Number of recent clicks by news id."""
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
        """View of a user at ``now_s``.

        Args:
            state: The user's state; ``None`` for a new user, who has the population's vectors.
            now_s: Event time, Unix seconds.
            population: Mean of the clicked articles, (d,) or (heads, d); the prior if the pooling has none.
            pooling: Pooling of a new user; unset: two heads, as of an untrained bundle.
        """
        pooling = pooling if state is None else state.pooling
        prior = population if pooling is None or pooling.prior is None else pooling.prior
        if state is None:
            heads = len(prior) if prior.ndim > 1 else 2 if pooling is None else pooling.heads
            vectors = np.broadcast_to(prior, (heads, prior.shape[-1])).astype(np.float32)
            names = ("population",) * (heads - 1) + ("skips",)
            clicks, exposures, recent = 0, dict[str, int](), list[Click]()
        else:
            vectors = state.vectors(now_s, prior)
            names = state.pooling.head_names
            clicks, exposures, recent = state.clicks, state.exposures, list(state.recent)
        if pooling is not None:
            vectors = pooling.queries(vectors)
        offsets: NDArray[np.float32] = np.vecdot(vectors, population)
        seen = Counter(news_id for _, news_id in recent)
        return cls(vectors, offsets, names, clicks, seen, exposures, recent)
