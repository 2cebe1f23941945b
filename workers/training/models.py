"""Models of ``freshet train``: their training functions, settings, data and one-line summaries.

Modules are named as text and loaded when a model is used: torch takes seconds to load, and is an extra.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any, Literal

from freshet.workers.errors import WorkerError

DataKind = Literal["mind", "ratings", "headlines"]
_WITHOUT_GENSIM = (3, 14)


@dataclass(frozen=True)
class Trainer:
    """Training of one model on one kind of data."""

    function: str
    """Function that trains, as ``module:name`` below ``freshet.models.training``."""
    settings: str
    """Dataclass of the settings, as ``module:name``."""
    fit: Mapping[str, Any] | None = field(default_factory=dict)
    """Defaults of :class:`~freshet.models.training.loop.FitSettings` for this model; ``None`` where the model
    has a loop of its own and takes a seed instead."""
    random_split: bool = False
    """Whether ratings are split at random, as rating prediction is measured, instead of in time."""

    def load_function(self) -> Callable[..., Any]:
        """Import the function that trains."""
        function: Callable[..., Any] = _loaded(self.function)
        return function

    def load_settings(self) -> type[Any]:
        """Import the dataclass of the settings."""
        settings: type[Any] = _loaded(self.settings)
        return settings


def _loaded(name: str) -> Any:
    try:
        return resolve_name(f"freshet.models.training.{name}")
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
    """Model that ``freshet train`` trains."""

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
                "towers.content_tower:train_content_tower",
                "towers.content_tower:ContentTowerSettings",
                fit={"epochs": 20, "patience": 4},
            )
        },
        text=True,
    ),
    "mf": TrainableModel(
        "matrix factorization by ids, with or without biases",
        {
            "mind": Trainer(
                "factorization.matrix_factorization:train_matrix_factorization",
                "factorization.matrix_factorization:MatrixFactorizationSettings",
                fit={"learning_rate": 0.005},
            ),
            "ratings": Trainer(
                "ratings.factorization:train_matrix_factorization_ratings",
                "ratings.factorization:RatingFactorizationSettings",
                fit={"epochs": 40, "patience": 4, "learning_rate": 0.005},
                random_split=True,
            ),
        },
    ),
    "two-tower": TrainableModel(
        "the plain dot product of two tables, as published for MovieLens",
        {
            "ratings": Trainer(
                "ratings.task:train_ratings",
                "ratings.two_tower:TwoTowerSettings",
                fit={"epochs": 30, "patience": 30},
            )
        },
    ),
    "dssm": TrainableModel(
        "two towers of features, cosine, sampled softmax",
        {
            "mind": Trainer(
                "towers.click_towers:train_click_towers",
                "towers.dssm:DssmSettings",
                fit={"epochs": 20, "patience": 3},
            ),
            "ratings": Trainer(
                "ratings.task:train_ratings",
                "ratings.dssm:DssmRatingSettings",
                fit={"epochs": 3, "patience": 3, "learning_rate": 2e-3, "weight_decay": 1e-5},
            ),
        },
        text=True,
    ),
    "youtube-dnn": TrainableModel(
        "history averaged or attended to, weighted logistic loss",
        {
            "mind": Trainer(
                "towers.click_towers:train_click_towers", "towers.youtube_dnn:YoutubeDnnSettings"
            ),
            "ratings": Trainer(
                "ratings.task:train_ratings",
                "ratings.youtube_dnn:YoutubeDnnRatingSettings",
                fit={"epochs": 3, "patience": 3, "weight_decay": 1e-5},
            ),
        },
        text=True,
    ),
    "headlines": TrainableModel(
        "which headline of a test is clicked, from its text",
        {
            "headlines": Trainer(
                "headlines.task:train_headlines",
                "headlines.task:HeadlineSettings",
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
            "mind": Trainer(
                "item2vec.item2vec:train_item2vec", "item2vec.item2vec:Item2VecSettings", fit=None
            ),
            "ratings": Trainer(
                "item2vec.item2vec:train_item2vec_ratings", "item2vec.item2vec:Item2VecSettings", fit=None
            ),
        },
    ),
    "node2vec": TrainableModel(
        "word2vec on biased walks over the graph of co-clicks",
        {
            "mind": Trainer(
                "item2vec.node2vec:train_node2vec", "item2vec.node2vec:Node2VecSettings", fit=None
            ),
            "ratings": Trainer(
                "item2vec.node2vec:train_node2vec_ratings", "item2vec.node2vec:Node2VecSettings", fit=None
            ),
        },
    ),
}
