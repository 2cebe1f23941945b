r"""Metrics of top-k lists from ratings, by the protocol of published two-tower figures.

Ratings are split in time: the last 20 % are the test. Items that a user rated before the cut are not
recommended again; items that the user rates with at least 4 stars after it are relevant. Every metric is the
mean over users, with :math:`y_r = 1` if the item at rank r is relevant, and P relevant items:

- NDCG@k :math:`= \sum_{r \le k} y_r / \log_2(r + 1) \;/\; \sum_{r \le \min(k, P)} 1 / \log_2(r + 1)`
  (Järvelin and Kekäläinen, 2002)
- HitRate@k: 1 if any :math:`y_r` is 1; recall@k :math:`= \sum y_r / P`; precision@k :math:`= \sum y_r / k`
- MRR@k: 1 / r for the first r with :math:`y_r = 1`, 0 if there is none (Voorhees, TREC-8, 1999)
- coverage@k: the share of the recommendable items that is in any list (Herlocker et al., 2004)

Items with a rating before the cut are recommendable; test ratings of other items are left out and counted.
Users without ratings before the cut are **new**. Published figures leave them out ("cold users dropped");
here they are a segment of their own, because a system must serve them.

**Comparison with the published figure** (RePlay's two-tower notebook on MovieLens 100K: NDCG@10 .0345,
HitRate@10 .2211, coverage@10 .1912, for "751 users, 1,616 items with 20 or more events"). In MovieLens 100K
every user has at least 20 ratings; a minimum of 20 for items too would leave 938 of them. The first 80 % in
time have exactly 751 users and 1,616 items without any filter, and 95 of the 751 have relevant items: .2211
is 21 of 95. So the segment **known** with ``minimum_item_ratings = 1`` is the published protocol. A test of
95 users is small, as the intervals show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.movielens import Ratings, time_split
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.embedding.bundle import Bundle, BundleError
from freshet.models.embedding.feature_tower import FeatureTower, rows_of, value_rows, weight_of
from freshet.models.evaluation.list_metrics import coverage
from freshet.models.evaluation.ranking_metrics import Estimate, bootstrap, estimates_by_name

ItemScorer = Callable[[NDArray[np.int32]], NDArray[np.floating]]
"""Function from user numbers (B,) to scores (B, items), larger is better."""

METRICS = ("ndcg", "hit_rate", "recall", "precision", "mrr")
"""Metrics of each list, in this order."""

_CHUNK = 256
"""Users scored at once."""


@dataclass(frozen=True)
class TopNProtocol:
    """Settings of the protocol; the defaults are those of the published figure.

    Raises:
        ValueError: A value is out of range.
    """

    k: int = 10
    until: float = 0.8
    """Share of the ratings before the cut."""
    relevant_rating: float = 4.0
    """Lowest test rating of a relevant item."""
    minimum_user_ratings: int = 20
    """Fewest ratings of a user in the whole set; other users are left out."""
    minimum_item_ratings: int = 1
    """Fewest ratings of a recommendable item before the cut."""

    def __post_init__(self) -> None:
        if self.k < 1 or self.minimum_user_ratings < 1 or self.minimum_item_ratings < 1:
            raise ValueError("k and the minimum of ratings must be at least 1")
        if not 0.0 < self.until < 1.0:
            raise ValueError(f"until is {self.until}, must lie between 0 and 1")


@dataclass(frozen=True)
class TopNSplit:
    """Ratings before and after the cut, of users with enough ratings."""

    before: Ratings
    after: Ratings
    recommendable: NDArray[np.bool_]
    """Shape (items,)."""

    @classmethod
    def of(cls, ratings: Ratings, protocol: TopNProtocol) -> TopNSplit:
        """Split ``ratings`` in time, and leave out users with too few.

        Raises:
            ValueError: No rating is left before or after the cut.
        """
        before, after = time_split(ratings, protocol.until)
        counts = np.bincount(ratings.user, minlength=len(ratings.user_ids))
        enough = counts >= protocol.minimum_user_ratings
        return cls.cut(before.take(enough[before.user]), after.take(enough[after.user]), protocol)

    @classmethod
    def cut(cls, before: Ratings, after: Ratings, protocol: TopNProtocol) -> TopNSplit:
        """Take ratings that are already split.

        Raises:
            ValueError: One of the parts is empty.
        """
        if not len(before) or not len(after):
            raise ValueError(
                f"{len(before)} ratings before the cut and {len(after)} after it: nothing can be measured"
            )
        rated = np.bincount(before.item, minlength=len(before.item_ids))
        return cls(before, after, rated >= protocol.minimum_item_ratings)


@dataclass(frozen=True)
class TopNSegment:
    """Mean metrics of the users of one segment."""

    users: int
    ratings: int
    """Relevant items of all users."""
    metrics: Mapping[str, Estimate]
    """Estimates by the names of :data:`METRICS` with the k, such as ``ndcg@10``; empty without users."""
    coverage: float
    """Coverage of the recommendable items by these users' lists."""


