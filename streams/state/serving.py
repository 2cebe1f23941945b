"""What a bundle changes in a stream worker: whose vectors it takes, how it pools clicks, how it ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from freshet.models.embedding.bundle import Bundle
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.pooling import Pooling
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import DEFAULT

NO_BUNDLE = "none"
"""The bundle of states made before any article vector was known; they are rebuilt when one is."""


@dataclass(frozen=True)
class Serving:
    """How to serve one bundle, or vectors of no trained one."""

    bundle: str | None
    """Whose vectors to serve; unset: those of the first vector on the topic that is not of ``others``."""
    pooling: Pooling
    ranker: LinearRanker
    others: frozenset[str] = frozenset()
    """Trained bundles, which this is not about to serve."""

    @property
    def model(self) -> str:
        """Whose weights of the ranker to serve, by their name on ``ranker-weights``."""
        return DEFAULT if self.bundle is None else self.bundle

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self.pooling.d

    @classmethod
    def untrained(cls, settings: Settings, others: frozenset[str] = frozenset()) -> Self:
        """Vectors of no trained bundle, pooled as ``settings`` say and ranked by the default weights."""
        return cls(None, pooling(settings), LinearRanker(), others)

    @classmethod
    def of_bundle(cls, bundle: Bundle, settings: Settings) -> Self:
        """A trained bundle; of ``settings`` only the bounds of a user's state count.

        Raises:
            BundleError: The bundle's weights do not fit its manifest.
            ValueError: Its ranker has a weight for something that is no feature.
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
    """How ``settings`` pool clicks into user vectors while no bundle is known."""
    return Pooling(
        d=settings.dimension,
        half_lives_s=settings.half_lives_s,
        negative_half_life_s=settings.negative_half_life_s,
        prior_weight=settings.prior_weight,
        max_recent_clicks=settings.max_recent_clicks,
        max_exposures=settings.max_exposures,
        bundle=NO_BUNDLE,
    )
