"""The models that ``freshet train`` knows: where each is, what it trains on, and in one line what it is.

Modules are named as text and loaded when a model is used: torch takes seconds to load, and is an extra.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from freshet.workers.errors import WorkerError

DataKind = Literal["mind", "ratings", "headlines"]
_WITHOUT_GENSIM = (3, 14)


@dataclass(frozen=True)
class Trainer:
    """The functions that train one model on one kind of data."""

    module: str
    """Below ``freshet.models.training``."""
    function: str
    settings: str
    """The class of its settings, in the same module."""
    fit: Mapping[str, Any] | None = field(default_factory=dict)
    """What differs from the usual epochs, patience and learning rate; ``None`` where the model has a loop of
    its own and takes a seed instead."""
    random_split: bool = False
    """Whether ratings are split at random, as rating prediction is measured, instead of in time."""

    def load_function(self) -> Callable[..., Any]:
        """The function that trains."""
        function: Callable[..., Any] = getattr(self._loaded(), self.function)
        return function

    def load_settings(self) -> type[Any]:
        """The dataclass of the settings."""
        settings: type[Any] = getattr(self._loaded(), self.settings)
        return settings

    def _loaded(self) -> Any:
        try:
            return import_module(f"freshet.models.training.{self.module}")
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package == "freshet":
                raise
            remedy = "pip install 'freshet[embed,train]'"
            if package == "gensim" and sys.version_info >= _WITHOUT_GENSIM:
                remedy = "there is none for Python 3.14 yet; train this model with Python 3.11 to 3.13"
            raise WorkerError(f"training needs {package}, which is not installed: {remedy}") from error


@dataclass(frozen=True)
class TrainableModel:
    """One model."""

    summary: str
    trainers: Mapping[DataKind, Trainer]
    text: bool = False
    """Whether MIND's texts are needed as vectors, unless the settings say ``use_text=false``."""

    def uses_text(self, settings: object) -> bool:
        """Whether ``settings`` need text vectors."""
        return self.text and bool(getattr(settings, "use_text", True))


MODELS: Mapping[str, TrainableModel] = {
    "content-tower": TrainableModel(
        "texts and categories to vectors, users as decayed attentive pooling",
        {
            "mind": Trainer(
                "towers.content_tower",
                "train_content_tower",
                "ContentTowerSettings",
                fit={"epochs": 20, "patience": 4},
            )
        },
        text=True,
    ),
    "mf": TrainableModel(
        "matrix factorization by ids, with or without biases",
        {
            "mind": Trainer(
                "factorization.matrix_factorization",
                "train_matrix_factorization",
                "MatrixFactorizationSettings",
                fit={"learning_rate": 0.005},
            ),
            "ratings": Trainer(
                "ratings.factorization",
                "train_matrix_factorization_ratings",
                "RatingFactorizationSettings",
                fit={"epochs": 40, "patience": 4, "learning_rate": 0.005},
                random_split=True,
            ),
        },
    ),
    "two-tower": TrainableModel(
        "the plain dot product of two tables, as published for MovieLens",
        {
            "ratings": Trainer(
                "ratings.two_tower",
                "train_two_tower_ratings",
                "TwoTowerSettings",
                fit={"epochs": 30, "patience": 30},
            )
        },
    ),
    "dssm": TrainableModel(
        "two towers of features, cosine, sampled softmax",
        {
            "mind": Trainer("towers.dssm", "train_dssm", "DssmSettings", fit={"epochs": 20, "patience": 3}),
            "ratings": Trainer(
                "ratings.dssm",
                "train_dssm_ratings",
                "DssmRatingSettings",
                fit={"epochs": 3, "patience": 3, "learning_rate": 2e-3, "weight_decay": 1e-5},
            ),
        },
        text=True,
    ),
    "youtube-dnn": TrainableModel(
        "history averaged or attended to, weighted logistic loss",
        {
            "mind": Trainer("towers.youtube_dnn", "train_youtube_dnn", "YoutubeDnnSettings"),
            "ratings": Trainer(
                "ratings.youtube_dnn",
                "train_youtube_dnn_ratings",
                "YoutubeDnnRatingSettings",
                fit={"epochs": 3, "patience": 3, "weight_decay": 1e-5},
            ),
        },
        text=True,
    ),
    "headlines": TrainableModel(
        "which headline of a test is clicked, from its text",
        {
            "headlines": Trainer(
                "headlines.task",
                "train_headlines",
                "HeadlineSettings",
                fit={
                    "epochs": 3,
                    "patience": 3,
                    "learning_rate": 5e-5,
                    "schedule": "linear",
                    "weight_decay": 0.01,
                },
            )
        },
    ),
    "item2vec": TrainableModel(
        "word2vec on the sequences of a user's clicks",
        {
            "mind": Trainer("item2vec.item2vec", "train_item2vec", "Item2VecSettings", fit=None),
            "ratings": Trainer("item2vec.item2vec", "train_item2vec_ratings", "Item2VecSettings", fit=None),
        },
    ),
    "node2vec": TrainableModel(
        "word2vec on biased walks over the graph of co-clicks",
        {
            "mind": Trainer("item2vec.node2vec", "train_node2vec", "Node2VecSettings", fit=None),
            "ratings": Trainer("item2vec.node2vec", "train_node2vec_ratings", "Node2VecSettings", fit=None),
        },
    ),
}