@dataclass(frozen=True)
class TopNReport:
    """Metrics of one scorer."""

    protocol: TopNProtocol
    items: int
    """Recommendable items."""
    left_out_ratings: int
    """High enough test ratings of items that are not recommendable."""
    segments: Mapping[str, TopNSegment]
    """Segments ``known`` (users with ratings before the cut: the published protocol), ``new`` and ``all``."""


def evaluate_topn(split: TopNSplit, scorer: ItemScorer, protocol: TopNProtocol, seed: int = 0) -> TopNReport:
    """Measure the lists of a scorer's best items.

    Args:
        split: The ratings before and after the cut.
        scorer: A scorer fitted before the cut.
        protocol: Settings of the protocol.
        seed: Seed of the bootstrap over users (Efron and Tibshirani, 1993).
    """
    after = split.after
    relevant = after.rating >= protocol.relevant_rating
    found = relevant & split.recommendable[after.item]
    users = np.unique(after.user[found]).astype(np.int32)
    lists = top_items(split, scorer, users, protocol.k)
    wanted = PositiveIndex(
        after.user[found], after.item[found], n_users=len(after.user_ids), n_items=len(after.item_ids)
    )
    hits = wanted.contains(users[:, None], np.maximum(lists, 0)) & (lists >= 0)
    to_find = np.diff(wanted.starts)[users]
    values = list_metrics(hits, to_find)
    known = np.bincount(split.before.user, minlength=len(after.user_ids))[users] > 0
    items = int(split.recommendable.sum())
    segments = {
        name: _segment(part, values, to_find, lists, items=items, protocol=protocol, seed=seed)
        for name, part in (("known", known), ("new", ~known), ("all", np.ones(len(users), np.bool_)))
    }
    return TopNReport(protocol, items, int(relevant.sum() - found.sum()), segments)


