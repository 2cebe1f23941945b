"""What training gives: all of a bundle but its name, its data and its folder."""

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
    """Examples of one epoch."""
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All that decided the result, the seed apart; JSON."""
    curve: tuple[dict[str, float], ...] = ()
    """One entry for each epoch."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Of the epoch that was kept, on the validation slice."""
    ranker_weights: Mapping[str, float] | None = None
    encoder: EncoderSpec | None = None
    """Set where the tower uses text."""
    tuned_encoder: Path | None = None
    """A folder with a tuned text encoder, which moves into the bundle."""
