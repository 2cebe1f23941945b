"""What the topics say of small experiments."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from freshet.models.events.events import (
    Impression,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.experiments.outcomes import ExperimentLog

NOW = from_unix_s(1_767_000_000.0)


def experiment(*shares: float, **fields: Any) -> Experiment:
    """Variants A, B and so on, by default two halves."""
    variants = tuple(Variant(name=chr(65 + i), share=share) for i, share in enumerate(shares or (0.5, 0.5)))
    defaults = {"salt": "E", "created_at": NOW, "shares_since": NOW, "variants": variants}
    return Experiment.model_validate({"name": "E", **defaults, **fields})


def answer(
    user: str, variant: str | None = "A", request: str = "", name: str = "E", **scores: float
) -> Recommendation:
    """An answer to a user by a variant; scores by news id."""
    items = [RecommendedArticle(news_id=news_id, score=score) for news_id, score in scores.items()]
    return Recommendation(
        request_id=request or f"R-{user}",
        user_id=user,
        time=NOW,
        bundle="b",
        ranker="default-0",
        items=tuple(items),
        experiment=None if variant is None else name,
        variant=variant,
    )


def shown(user: str, *clicked: str, request: str = "", number: int = 0, time: datetime = NOW) -> Impression:
    """Four articles shown to a user after an answer."""
    return Impression(
        impression_id=f"I{number}",
        user_id=user,
        time=time,
        candidates=("N1", "N2", "N3", "N4"),
        clicked=clicked,
        request_id=request or f"R-{user}",
    )


def ranked(user: str, request: str = "") -> RecommendationRequest:
    """A request that names what to rank."""
    return RecommendationRequest(
        request_id=request or f"R-{user}", user_id=user, time=NOW, candidates=("N1", "N2", "N3", "N4")
    )


SCORES = {"N1": 4.0, "N2": 3.0, "N3": 2.0, "N4": 1.0}


def filled(rates: dict[str, float], users: dict[str, int], **fields: Any) -> ExperimentLog:
    """One impression of each of so many users of each variant, who click at these rates."""
    random = np.random.default_rng(8)
    log = ExperimentLog(experiment(**fields))
    for variant, count in users.items():
        for number in range(count):
            user = f"{variant}{number}"
            log.answer(answer(user, variant, **SCORES))
            clicked = tuple(news_id for news_id in SCORES if random.random() < rates[variant])
            log.impression(shown(user, *clicked, time=NOW + timedelta(seconds=number)))
    return log