def top_items(split: TopNSplit, scorer: ItemScorer, users: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """Select the best ``k`` recommendable items that each user had not rated before the cut.

    Equal scores are in the order of the items' numbers, which is independent of the ratings.

    Returns:
        Shape (users, k), -1 where fewer items are left.

    Raises:
        ValueError: The scores have another shape, or are NaN.
    """
    n_items = len(split.recommendable)
    rated = PositiveIndex(
        split.before.user, split.before.item, n_users=len(split.before.user_ids), n_items=n_items
    )
    lists = np.full((len(users), k), -1, np.int64)
    for start in range(0, len(users), _CHUNK):
        part = users[start : start + _CHUNK]
        scores = np.array(scorer(part), np.float64)
        if scores.shape != (len(part), n_items) or np.isnan(scores).any():
            raise ValueError(
                f"scores of {len(part)} users must be numbers of shape {(len(part), n_items)}, "
                f"got {scores.shape}"
            )
        scores[:, ~split.recommendable] = -np.inf
        for row, user in enumerate(part.tolist()):
            scores[row, rated.of(user)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        held = np.take_along_axis(scores, order, axis=1) > -np.inf
        lists[start : start + len(part), : order.shape[1]] = np.where(held, order, -1)
    return lists


def list_metrics(hits: NDArray[np.bool_], to_find: NDArray[np.integer]) -> NDArray[np.float64]:
    """Metrics (lists, len(METRICS)) of lists.

    Args:
        hits: Shape (lists, k): whether the item at each rank is relevant.
        to_find: Shape (lists,): numbers of relevant items, at least 1.

    >>> values = list_metrics(np.array([[False, True, False]]), np.array([2]))
    >>> dict(zip(METRICS, values[0].round(3).tolist()))["mrr"]
    0.5
    """
    k = hits.shape[1]
    discounts = 1.0 / np.log2(np.arange(k) + 2.0)
    ideal = np.cumsum(discounts)[np.minimum(to_find, k) - 1]
    any_hit = hits.any(axis=1)
    first = np.where(any_hit, hits.argmax(axis=1) + 1.0, np.inf)
    n = hits.sum(axis=1)
    return np.column_stack([hits @ discounts / ideal, any_hit, n / to_find, n / k, 1.0 / first])


def evaluate_bundle_topn(bundle: Bundle, ratings: Ratings, protocol: TopNProtocol) -> TopNReport:
    """Measure a bundle on the ratings after its cut, as ``freshet evaluate`` does for a MovieLens folder.

    Args:
        bundle: A bundle trained on the same folder, before ``protocol.until``.
        ratings: All ratings of the folder.
        protocol: Settings of the protocol.

    Raises:
        BundleError: The bundle was trained on ratings after the cut, or cannot score users.
    """
    split = TopNSplit.of(ratings, protocol)
    end_s = bundle.manifest.training.end_s
    first_s = float(split.after.time_s[0])
    if end_s is None or end_s >= first_s:
        raise BundleError(
            f"{bundle.folder} was trained on ratings of the test's period: train it with "
            f"--until {protocol.until:g}, split in time"
        )
    return evaluate_topn(split, bundle_item_scorer(bundle, ratings), protocol)


def bundle_item_scorer(bundle: Bundle, ratings: Ratings) -> ItemScorer:
    """Score ``user.table[u] . v_i + article.bias[i]``; an unknown user has row 0, the population.

    Raises:
        BundleError: The bundle has no vectors by user, or its items need more than their ids.
    """
    users = value_rows(bundle.manifest.vocabularies.get("user_id", ()))
    if "user.table.weight" not in bundle.weights:
        raise BundleError(f"{bundle.folder}: model {bundle.manifest.model} has no vectors of users")
    table = weight_of(bundle, "user.table.weight", (1 + len(users), bundle.manifest.d))
    tower = FeatureTower(bundle)
    if tower.d_text:
        raise BundleError(f"{bundle.folder}: model {bundle.manifest.model} reads texts, and films have none")
    vectors, biases = tower.id_vectors(ratings.item_ids), tower.biases(ratings.item_ids)
    row_of = rows_of(users, ratings.user_ids)

    def scores(of_users: NDArray[np.int32]) -> NDArray[np.floating]:
        result: NDArray[np.float32] = table[row_of[of_users]] @ vectors.T + biases
        return result

    return scores


def _segment(
    part: NDArray[np.bool_],
    values: NDArray[np.float64],
    to_find: NDArray[np.integer],
    lists: NDArray[np.int64],
    *,
    items: int,
    protocol: TopNProtocol,
    seed: int,
) -> TopNSegment:
    users = int(part.sum())
    if not users:
        return TopNSegment(0, 0, {}, 0.0)
    low, high = bootstrap(values[part], seed=seed)
    names = [f"{name}@{protocol.k}" for name in METRICS]
    metrics = estimates_by_name(names, values[part].mean(axis=0), low, high)
    return TopNSegment(users, int(to_find[part].sum()), metrics, coverage(lists[part], items))
