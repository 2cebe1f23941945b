"""The exploration policy that the settings name."""

from __future__ import annotations

from freshet.models.exploration import Explorer
from freshet.models.exploration_slots import ExplorationSlots
from freshet.models.linucb import LinUcbExplorer
from freshet.models.plackett_luce import PlackettLuceExplorer
from freshet.models.thompson import ThompsonExplorer
from freshet.streams.settings import Settings


def explorer_of(settings: Settings) -> Explorer | None:
    """A new explorer; ``None`` where the best are shown, whatever is known of the others."""
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
