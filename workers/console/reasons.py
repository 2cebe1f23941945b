"""Explains an answer on the console's page: each article with the reasons for it, in words and numbers.

The words say no more than a contribution to the score does: a feature speaks for an article or against it.
Contributions are summed by subject; each subject lists its features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from freshet.models.events.events import Recommendation, RecommendedArticle
from freshet.models.recommend.candidates import BURST, EXPLORATION, NEWEST, PINNED, QUOTA, REQUEST, TRENDING
from freshet.workers.terminal.recommendation_table import subject_of

_LEAST = 0.005
"""Smallest contribution of a subject that is shown."""

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "interest": ("Close to what you read", "Far from what you read"),
    "like skipped": ("Unlike what you passed over", "Like what you passed over"),
    "popularity": ("Popular with readers", "Not popular with readers"),
    "rising": ("Readers are turning to it", "Readers are turning away from it"),
    "age": ("Its age speaks for it", "Its age speaks against it"),
    "last shown": ("When it was last shown speaks for it", "When it was last shown speaks against it"),
    "last clicked": ("When it was last clicked speaks for it", "When it was last clicked speaks against it"),
    "never shown": ("Nobody has been shown it yet", "Nobody has been shown it yet"),
    "never clicked": ("Nobody has clicked it yet", "Nobody has clicked it yet"),
    "text unknown": ("Its text is not known", "Its text is not known"),
    "shown before": ("You were shown it before", "You were shown it before"),
    "read before": ("You have read it before", "You have read it before"),
    "like readers": ("Readers of what you read read it too", "Readers of what you read left it"),
    "topic": ("You read its topic more than others do", "You read its topic less than others do"),
    "topic's popularity": ("Its topic is clicked a lot now", "Its topic is clicked little now"),
}
"""Sentences for a positive and a negative contribution, by subject."""
_OF_STRANGERS: Mapping[str, tuple[str, str]] = {
    "interest": ("Close to what readers like", "Far from what readers like"),
}
"""Sentences for a user without clicks, whose vector is the population's."""

_SOURCES: Mapping[str, str] = {
    TRENDING: "trending",
    NEWEST: "newest",
    REQUEST: "asked for",
    EXPLORATION: "explored",
    BURST: "a burst of clicks",
    PINNED: "pinned",
    QUOTA: "an editorial quota",
    "population": "what readers like",
}
"""Sources of candidates. Any other source is a head of the user's, named by its half-life."""


def answer_json(answer: Recommendation, title_of: Callable[[str], str]) -> dict[str, Any]:
    """Convert an answer, with its explanations, for the page.

    Args:
        answer: Recommendation with details.
        title_of: Function from a news id to its title.
    """
    return {
        "request_id": answer.request_id,
        "user_id": answer.user_id,
        "time_s": answer.time.timestamp(),
        "bundle": answer.bundle,
        "ranker": answer.ranker,
        "user_clicks": answer.user_clicks,
        "degraded": answer.degraded,
        "experiment": answer.experiment,
        "variant": answer.variant,
        "unmet": [f"{unmet.rule}: {unmet.reason}" for unmet in answer.unmet],
        "items": [_item(item, title_of, known=answer.user_clicks > 0) for item in answer.items],
    }


def _item(item: RecommendedArticle, title_of: Callable[[str], str], *, known: bool) -> dict[str, Any]:
    return {
        "news_id": item.news_id,
        "title": item.title,
        "category": item.category,
        "published_at_s": None if item.published_at is None else item.published_at.timestamp(),
        "score": item.score,
        "sources": [_SOURCES.get(source, f"your interests ({source})") for source in item.sources],
        "because": None
        if item.because is None
        else {"news_id": item.because, "title": title_of(item.because)},
        "rules": list(item.rules),
        "propensity": item.propensity,
        "why": _why(item, known=known),
    }


def _why(item: RecommendedArticle, *, known: bool) -> list[dict[str, Any]]:
    """List the contributions to the score by subject, the largest first."""
    of_subject: defaultdict[str, list[str]] = defaultdict(list)
    for feature in item.reasons:
        of_subject[subject_of(feature)].append(feature)
    effects = {
        subject: sum(item.reasons[feature] for feature in features)
        for subject, features in of_subject.items()
    }
    return [
        {
            "subject": subject,
            "effect": effects[subject],
            "sentence": _sentence(subject, effects[subject], known=known),
            "features": [
                {"name": name, "value": item.features.get(name, 0.0), "effect": item.reasons[name]}
                for name in sorted(of_subject[subject], key=lambda name: -abs(item.reasons[name]))
            ],
        }
        for subject in sorted(effects, key=lambda subject: (-abs(effects[subject]), subject))
        if abs(effects[subject]) >= _LEAST
    ]


def _sentence(subject: str, effect: float, *, known: bool) -> str:
    sentences = _SENTENCES if known else {**_SENTENCES, **_OF_STRANGERS}
    positive, negative = sentences.get(subject, (f"{subject} speaks for it", f"{subject} speaks against it"))
    return positive if effect > 0 else negative
