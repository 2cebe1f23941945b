"""A recommendation as people read it: rank, title, category, age, score, why and from where."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.events import Recommendation, RecommendedArticle

MAX_REASONS = 3

_MINUTE_S = 60.0
_HOUR_S = 3_600.0
_DAY_S = 86_400.0


def recommendation_table(recommendation: Recommendation) -> RenderableType:
    """The whole answer: a line on what it rests on, a warning where it is degraded, and the articles."""
    parts: list[RenderableType] = [Text(_headline(recommendation), style="bold")]
    if recommendation.degraded is not None:
        served = {
            "cached": "the user's last answer from the cache",
            "trending": "what is trending",
        }[recommendation.degraded]
        parts.append(Text(f"degraded: the index did not answer; this is {served}", style="yellow"))
    if not recommendation.items:
        parts.append(Text("No article satisfies the request."))
        return Group(*parts)
    table = Table()
    table.add_column("#", justify="right")
    table.add_column("title", ratio=1)
    table.add_column("category")
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("reasons")
    table.add_column("sources")
    for rank, item in enumerate(recommendation.items, start=1):
        table.add_row(
            str(rank),
            Text(item.title or item.news_id),
            Text(item.category),
            age(item.published_at, recommendation.time),
            f"{item.score:.3f}",
            Text(top_reasons(item)),
            Text(", ".join(item.sources)),
        )
    return Group(*parts, table)


def top_reasons(item: RecommendedArticle) -> str:
    """The features that moved the score the most, either way: ``dot_best +1.25, log_age -0.40``."""
    largest = sorted(item.reasons.items(), key=lambda reason: (-abs(reason[1]), reason[0]))[:MAX_REASONS]
    return ", ".join(f"{name} {value:+.2f}" for name, value in largest if value)


def age(published_at: datetime | None, at: datetime) -> str:
    """Time since publication in its largest unit: ``5 min``, ``3 h``, ``2 d``; empty if unknown."""
    if published_at is None:
        return ""
    age_s = (at - published_at).total_seconds()
    if age_s < _HOUR_S:
        return f"{age_s / _MINUTE_S:.0f} min"
    return f"{age_s / _HOUR_S:.0f} h" if age_s < 2 * _DAY_S else f"{age_s / _DAY_S:.0f} d"


def _headline(recommendation: Recommendation) -> str:
    clicks = recommendation.user_clicks
    rests_on = (
        f"{clicks} click{'s' if clicks != 1 else ''}" if clicks else "no clicks: the population's answer"
    )
    pushed = ", pushed" if recommendation.pushed else ""
    return (
        f"{recommendation.user_id} at {recommendation.time:%Y-%m-%d %H:%M:%S} UTC ({rests_on}{pushed}; "
        f"vectors {recommendation.bundle}, ranker {recommendation.ranker})"
    )
