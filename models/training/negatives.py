"""Negative sampling for implicit feedback; a negative is never a positive of the same user.

A click says what a user wants; nothing says what the user does not want. Training on clicks therefore samples
negatives, and their distribution decides what a model learns:

- :class:`UniformNegatives`: all articles with the same probability. Most are easy, and popular articles are
  rarely negatives: the model learns popularity along with taste.
- :class:`PopularityNegatives`: in proportion to ``clicks ** 0.75`` (Mikolov et al., 2013, section 2.2).
  Popular articles are negatives as often as they nearly are positives: more taste, less popularity.
- :class:`HardNegatives`: the nearest unclicked articles. They have a gradient where easy ones have none
  (Xiong et al., 2021, "ANCE"), and are sometimes what the user would have clicked.
- :class:`MixedNegatives`: some of each.
- In-batch: the positives of the other examples (:mod:`freshet.models.training.in_batch_negatives`). They cost
  nothing, and come in proportion to popularity: their logits are corrected by ``- log q`` (Yi et al., 2019,
  equation 3).
- Skips: what the user was shown and did not click (:class:`SkipNegatives`), the only ones of which it is
  known that the user saw them.

Every sampler draws from its distribution *given that the article is no positive*, by drawing again and, for
those who have clicked nearly all, exactly. ``log_q`` is the logarithm of the distribution without that
condition; the missing constant is the same for all of a user's negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.training.item2vec.alias_table import AliasTable

Negatives = Literal["skips", "uniform", "popularity", "in-batch", "hard", "mixed"]
"""Names of the kinds of negatives in settings."""

DEFAULT_POWER = 0.75
DEFAULT_POOL = 100
MAX_REDRAWS = 16
"""Redraws before exact sampling, which a user with half of all articles needs in 1 of 65,000 draws."""
_MAX_SCORES = 1 << 24


class NegativeSampler(Protocol):
    """Sampler of negatives for examples of one positive each."""

    def sample(
        self, users: NDArray[np.integer], n: int, rng: np.random.Generator, positives: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """Draw ``n`` articles for each example, independently, so that one may come twice.

        Args:
            users: Shape (B,), the user of each example.
            n: Negatives for each.
            rng: Random numbers; the same state gives the same negatives.
            positives: Shape (B,), the article of each example; never drawn, even if the index lacks it.

        Returns:
            Shape (B, n): numbers of articles.

        Raises:
            ValueError: A user has clicked all that could be drawn.
        """
        ...

    def log_q(self, items: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of the probability to draw each of ``items``, any shape; finite for every article."""
        ...


