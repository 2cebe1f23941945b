"""Why a user would get an article, as people read it: a table of numbers, and a sentence for each reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.events import Recommendation, RecommendedArticle
from freshet.models.explanations import LEAST_COSINE
from freshet.workers.recommendation_table import age

_LEAST = 0.01
"""A contribution below this needs no sentence."""

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "dot_first": ("It is close to what {user} read last.", "It is far from what {user} read last."),
    "dot_last": (
        "It is close to what {user} has read for long.",
        "It is far from what {user} has read for long.",
    ),
    "dot_best": (
        "It is close to one of {user}'s interests.",
        "It is far from all of {user}'s interests.",
    ),
    "dot_skips": (
        "It is unlike what {user} was shown and left.",
        "It is like what {user} was shown and left.",
    ),
    "no_vector": ("Its text is not known.", "Its text is not known."),
    "log_ctr_30min": (
        "In the last half hour readers clicked it more than a new article would expect.",
        "In the last half hour readers clicked it less than a new article would expect.",
    ),
    "log_ctr_3h": (
        "In the last hours readers clicked it more than a new article would expect.",
        "In the last hours readers clicked it less than a new article would expect.",
    ),
    "log_ctr_24h": (
        "In the last day readers clicked it more than a new article would expect.",
        "In the last day readers clicked it less than a new article would expect.",
    ),
    "log_ctr_all": (
        "All in all readers clicked it more than a new article would expect.",
        "All in all readers clicked it less than a new article would expect.",
    ),
    "log_impressions": ("It was shown often.", "It was shown often."),
    "unseen": ("Nobody was shown it yet.", "Nobody was shown it yet."),
    "log_age": ("Its age speaks for it.", "Its age speaks against it."),
    "fatigue": ("{user} was shown it before.", "{user} was shown it before and did not click."),
    "clicked": ("{user} has read it before.", "{user} has read it before."),
}
"""For a feature that adds to the score, and for one that takes from it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the live system says of one article for one user."""

    item: RecommendedArticle
    """Of a ranking of this article alone, with details."""
    list_: Recommendation
    """What the user would get."""
    pool: Recommendation
    """The best by score alone, as many as a request may ask for."""
    because_title: str = ""

    @property
    def position(self) -> int | None:
        """In the list, from 1; ``None`` if it is not in it."""
        return next(
            (n for n, item in enumerate(self.list_.items, 1) if item.news_id == self.item.news_id), None
        )

    @property
    def rank(self) -> int:
        """By score among the pool, from 1, whether it is one of it or not."""
        others = [item for item in self.pool.items if item.news_id != self.item.news_id]
        return 1 + sum(item.score > self.item.score for item in others)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it was found; empty if it was not."""
        found = next((each for each in self.list_.items if each.news_id == self.item.news_id), None)
        found = found or next((each for each in self.pool.items if each.news_id == self.item.news_id), None)
        return () if found is None else found.sources

    @property
    def unmet(self) -> tuple[str, ...]:
        """Why rules that concern it could not be fulfilled in the list."""
        return tuple(
            f"{unmet.rule}: {unmet.reason}" for unmet in self.list_.unmet if unmet.rule in self.item.rules
        )

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        item = self.item
        return {
            "user": self.list_.user_id,
            "news_id": item.news_id,
            "title": item.title,
            "category": item.category,
            "time": self.list_.time.isoformat(),
            "bundle": self.list_.bundle,
            "ranker": self.list_.ranker,
            "user_clicks": self.list_.user_clicks,
            "position": self.position,
            "listed": len(self.list_.items),
            "score": item.score,
            "rank": self.rank,
            "candidates": len(self.pool.items),
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
    """The article, its sentences, and what its score is made of."""
    item, answer = explanation.item, explanation.list_
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
    """One for each reason: the place, where it was found, the click that it is like, features, rules."""
    item, answer, user = explanation.item, explanation.list_, explanation.list_.user_id
    if not item.title and item.published_at is None:
        yield f"The worker knows no article {item.news_id}; it is ranked as an average one."
    listed = len(answer.items)
    if explanation.position is not None:
        yield f"It is number {explanation.position} of {user}'s list of {listed}."
    else:
        yield (
            f"It is not in {user}'s list of {listed}; by score it would be number {explanation.rank} "
            f"among {len(explanation.pool.items)} candidates."
        )
    if explanation.sources:
        yield f"It was found among: {', '.join(explanation.sources)}."
    else:
        yield "It is not among the candidates: neither near enough to an interest, nor trending, nor new."
    if not answer.user_clicks:
        yield f"Nothing is known of what {user} reads: this is the population's answer."
    if item.because is not None:
        title = (
            f"“{explanation.because_title}” ({item.because})" if explanation.because_title else item.because
        )
        yield f"Because {user} read {title}, which is like it (cosine at least {LEAST_COSINE:g})."
    for name in _features(item):
        term = item.reasons.get(name, 0.0)
        if abs(term) >= _LEAST:
            good, bad = _SENTENCES.get(name, (f"{name} speaks for it.", f"{name} speaks against it."))
            yield f"{(good if term > 0 else bad).format(user=user)} ({term:+.2f})"
    for rule in item.rules:
        yield f"The editorial rule {rule} concerns it."
    for reason in explanation.unmet:
        yield f"A rule could not be fulfilled: {reason}."


def _features(item: RecommendedArticle) -> list[str]:
    """What is known of the article, what moves the score most first."""
    names = {**item.features, **item.reasons}
    return sorted(names, key=lambda name: (-abs(item.reasons.get(name, 0.0)), name))
