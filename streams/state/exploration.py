"""Exploration policy of the settings."""

from __future__ import annotations

from freshet.models.recommend.exploration.linucb import LinUcbExplorer
from freshet.models.recommend.exploration.plackett_luce import PlackettLuceExplorer
from freshet.models.recommend.exploration.policy import Explorer
from freshet.models.recommend.exploration.slots import ExplorationSlots
from freshet.models.recommend.exploration.thompson import ThompsonExplorer
from freshet.streams.settings import Settings


def explorer_of(settings: Settings) -> Explorer | None:
    """A new explorer; ``None`` where exploration is off."""
    if settings.exploration == "none":
        return None
    if settings.exploration == "plackett-luce":
        return PlackettLuceExplorer(settings.exploration_temperature)
    slots = ExplorationSlots(
        budget=settings.exploration_slots,
        max_age_s=settings.exploration_max_age_s,
        max_impressions=settings.exploration_max_impressions,
    )
    if settings.exploration == "thompson":
        return ThompsonExplorer(slots)
    return LinUcbExplorer(slots, settings.exploration_alpha)
