"""Explanation of an article's place in a user's list: a sentence for each reason and a table of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.events.events import Recommendation, RecommendedArticle
from freshet.models.recommend.explanations import LEAST_COSINE
from freshet.workers.terminal.recommendation_table import age

_LEAST = 0.01
"""Smallest contribution that gets a sentence."""
_MOST = 8
"""Largest number of features with a sentence; the table has the rest."""

_FACTS: Mapping[str, tuple[str, str]] = {
    "dot_first": ("It is close to what {user} read last.", "It is far from what {user} read last."),
    "dot_last": (
        "It is close to what {user} reads in the long run.",
        "It is far from what {user} reads in the long run.",
    ),
    "dot_best": ("It is close to one of {user}'s interests.", "It is far from all of {user}'s interests."),
    "dot_skips": (
        "It is like what {user} was shown and left.",
        "It is unlike what {user} was shown and left.",
    ),
    "dot_by_maturity": (
        "It fits what {user}'s many clicks have shown.",
        "It does not fit what {user}'s many clicks have shown.",
    ),
    "log_ctr_30min": (
        "In the last half hour it was clicked more often than a new article may expect.",
        "In the last half hour it was clicked less often than a new article may expect.",
    ),
    "log_ctr_3h": (
        "In the last hours it was clicked more often than a new article may expect.",
        "In the last hours it was clicked less often than a new article may expect.",
    ),
    "log_ctr_24h": (
        "In the last day it was clicked more often than a new article may expect.",
        "In the last day it was clicked less often than a new article may expect.",
    ),
    "log_ctr_all": (
        "All in all it was clicked more often than a new article may expect.",
        "All in all it was clicked less often than a new article may expect.",
    ),
    "log_lift_30min": (
        "In the last half hour it won more clicks from its rivals than an average article.",
        "In the last half hour it won fewer clicks from its rivals than an average article.",
    ),
    "log_lift_3h": (
        "In the last hours it won more clicks from its rivals than an average article.",
        "In the last hours it won fewer clicks from its rivals than an average article.",
    ),
    "log_lift_24h": (
        "In the last day it won more clicks from its rivals than an average article.",
        "In the last day it won fewer clicks from its rivals than an average article.",
    ),
    "log_lift_all": (
        "All in all it won more clicks from its rivals than an average article.",
        "All in all it won fewer clicks from its rivals than an average article.",
    ),
    "trend": (
        "It is clicked more by the hour than over the day.",
        "It is clicked less by the hour than over the day.",
    ),
    "co_click_by_maturity": ("Readers of what {user} read have read it, too; {user} has read much.", ""),
    "lift_by_maturity": (
        "{user} reads much, and it won more clicks than average.",
        "{user} reads much, and it won fewer clicks than average.",
    ),
    "category_affinity": (
        "{user} reads its category more than others do.",
        "{user} reads its category less than others do.",
    ),
    "subcategory_affinity": (
        "{user} reads its subcategory more than others do.",
        "{user} reads its subcategory less than others do.",
    ),
    "category_lift": (
        "Its category wins more clicks than others.",
        "Its category wins fewer clicks than others.",
    ),
    "slate_rank": (
        "It won more clicks than most of the candidates.",
        "It won fewer clicks than most of the candidates.",
    ),
    "log_age_by_hour": (
        "It is some hours old, and it is night in UTC.",
        "It is some hours old, and it is day in UTC.",
    ),
    "no_vector": ("Its text is not known.", ""),
    "log_impressions": ("It has been shown before.", ""),
    "log_impressions_3h": ("It was shown in the last hours.", ""),
    "log_impressions_30min": ("It was shown in the last half hour.", ""),
    "unseen": ("Nobody was shown it yet.", ""),
    "unclicked": ("Nobody has clicked it yet.", ""),
    "log_age": ("It is some time since it was published.", ""),
    "log_since_shown": ("It is some time since anybody was shown it.", ""),
    "log_since_clicked": ("It is some time since anybody clicked it.", ""),
    "fatigue": ("{user} was shown it before and did not click.", ""),
    "clicked": ("{user} has read it before.", ""),
    "co_click_surprise": ("Readers of what {user} read have read it, too.", ""),
    "co_click_cosine": ("Those who read it are those who read what {user} read.", ""),
}
"""Sentences for a positive and a negative value, by feature."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Answers of the running system about one article for one user."""

    news_id: str
    listed: Recommendation
    """Recommendation that the user would get."""
    pool: Recommendation
    """Longer list of candidates, ranked by score alone."""
    ranking: Recommendation
    """Ranking of the article among the pool, with details: scores within one slate are comparable."""
    because_title: str = ""

    @property
    def item(self) -> RecommendedArticle:
        """Article as ranked."""
        return next(item for item in self.ranking.items if item.news_id == self.news_id)

    @property
    def position(self) -> int | None:
        """Position in the list, from 1; ``None`` if not listed."""
        return next(
            (n for n, item in enumerate(self.listed.items, 1) if item.news_id == self.item.news_id), None
        )

    @property
    def rank(self) -> int:
        """Rank by score among the pool, from 1."""
        return 1 + sum(other.score > self.item.score for other in self.ranking.items)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of the candidate; empty if it was not found."""
        for item in (*self.listed.items, *self.pool.items):
            if item.news_id == self.news_id:
                return item.sources
        return ()

    @property
    def unmet(self) -> tuple[str, ...]:
        """Reasons why rules on this article could not be fulfilled in the list."""
        return tuple(
            f"{unmet.rule}: {unmet.reason}" for unmet in self.listed.unmet if unmet.rule in self.item.rules
        )

    def to_json(self) -> dict[str, Any]:
        """Return the explanation for ``--json``."""
        item = self.item
        return {
            "user": self.listed.user_id,
            "news_id": item.news_id,
            "title": item.title,
            "category": item.category,
            "time": self.listed.time.isoformat(),
            "bundle": self.listed.bundle,
            "ranker": self.listed.ranker,
            "user_clicks": self.listed.user_clicks,
            "position": self.position,
            "listed": len(self.listed.items),
            "score": item.score,
            "rank": self.rank,
            "candidates": len(self.ranking.items),
            "sources": list(self.sources),
            "because": None
            if item.because is None
            else {"news_id": item.because, "title": self.because_title},
            "rules": list(item.rules),
            "unmet": list(self.unmet),
            "features": {
                name: {"value": item.features.get(name, 0.0), "contribution": item.reasons.get(name, 0.0)}
                for name in _features(item)
            },
            "interests": dict(item.interests),
            "sentences": list(sentences(self)),
        }


def explanation_table(explanation: Explanation) -> RenderableType:
    """Lay out the article, its sentences, and the contributions to its score."""
    item, answer = explanation.item, explanation.listed
    old = age(item.published_at, answer.time)
    about = " · ".join(part for part in (item.news_id, item.category, f"{old} old" if old else "") if part)
    said = Table.grid(padding=(0, 1))
    for sentence in sentences(explanation):
        said.add_row("-", Text(sentence))
    numbers = Table("feature", "value", "adds to the score")
    for name in _features(item):
        numbers.add_row(name, f"{item.features.get(name, 0.0):.3f}", f"{item.reasons.get(name, 0.0):+.3f}")
    numbers.add_section()
    numbers.add_row("score", "", f"{item.score:+.3f}")
    for name, term in item.interests.items():
        numbers.add_row(f"of that, {name}", "", f"{term:+.3f}", style="dim")
    return Group(Text(item.title or item.news_id, style="bold"), Text(about, style="dim"), said, numbers)


def sentences(explanation: Explanation) -> Iterator[str]:
    """Say each reason in a sentence: position, sources, the most similar click, features, rules."""
    item, answer = explanation.item, explanation.listed
    user, listed = answer.user_id, len(answer.items)
    if not item.title and item.published_at is None:
        yield f"The worker does not know the article {item.news_id}; it is ranked as an average one."
    if explanation.position is not None:
        yield f"It is number {explanation.position} of {user}'s list of {listed}."
    else:
        yield (
            f"It is not in {user}'s list of {listed}; by score it would be number {explanation.rank} "
            f"among {len(explanation.ranking.items)} candidates."
        )
    if explanation.sources:
        yield f"It was found among: {', '.join(explanation.sources)}."
    else:
        yield "It is not among the candidates: not close enough to an interest, not trending, and not new."
    if not answer.user_clicks:
        yield f"{user} has no clicks yet: this is the population's answer."
    if item.because is not None:
        title = (
            f"“{explanation.because_title}” ({item.because})" if explanation.because_title else item.because
        )
        yield f"Because {user} read {title}, which is similar to it (cosine at least {LEAST_COSINE:g})."
    for name in _features(item)[:_MOST]:
        term = item.reasons.get(name, 0.0)
        if abs(term) >= _LEAST:
            positive, negative = _FACTS.get(name, (f"{name} is positive.", f"{name} is negative."))
            fact = positive if item.features.get(name, 0.0) > 0 else negative
            yield f"{fact.format(user=user)} ({term:+.2f})"
    for rule in item.rules:
        yield f"The editorial rule {rule} applies to it."
    for reason in explanation.unmet:
        yield f"A rule could not be fulfilled: {reason}."


def _features(item: RecommendedArticle) -> list[str]:
    """Order the article's features by their contribution to the score, the largest first."""
    names = {**item.features, **item.reasons}
    return sorted(names, key=lambda name: (-abs(item.reasons.get(name, 0.0)), name))
