"""Freshness: how soon an article can be recommended, and how soon a click counts."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.panels import Above, Below, Dashboard, NoThreshold, Row, graph, stat
from deploy.dashboards.promql import HOUR, budget_burn, most, per_second, quantile, series, share_within

_ARTICLE = "freshet_published_to_recommendable_seconds"
_CLICK = "freshet_click_to_vector_seconds"
_KNOWN = 'state="known"'
OBJECTIVE = 0.99
"""Of articles recommendable, and of clicks in their user's vector, in time."""

FRESH_SHARE = share_within(2, _ARTICLE)
FRESH_THRESHOLD = Below(OBJECTIVE, 0.95)
VECTOR_SECONDS = quantile(0.99, _CLICK)
BURN = Above(1, 14.4)


def _burn(histogram: str, bound: float) -> str:
    return budget_burn(f"1 - ({share_within(bound, histogram, window=HOUR)})", OBJECTIVE)


FRESHNESS = Dashboard(
    "freshness",
    "freshet / Freshness",
    "How soon an article can be recommended, and how soon a click counts, against the objectives.",
    (
        Row(
            "Objectives",
            (
                stat(
                    "Articles recommendable within 2 s",
                    units.PercentUnit,
                    FRESH_THRESHOLD,
                    "Of the articles embedded in this window, those that were in the index (or, where each "
                    "stream worker has its own, on article-vectors) within 2 s of their record on Kafka; "
                    "100 % where there were none. The objective is 99 %.",
                    FRESH_SHARE,
                    width=6,
                ),
                stat(
                    "Articles: error budget burn, last hour",
                    units.Number,
                    BURN,
                    "How fast late articles use up the 1 % that may be late: at 1 it lasts for the period "
                    "of three days, at 14.4 it is gone in five hours.",
                    _burn(_ARTICLE, 2),
                    width=6,
                ),
                stat(
                    "Clicks in the vector within 1 s",
                    units.PercentUnit,
                    FRESH_THRESHOLD,
                    "Of the clicks handled in this window, those whose user's vector had moved within 1 s "
                    "of their record on Kafka; 100 % where there were none. The objective is 99 %.",
                    share_within(1, _CLICK),
                    width=6,
                ),
                stat(
                    "Clicks: error budget burn, last hour",
                    units.Number,
                    BURN,
                    "How fast late clicks use up the 1 % that may be late: at 1 it lasts for the period of "
                    "three days, at 14.4 it is gone in five hours.",
                    _burn(_CLICK, 1),
                    width=6,
                ),
            ),
        ),
        Row(
            "Articles",
            (
                graph(
                    "From published to recommendable",
                    units.Seconds,
                    Above(2, 10),
                    "From an article's record on Kafka to its vector in the index, or on article-vectors "
                    "where each stream worker has an index of its own. A replay that publishes all articles "
                    "at once makes a hill: the last article waits for all others.",
                    *((quantile(q, _ARTICLE), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)),
                ),
                graph(
                    "Articles made recommendable",
                    units.CountsPerSecond,
                    NoThreshold("as many as are published"),
                    "Articles embedded and written per second.",
                    (per_second(f"{_ARTICLE}_count"), "articles"),
                ),
                graph(
                    "Articles waiting to be embedded",
                    units.Short,
                    Above(100, 1_000),
                    "Records on the topic articles that no embedding worker has done. Add embedding "
                    "workers, or a GPU.",
                    (most("freshet_group_lag_events", 'topic=~".*[.]?articles"', by="topic"), "{{topic}}"),
                ),
                graph(
                    "Articles known",
                    units.Short,
                    NoThreshold("as many as are published"),
                    "Articles in each stream worker's catalog. Workers that differ for long do not read "
                    "article-vectors.",
                    (
                        f"sum by (instance) ({series('freshet_catalog_articles', _KNOWN)})",
                        "{{instance}}",
                    ),
                ),
            ),
        ),
        Row(
            "Clicks",
            (
                graph(
                    "From click to vector",
                    units.Seconds,
                    Above(1, 5),
                    "From a click's record on Kafka to the user's changed vector, which the next request "
                    "uses.",
                    *((quantile(q, _CLICK), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)),
                ),
                graph(
                    "Clicks in vectors",
                    units.CountsPerSecond,
                    NoThreshold("what is much or little depends on the paper and the hour"),
                    "Events with a click that moved their user, per second.",
                    (per_second(f"{_CLICK}_count"), "clicks"),
                ),
            ),
        ),
    ),
)