class _WeightedNegatives:
    """Sampler in proportion to weights."""

    def __init__(self, index: PositiveIndex, weights: ArrayLike, eligible: ArrayLike | None) -> None:
        self._index = index
        self._items = _eligible(index, eligible)
        weight = np.asarray(weights, np.float64)
        drawn = weight[self._items]
        self._weights = np.zeros(index.n_items)
        self._weights[self._items] = drawn
        self._table = AliasTable(drawn, [0, len(drawn)])
        self._log_q = np.log(weight) - np.log(drawn.sum())

    def sample(
        self, users: NDArray[np.integer], n: int, rng: np.random.Generator, positives: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """Draw ``n`` articles for each example, see :meth:`NegativeSampler.sample`."""
        users, positives = np.asarray(users), np.asarray(positives)
        drawn = self._draw((len(users), n), rng)
        rows, columns = np.nonzero(self._refused(users[:, None], drawn, positives[:, None]))
        for _ in range(MAX_REDRAWS):
            if not len(rows):
                return drawn
            again = self._draw((len(rows),), rng)
            drawn[rows, columns] = again
            still = self._refused(users[rows], again, positives[rows])
            rows, columns = rows[still], columns[still]
        for row in np.unique(rows):
            at = columns[rows == row]
            drawn[row, at] = self._exactly(int(users[row]), int(positives[row]), len(at), rng)
        return drawn

    def log_q(self, items: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of each item's probability, as if it were eligible."""
        result: NDArray[np.float64] = self._log_q[np.asarray(items)]
        return result

    def _draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int32]:
        return self._items[self._table.draw(np.zeros(shape, np.int64), rng)]

    def _refused(
        self, users: NDArray[np.integer], drawn: NDArray[np.int32], positives: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        refused: NDArray[np.bool_] = self._index.contains(users, drawn) | (drawn == positives)
        return refused

    def _exactly(self, user: int, positive: int, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
        weights = self._weights.copy()
        weights[self._index.of(user)] = 0.0
        weights[positive] = 0.0
        sums = np.cumsum(weights)
        if not sums[-1] > 0.0:
            raise ValueError(
                f"user number {user} has clicked all {len(self._items)} articles that could be a negative: "
                "leave the user out of training"
            )
        at = np.searchsorted(sums, rng.random(n) * sums[-1], side="right")
        # A product that rounds up to the sum would be past the end.
        drawn: NDArray[np.int32] = np.minimum(at, np.flatnonzero(weights)[-1]).astype(np.int32)
        return drawn


class UniformNegatives(_WeightedNegatives):
    """Sampler that draws every eligible article with the same probability.

    Args:
        index: Positives of each user, which are not drawn.
        eligible: Numbers of the articles that may be drawn, all by default. For a slice of a log, give
            :func:`shown_articles`: articles that appear only later would otherwise be learned as unwanted.
    """

    def __init__(self, index: PositiveIndex, eligible: ArrayLike | None = None) -> None:
        super().__init__(index, np.ones(index.n_items), eligible)


class PopularityNegatives(_WeightedNegatives):
    """Sampler in proportion to ``(users who clicked + smoothing) ** power`` (Mikolov et al., 2013).

    Args:
        index: Positives of each user, which are not drawn, and the number of users who clicked each article.
        power: Exponent; 0 is uniform, 1 is popularity.
        smoothing: Pseudo-count of every article, so that those never clicked have a finite ``log_q``.
        eligible: Numbers of the articles that may be drawn, all by default.

    Raises:
        ValueError: ``power`` is negative or ``smoothing`` not positive.
    """

    def __init__(
        self,
        index: PositiveIndex,
        power: float = DEFAULT_POWER,
        *,
        smoothing: float = 1.0,
        eligible: ArrayLike | None = None,
    ) -> None:
        if not (power >= 0.0 and smoothing > 0.0):
            raise ValueError(f"power {power} must not be negative, smoothing {smoothing} must be positive")
        super().__init__(index, (index.item_counts + smoothing) ** power, eligible)


class HardNegatives:
    """Sampler of the nearest articles that the user has not clicked, by vectors that the caller refreshes.

    Nearest to the example's positive, or, where :meth:`refresh` is given the users' vectors, to its user. A
    neighbourhood is searched for when it is first needed, exactly, and kept until the next refresh: 4 bytes
    times ``pool`` for each article (or user) of the training set. Before the first refresh, and for users
    who have clicked a whole neighbourhood, ``otherwise`` draws.

    ``log_q`` counts these negatives as uniform draws: their own distribution changes with every refresh and
    is certain up to ``pool``, so that its correction would undo that they are hard.

    Args:
        index: Positives of each user, which are not drawn.
        otherwise: Sampler where there is no neighbourhood.
        pool: Number of nearest articles that are drawn from.
        eligible: Numbers of the articles that may be drawn, all by default.
    """

    def __init__(
        self,
        index: PositiveIndex,
        otherwise: NegativeSampler,
        pool: int = DEFAULT_POOL,
        eligible: ArrayLike | None = None,
    ) -> None:
        if pool < 1:
            raise ValueError(f"pool is {pool}, must be at least 1")
        self._index = index
        self._otherwise = otherwise
        self._items = _eligible(index, eligible)
        self._pool = min(pool + 1, len(self._items))  # The positive is its own nearest.
        self._vectors: NDArray[np.float32] | None = None
        self._queries: NDArray[np.float32] | None = None
        self._near = np.zeros((0, self._pool), np.int32)

    def refresh(self, vectors: NDArray[np.float32], queries: NDArray[np.float32] | None = None) -> None:
        """Replace the neighbourhoods by those of these vectors, by dot product.

        Args:
            vectors: Shape (n_items, d). Scale them to norm 1 where nearness means the cosine.
            queries: Shape (n_users, d); with them the nearest to the user are drawn, not to the positive.

        Raises:
            ValueError: There are not as many vectors as items, or queries as users.
        """
        keys = self._index.n_items if queries is None else self._index.n_users
        if len(vectors) != self._index.n_items or (queries is not None and len(queries) != keys):
            raise ValueError(
                f"{len(vectors)} vectors, {keys if queries is None else len(queries)} queries: must be "
                f"{self._index.n_items} and {keys}"
            )
        self._vectors, self._queries = vectors, queries
        self._near = np.full((keys, self._pool), -1, np.int32)

    def sample(
        self, users: NDArray[np.integer], n: int, rng: np.random.Generator, positives: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """Draw ``n`` articles for each example, see :meth:`NegativeSampler.sample`."""
        users, positives = np.asarray(users), np.asarray(positives)
        if self._vectors is None:
            return self._otherwise.sample(users, n, rng, positives)
        near = self._neighbours(positives if self._queries is None else users)  # (B, pool)
        usable = ~self._index.contains(users[:, None], near) & (near != positives[:, None])
        counts = usable.sum(axis=1)  # (B,)
        first = np.argsort(~usable, axis=1, kind="stable")  # (B, pool): the usable ones first
        choice = (rng.random((len(users), n)) * counts[:, None]).astype(np.int64)
        np.minimum(choice, np.maximum(counts - 1, 0)[:, None], out=choice)
        drawn = np.take_along_axis(near, np.take_along_axis(first, choice, axis=1), axis=1)
        none = np.flatnonzero(counts == 0)
        if len(none):
            drawn[none] = self._otherwise.sample(users[none], n, rng, positives[none])
        return drawn

    def log_q(self, items: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of a uniform probability: the neighbourhoods change with every refresh."""
        return np.full(np.shape(items), -np.log(len(self._items)))

    def _neighbours(self, keys: NDArray[np.integer]) -> NDArray[np.int32]:
        """Nearest eligible articles (B, pool), in no order."""
        assert self._vectors is not None
        needed = np.unique(keys)
        needed = needed[self._near[needed, 0] < 0]
        if len(needed):
            queries = self._vectors if self._queries is None else self._queries
            eligible = self._vectors[self._items]
            rows = max(_MAX_SCORES // len(self._items), 1)
            for start in range(0, len(needed), rows):
                part = needed[start : start + rows]
                scores = queries[part] @ eligible.T
                nearest = np.argpartition(scores, -self._pool, axis=1)[:, -self._pool :]
                self._near[part] = self._items[nearest]
        near: NDArray[np.int32] = self._near[keys]
        return near


class MixedNegatives:
    """Mixture of samplers: each negative is drawn by one of them, chosen at random in the given shares.

    Args:
        samplers: Components, usually uniform, by popularity, and hard.
        shares: Probability of each sampler; they sum to 1.

    Raises:
        ValueError: There are not as many shares as samplers, or they do not sum to 1.
    """

    def __init__(
        self, samplers: Sequence[NegativeSampler], shares: Sequence[float] = (0.5, 0.3, 0.2)
    ) -> None:
        if len(samplers) != len(shares) or min(shares) < 0 or not np.isclose(sum(shares), 1.0):
            raise ValueError(f"shares {tuple(shares)}: {len(samplers)} that sum to 1 are needed")
        self._samplers = tuple(samplers)
        self._shares = np.asarray(shares, np.float64)

    def sample(
        self, users: NDArray[np.integer], n: int, rng: np.random.Generator, positives: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """Draw ``n`` articles for each example, see :meth:`NegativeSampler.sample`."""
        users, positives = np.asarray(users), np.asarray(positives)
        by = np.searchsorted(np.cumsum(self._shares)[:-1], rng.random((len(users), n)), side="right")
        drawn = np.empty((len(users), n), np.int32)
        for number, sampler in enumerate(self._samplers):
            rows, columns = np.nonzero(by == number)
            if len(rows):
                drawn[rows, columns] = sampler.sample(users[rows], 1, rng, positives[rows])[:, 0]
        return drawn

    def log_q(self, items: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of the mixture of the samplers' distributions."""
        parts = [sampler.log_q(items) for sampler in self._samplers]
        with np.errstate(divide="ignore"):
            weighted = np.stack(parts) + np.log(self._shares).reshape(-1, *(1,) * np.ndim(items))
        result: NDArray[np.float64] = np.logaddexp.reduce(weighted, axis=0)
        return result


class SkipNegatives:
    """Sampler of an impression's skips: articles that it showed and its user clicked nowhere in the log.

    Args:
        log: The impressions.
        index: Positives of each user, which are not drawn.
        otherwise: Sampler for impressions without a skip.
    """

    def __init__(self, log: ImpressionLog, index: PositiveIndex, otherwise: NegativeSampler) -> None:
        self._user = log.user
        self._otherwise = otherwise
        impression = np.repeat(np.arange(len(log), dtype=np.int32), np.diff(log.slate_start))
        skips = ~log.clicked & ~index.contains(log.user[impression], log.candidates)
        self._items = log.candidates[skips]
        self._starts = np.searchsorted(impression[skips], np.arange(len(log) + 1))

    def sample(
        self,
        impressions: NDArray[np.integer],
        n: int,
        rng: np.random.Generator,
        positives: NDArray[np.integer],
    ) -> NDArray[np.int32]:
        """Draw ``n`` skips of each impression, with replacement.

        Args:
            impressions: Shape (B,), positions in the log.
            n: Negatives for each.
            rng: Random numbers.
            positives: Shape (B,), the article of each example.

        Returns:
            Shape (B, n): numbers of articles.
        """
        impressions = np.asarray(impressions)
        starts = self._starts[impressions]
        counts = self._starts[impressions + 1] - starts
        choice = (rng.random((len(impressions), n)) * counts[:, None]).astype(np.int64)
        np.minimum(choice, np.maximum(counts - 1, 0)[:, None], out=choice)
        none = np.flatnonzero(counts == 0)
        at = starts[:, None] + choice
        at[none] = 0
        drawn = self._items[at] if len(self._items) else np.zeros(at.shape, np.int32)
        if len(none):
            drawn[none] = self._otherwise.sample(self._user[impressions[none]], n, rng, positives[none])
        return drawn


def make_sampler(
    kind: Negatives, index: PositiveIndex, eligible: ArrayLike
) -> tuple[NegativeSampler | None, HardNegatives | None]:
    """Make the sampler of a kind of negatives; the second is its part that needs vectors, if there is one.

    Skips and in-batch negatives have no sampler here: the impression and the batch hold them.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in get_args(Negatives):
        raise ValueError(f"negatives is {kind!r}, must be one of {', '.join(get_args(Negatives))}")
    if kind in ("skips", "in-batch"):
        return None, None
    uniform = UniformNegatives(index, eligible)
    if kind == "uniform":
        return uniform, None
    popularity = PopularityNegatives(index, eligible=eligible)
    if kind == "popularity":
        return popularity, None
    hard = HardNegatives(index, uniform, eligible=eligible)
    return (hard if kind == "hard" else MixedNegatives((uniform, popularity, hard))), hard


def shown_articles(log: ImpressionLog) -> NDArray[np.int64]:
    """Numbers of the articles that a slice of a log shows or has in a history, ascending."""
    seen = np.zeros(len(log.articles), np.bool_)
    seen[log.candidates] = True
    lengths = np.diff(log.history_start)
    used = np.zeros(len(lengths), np.bool_)
    used[log.history] = True
    seen[log.history_items[np.repeat(used, lengths)]] = True
    return np.flatnonzero(seen)


def _eligible(index: PositiveIndex, eligible: ArrayLike | None) -> NDArray[np.int32]:
    items = np.arange(index.n_items) if eligible is None else np.unique(np.asarray(eligible, np.int64))
    if not len(items):
        raise ValueError("no article is eligible as a negative")
    return items.astype(np.int32)
