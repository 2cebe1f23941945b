"""The models that ``freshet train`` knows: where each is, what it trains on, and in one line what it is.

Modules are named as text and loaded when a model is used: torch takes seconds to load, and is an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from freshet.workers.errors import WorkerError

DataKind = Literal["mind", "ratings", "headlines"]


@dataclass(frozen=True)
class TrainableModel:
    """One model's modules and functions."""

    summary: str
    module: str
    """Below ``freshet.models``."""
    trainers: Mapping[DataKind, tuple[str, str]]
    """By kind of data, the function that trains and the class of its settings."""
    text: bool = False
    """Whether MIND's texts are needed as vectors, unless the settings say ``use_text=false``."""
    random_split: bool = False
    """Whether ratings are split at random, as rating prediction is measured, instead of in time."""

    fit: Mapping[DataKind, Mapping[str, Any]] = field(default_factory=dict)
    """Where they are not the usual ones: epochs, patience, learning rate and so on."""

    def trainer(self, kind: DataKind) -> Callable[..., Any]:
        """The function that trains on data of ``kind``."""
        function: Callable[..., Any] = getattr(self._loaded(), self.trainers[kind][0])
        return function

    def settings(self, kind: DataKind) -> type[Any]:
        """The dataclass of the settings for data of ``kind``."""
        settings: type[Any] = getattr(self._loaded(), self.trainers[kind][1])
        return settings

    def uses_text(self, settings: object) -> bool:
        """Whether ``settings`` need text vectors."""
        return self.text and bool(getattr(settings, "use_text", True))

    def _loaded(self) -> Any:
        try:
            return import_module(f"freshet.models.{self.module}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("freshet"):
                raise
            raise WorkerError(
                f"training needs {error.name}, which is not installed: pip install 'freshet[embed,train]'"
            ) from error


MODELS: Mapping[str, TrainableModel] = {}
