"""Ranker and pooling that the workers use with a bundle, or without one."""

from __future__ import annotations

from freshet.models.embedding.bundle import Bundle
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.pooling import Pooling
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError


def served_ranker(bundle: Bundle | None) -> LinearRanker:
    """Return the bundle's ranker; the default one without a bundle, or if the bundle has none.

    Raises:
        WorkerError: The bundle's ranker weights are invalid.
    """
    if bundle is None or bundle.manifest.ranker_weights is None:
        return LinearRanker()
    try:
        return LinearRanker(bundle.manifest.ranker_weights, bundle.manifest.name)
    except ValueError as error:
        raise WorkerError(f"{bundle.folder}: {error}") from error


def served_pooling(bundle: Bundle | None, settings: Settings) -> Pooling:
    """Return the pooling of user states; a pooling of one dimension without a bundle."""
    recent, shown = settings.max_recent_clicks, settings.max_exposures
    if bundle is not None:
        return Pooling.of_bundle(bundle, max_recent_clicks=recent, max_exposures=shown)
    return Pooling(
        1, settings.half_lives_s, settings.negative_half_life_s, settings.prior_weight, recent, shown
    )
