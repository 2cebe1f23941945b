r"""How good a list of k items is for a user: the protocol that published two-tower figures on ratings use.

The ratings are cut in time: the last 20 % are the test. What a user rated before the cut is never recommended
again; a test rating of at least 4 stars is what a list should have found. Every metric is the mean over users
of the metric of one user's list, with :math:`y_r = 1` where the item of rank r is found and P the number to
be found:

- NDCG@k :math:`= \sum_{r \le k} y_r / \log_2(r + 1) \;/\; \sum_{r \le \min(k, P)} 1 / \log_2(r + 1)`
  (Järvelin and Kekäläinen, 2002)
- HitRate@k: whether any :math:`y_r` is 1; recall@k :math:`= \sum y_r / P`; precision@k :math:`= \sum y_r / k`
- MRR@k: 1 / the first r with :math:`y_r = 1`, 0 where there is none (Voorhees, TREC-8, 1999)
- coverage@k: the share of the recommendable items that is in any list (Herlocker et al., 2004)

Recommendable is what anybody rated before the cut; test ratings of other items are left out and counted.
Users without ratings before the cut are **new**: published figures leave them out ("cold users dropped").
Here they are measured, as a segment of their own, because a system must serve them.

**How this fits the published figure** (RePlay's two-tower notebook on MovieLens 100K: NDCG@10 .0345,
HitRate@10 .2211, coverage@10 .1912, for "751 users, 1,616 items with 20 or more events"). In MovieLens 100K
every user has 20 ratings or more; a minimum of 20 for items too would leave 938 of them. 751 users and 1,616
items are exactly those of the first 80 % in time, unfiltered, and 95 of the 751 have something to be found:
.2211 is 21 of 95. So the segment **known** with ``minimum_item_ratings = 1`` is the published protocol. With
95 users it is a small test: the interval beside each figure says how small.
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
"""Users (B,), by number, to scores (B, items), larger is better."""

METRICS = ("ndcg", "hit_rate", "recall", "precision", "mrr")
"""What is measured of each list, in this order."""

_CHUNK = 256
"""Users scored at once."""


@dataclass(frozen=True)
class TopNProtocol:
    """What is measured; the defaults are those of the published figure.

    Raises:
        ValueError: A value is out of range.
    """

    k: int = 10
    until: float = 0.8
    """The share of the ratings that may be learned from."""
    relevant_rating: float = 4.0
    """A test rating from here on is to be found."""
    minimum_user_ratings: int = 20
    """Of all of a user's ratings; the others are left out altogether."""
    minimum_item_ratings: int = 1
    """Before the cut: an item with fewer is not recommended."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.k < 1 or self.minimum_user_ratings < 1 or self.minimum_item_ratings < 1:
            raise ValueError("k and the minimum of ratings must be at least 1")
        if not 0.0 < self.until < 1.0:
            raise ValueError(f"until is {self.until}, must lie between 0 and 1")


@dataclass(frozen=True)
class TopNSplit:
    """Ratings before and after the cut, of the users who count."""

    before: Ratings
    after: Ratings
    recommendable: NDArray[np.bool_]
    """Shape (items,)."""

    @classmethod
    def of(cls, ratings: Ratings, protocol: TopNProtocol) -> TopNSplit:
        """Cut ``ratings`` in time, and leave out users with too few.

        Raises:
            ValueError: Nothing is left before or after the cut.
        """
        before, after = time_split(ratings, protocol.until)
        counts = np.bincount(ratings.user, minlength=len(ratings.user_ids))
        enough = counts >= protocol.minimum_user_ratings
        return cls.cut(before.take(enough[before.user]), after.take(enough[after.user]), protocol)

    @classmethod
    def cut(cls, before: Ratings, after: Ratings, protocol: TopNProtocol) -> TopNSplit:
        """Of ratings that are cut already.

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
    """Means over the users of one segment."""

    users: int
    ratings: int
    """To be found."""
    metrics: Mapping[str, Estimate]
    """By :data:`METRICS`, with the k: ``ndcg@10``. Empty without users."""
    coverage: float
    """Of the recommendable items, in these users' lists."""


@dataclass(frozen=True)
class TopNReport:
    """One scorer's figures."""

    protocol: TopNProtocol
    items: int
    """Recommendable."""
    left_out_ratings: int
    """Of the test, high enough, but of an item that cannot be recommended."""
    segments: Mapping[str, TopNSegment]
    """``known`` (users with ratings before the cut: the published protocol), ``new``, and ``all``."""


def evaluate_topn(split: TopNSplit, scorer: ItemScorer, protocol: TopNProtocol, seed: int = 0) -> TopNReport:
    """Measure the lists that a scorer's best items make.

    Args:
        split: Its ratings after the cut are looked at only to see what the lists have found.
        scorer: Has learned from nothing after the cut.
        protocol: What to measure.
        seed: Of the bootstrap over users (Efron and Tibshirani, 1993).
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
    """The best ``k`` recommendable items that each user had not rated before the cut.

    Equal scores are in the order of the items' numbers, which says nothing about the ratings.

    Returns:
        Shape (users, k), -1 where fewer are left.

    Raises:
        ValueError: The scorer gives another shape, or NaN.
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
    """The metrics of lists, shape (lists, len(METRICS)).

    Args:
        hits: Shape (lists, k): whether the item of each rank is one to be found.
        to_find: Shape (lists,), at least 1: how many there are.
    """
    k = hits.shape[1]
    discounts = 1.0 / np.log2(np.arange(k) + 2.0)
    ideal = np.cumsum(discounts)[np.minimum(to_find, k) - 1]
    any_hit = hits.any(axis=1)
    first = np.where(any_hit, hits.argmax(axis=1) + 1.0, np.inf)
    n = hits.sum(axis=1)
    return np.column_stack([hits @ discounts / ideal, any_hit, n / to_find, n / k, 1.0 / first])


def evaluate_bundle_topn(bundle: Bundle, ratings: Ratings, protocol: TopNProtocol) -> TopNReport:
    """A bundle's figures on the ratings after its cut; what ``freshet evaluate`` shows of a MovieLens folder.

    Args:
        bundle: Trained on the same folder, on nothing after ``protocol.until``.
        ratings: All ratings of the folder.
        protocol: What to measure.

    Raises:
        BundleError: The bundle has learned from ratings after the cut, or cannot score users.
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
    """Scores ``user.table[u] . v_i + article.bias[i]``; an unknown user has row 0, the population.

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
