"""Table of a recommendation: rank, title, id, category, age, score, reasons and sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.events.events import Recommendation, RecommendedArticle

MAX_REASONS = 4

_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("dot_first", "dot_last", "dot_best", "dot_by_maturity"), "interest"),
    "dot_skips": "like skipped",
    **dict.fromkeys(
        (f"log_{ratio}_{span}" for ratio in ("ctr", "lift") for span in ("30min", "3h", "24h", "all")),
        "popularity",
    ),
    **dict.fromkeys(
        ("log_impressions", "log_impressions_3h", "log_impressions_30min", "slate_rank", "lift_by_maturity"),
        "popularity",
    ),
    "trend": "rising",
    **dict.fromkeys(("log_age", "log_age_by_hour"), "age"),
    "log_since_shown": "last shown",
    "log_since_clicked": "last clicked",
    "unseen": "never shown",
    "unclicked": "never clicked",
    "no_vector": "text unknown",
    "fatigue": "shown before",
    "clicked": "read before",
    **dict.fromkeys(("co_click_surprise", "co_click_cosine", "co_click_by_maturity"), "like readers"),
    **dict.fromkeys(("category_affinity", "subcategory_affinity"), "topic"),
    "category_lift": "topic's popularity",
}
"""Subjects of the ranker's features. A feature of another ranker keeps its name."""
_LEAST_REASON = 0.01
_MINUTE_S = 60.0
_HOUR_S = 3_600.0
_DAY_S = 86_400.0


def recommendation_table(recommendation: Recommendation) -> RenderableType:
    """Lay an answer out: its basis, a warning if it is degraded, and two lines for each article."""
    parts: list[RenderableType] = [
        Text(_headline(recommendation), style="bold"),
        Text(f"vectors {recommendation.bundle}, ranker {recommendation.ranker}", style="dim"),
    ]
    if recommendation.degraded is not None:
        served = {
            "cached": "the user's last answer from the cache",
            "trending": "what is trending",
        }[recommendation.degraded]
        parts.append(Text(f"degraded: the index did not answer; served instead: {served}", style="yellow"))
    parts += [Text(f"rule {each.rule}: {each.reason}", style="yellow") for each in recommendation.unmet]
    if not recommendation.items:
        parts.append(Text("No article satisfies the request."))
        return Group(*parts)
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for rank, item in enumerate(recommendation.items, start=1):
        table.add_row(str(rank), Text(item.title or item.news_id))
        table.add_row("", Text(_details(item, recommendation.time), style="dim"))
    return Group(*parts, table)


def subject_of(feature: str) -> str:
    """Name the subject of a ranker's feature; the feature's own name where no subject is known."""
    return _WORDS.get(feature, feature)


def reasons_in_words(item: RecommendedArticle, most: int) -> str:
    """List at most ``most`` contributions to the score, the largest first: ``interest +0.52, age -0.20``."""
    parts: defaultdict[str, float] = defaultdict(float)
    for feature, contribution in item.reasons.items():
        parts[subject_of(feature)] += contribution
    largest = sorted(parts.items(), key=lambda part: (-abs(part[1]), part[0]))[:most]
    return ", ".join(f"{words} {value:+.2f}" for words, value in largest if abs(value) >= _LEAST_REASON)


def age(published_at: datetime | None, at: datetime) -> str:
    """Format the time since publication: ``5 min``, ``3 h``, ``2 d``; empty if unknown."""
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
    return f"{recommendation.user_id} at {recommendation.time:%Y-%m-%d %H:%M:%S} UTC ({rests_on}{pushed})"


def _details(item: RecommendedArticle, at: datetime) -> str:
    old = age(item.published_at, at)
    why = reasons_in_words(item, MAX_REASONS)
    parts = (
        item.news_id if item.title else "",
        item.category,
        f"{old} old" if old else "",
        f"score {item.score:.3f}{': ' if why else ''}{why}",
        f"from {', '.join(item.sources)}" if item.sources else "",
        f"like {item.because}, read before" if item.because else "",
        f"rules {', '.join(item.rules)}" if item.rules else "",
    )
    return " · ".join(part for part in parts if part)
