"""The bundle that a stream worker serves: its vectors, its pooling of clicks and its ranker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from freshet.models.embedding.bundle import Bundle
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.pooling import Pooling
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import DEFAULT

NO_BUNDLE = "none"
"""Bundle id of states made before the first article vector; they are rebuilt when one arrives."""


@dataclass(frozen=True)
class Serving:
    """Configuration for serving one trained bundle, or untrained vectors."""

    bundle: str | None
    """Bundle id; ``None``: the bundle of the first vector on the topic that is not among ``others``."""
    pooling: Pooling
    ranker: LinearRanker
    others: frozenset[str] = frozenset()
    """Ids of trained bundles that must not be served instead."""

    @property
    def model(self) -> str:
        """Name of the ranker's model on ``ranker-weights``."""
        return DEFAULT if self.bundle is None else self.bundle

    @property
    def d(self) -> int:
        """Dimension of the vectors."""
        return self.pooling.d

    @classmethod
    def untrained(cls, settings: Settings, others: frozenset[str] = frozenset()) -> Self:
        """Untrained vectors, pooled as in ``settings`` and ranked by the default weights."""
        return cls(None, pooling(settings), LinearRanker(), others)

    @classmethod
    def of_bundle(cls, bundle: Bundle, settings: Settings) -> Self:
        """A trained bundle; ``settings`` give only the bounds of a user's state.

        Raises:
            BundleError: The bundle's weights do not fit its manifest.
            ValueError: Its ranker has a weight for an unknown feature.
        """
        weights = bundle.manifest.ranker_weights
        return cls(
            bundle.id,
            Pooling.of_bundle(
                bundle,
                max_recent_clicks=settings.max_recent_clicks,
                max_exposures=settings.max_exposures,
            ),
            LinearRanker() if weights is None else LinearRanker(weights, bundle.id),
        )


def pooling(settings: Settings) -> Pooling:
    """Pooling of clicks into user vectors while no bundle is known."""
    return Pooling(
        d=settings.dimension,
        half_lives_s=settings.half_lives_s,
        negative_half_life_s=settings.negative_half_life_s,
        prior_weight=settings.prior_weight,
        max_recent_clicks=settings.max_recent_clicks,
        max_exposures=settings.max_exposures,
        bundle=NO_BUNDLE,
    )
