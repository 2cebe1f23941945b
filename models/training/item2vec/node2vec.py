"""node2vec (Grover and Leskovec, 2016) over the item graph: random walks are the sentences of word2vec.

From what users clicked comes a graph (:mod:`freshet.models.training.item2vec.item_graph`), from the graph
come walks (:mod:`freshet.models.training.item2vec.walks`), from the walks vectors
(:mod:`freshet.models.training.item2vec.word2vec`). item2vec knows pairs that a user has clicked within a
window; a walk also brings together articles that nobody has clicked both of, but that share neighbours.

What it cannot: an article without an edge has no vector, and edges are harder to come by than clicks
(``min_common_users``). Training costs what the walks cost, and they are many times as long as the clicks: ten
walks of 80 are 800 steps for each article, however few clicks its edges stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.movielens import Ratings
from freshet.models.training.item2vec.item2vec import (
    Item2VecSettings,
    ratings_score,
    slate_score,
    trained_on_log,
    trained_on_ratings,
)
from freshet.models.training.item2vec.item_graph import GraphSettings, build_item_graph
from freshet.models.training.item2vec.walks import Walker, WalkSettings
from freshet.models.training.item2vec.word2vec import ItemVectors, Score, train_word2vec
from freshet.models.training.observer import Observer
from freshet.models.training.trained_model import TrainedModel


@dataclass(frozen=True)
class Node2VecSettings(Item2VecSettings):
    """Settings of the graph, the walks and the vectors; ``min_count`` has no effect.

    Raises:
        ValueError: A value is out of range.
    """

    window: int = 10
    epochs: int = 1
    p: float = 1.0
    q: float = 1.0
    walks_per_node: int = 10
    length: int = 80
    """Number of nodes of a walk."""
    min_similarity: float = 0.02
    """Least Jaccard similarity of an edge."""
    min_common_users: int = 2
    """Least number of users who clicked both ends of an edge."""
    max_neighbours: int = 50
    max_clicks: int = 200
    """Latest clicks of each user that make edges."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        _ = self.graph, self.walks

    @property
    def graph(self) -> GraphSettings:
        """Settings of the item graph."""
        return GraphSettings(self.min_similarity, self.min_common_users, self.max_neighbours, self.max_clicks)

    @property
    def walks(self) -> WalkSettings:
        """Settings of the walks."""
        return WalkSettings(self.p, self.q, self.walks_per_node, self.length)


def train_node2vec(
    train: ImpressionLog, validation: ImpressionLog, settings: Node2VecSettings, seed: int, observer: Observer
) -> TrainedModel:
    """Train on the co-clicks of a log; an example is a step of a walk.

    Arguments are those of :func:`~freshet.models.training.item2vec.item2vec.train_item2vec`.
    """
    clicks = ClickSequences.of_log(train)
    score = slate_score(train, validation, settings)
    result, steps = _train(clicks, settings, seed, score, observer)
    return trained_on_log("node2vec", result, settings, steps, train)


def train_node2vec_ratings(
    train: Ratings, validation: Ratings, settings: Node2VecSettings, seed: int, observer: Observer
) -> TrainedModel:
    """Train on high ratings; see :func:`.item2vec.train_item2vec_ratings`."""
    liked = ClickSequences.of_ratings(train, settings.min_rating)
    score = ratings_score(train, validation, settings)
    result, steps = _train(liked, settings, seed, score, observer)
    return trained_on_ratings("node2vec", result, settings, steps, (train, validation))


def _train(
    clicks: ClickSequences, settings: Node2VecSettings, seed: int, score: Score, observer: Observer
) -> tuple[ItemVectors, int]:
    graph = build_item_graph(clicks, settings.graph)
    if not graph.edges:
        raise ValueError(
            f"no two articles have {settings.min_common_users} common users and a similarity of "
            f"{settings.min_similarity}: lower them, or train on more"
        )
    walker = Walker(graph, settings.walks)
    rng = np.random.default_rng([seed, 1])
    steps = int((graph.degrees > 0).sum()) * settings.walks_per_node * settings.length
    sequences = _sequences(walker.walks(rng), len(graph))
    return train_word2vec(sequences, settings, seed, score, observer), steps


def _sequences(chunks: Iterator[NDArray[np.int32]], n_items: int) -> Iterator[ClickSequences]:
    for walks in chunks:
        starts = np.arange(len(walks) + 1, dtype=np.int64) * walks.shape[1]
        yield ClickSequences(walks.ravel(), starts, n_items)
