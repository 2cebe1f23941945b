"""Result of training: all of a bundle except its name, its data and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freshet.models.embedding.bundle import EncoderSpec, TowerSpec, UserSpec, Weights


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, by the names of :mod:`freshet.models.embedding.bundle`."""

    model: str
    d: int
    tower: TowerSpec
    user: UserSpec
    weights: Weights
    examples: int
    """Number of examples of one epoch."""
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that decided the result, as JSON, without the seed."""
    curve: tuple[dict[str, float], ...] = ()
    """Figures of each epoch."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures of the epoch that was kept, on the validation slice."""
    ranker_weights: Mapping[str, float] | None = None
    encoder: EncoderSpec | None = None
    """Text encoder, where training chose or tuned it itself."""
    tuned_encoder: Path | None = None
    """Folder with a tuned text encoder, which moves into the bundle."""
