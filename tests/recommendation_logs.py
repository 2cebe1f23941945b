"""A small newspaper that serves drawn lists and writes the log of them; what each list is worth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.mind import behaviors_line, news_line
from freshet.models.evaluation.prequential import PrequentialEvaluation
from freshet.models.events.events import (
    Article,
    Impression,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.exploration.plackett_luce import plackett_luce_order, plackett_luce_propensities
from freshet.models.users.pooling import Pooling

START_S = 1_767_600_000
LINEAR = LinearRanker()
POOLING = Pooling(
    d=1,
    half_lives_s=(7_200.0,),
    negative_half_life_s=86_400.0,
    prior_weight=1.0,
    max_recent_clicks=50,
    max_exposures=200,
)
IDS = [f"N{number}" for number in range(12)]
CANDIDATES = 8
SHOWN = 4
EXAMINED = np.array([0.9, 0.6, 0.4, 0.25])
ATTRACTION = dict(zip(IDS, np.linspace(0.05, 0.6, len(IDS)), strict=True))


@dataclass
class ServedLists:
    """What was served, list by list."""

    impressions: list[Impression] = field(default_factory=list)
    recommendations: list[Recommendation] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """True clicks of the list that ``judged`` would have shown instead."""


def serve(
    lists: int,
    *,
    seed: int = 0,
    ranker: LinearRanker = LINEAR,
    judged: LinearRanker = LINEAR,
    temperature: float | None = 0.5,
    users: int = 25,
) -> ServedLists:
    """Serve lists drawn from the ranker's scores at a temperature, or by falling score."""
    random = np.random.default_rng(seed)
    catalog, served = ArticleCatalog(1), ServedLists()
    for number, news_id in enumerate(IDS):
        catalog.put_article(news_id, None, START_S - 3_600.0 * (number + 1))
    evaluation = PrequentialEvaluation(catalog, POOLING, ranker)
    for number in range(lists):
        candidates = random.choice(IDS, CANDIDATES, replace=False).tolist()
        visit = Impression(
            impression_id=f"R{number}",
            user_id=f"U{random.integers(users)}",
            time=from_unix_s(float(START_S + 60 * number)),
            candidates=tuple(candidates),
        )
        slate = evaluation.rank(visit, candidates)
        shown, propensities = _drawn(slate, temperature, random)
        instead = np.argsort(-judged.score(slate.features), kind="stable")[:SHOWN]
        served.values.append(float(_attraction(slate, instead) @ EXAMINED))
        clicked = random.random(SHOWN) < _attraction(slate, shown) * EXAMINED
        items = tuple(
            RecommendedArticle(news_id=slate.ids[i], score=float(slate.scores[i]), propensity=float(p))
            for i, p in zip(shown, propensities, strict=True)
        )
        served.recommendations.append(
            Recommendation(
                request_id=visit.impression_id,
                user_id=visit.user_id,
                time=visit.time,
                bundle="ids",
                ranker=ranker.id,
                items=items,
                candidates=visit.candidates,
            )
        )
        ids = tuple(item.news_id for item in items)
        clicks = tuple(ids[i] for i in np.flatnonzero(clicked))
        impression = visit.model_copy(update={"candidates": ids, "clicked": clicks})
        served.impressions.append(impression)
        evaluation.add_impression(impression, measured=False)
    return served


def _attraction(slate: ScoredSlate, positions: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.array([ATTRACTION[slate.ids[i]] for i in positions])


def _drawn(
    slate: ScoredSlate, temperature: float | None, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    if temperature is None:
        return slate.best_first()[:SHOWN], np.ones(SHOWN)
    shown = plackett_luce_order(slate.scores, temperature, random)[:SHOWN]
    return shown, plackett_luce_propensities(slate.scores, temperature, shown)


def write_log(
    folder: Path,
    served: ServedLists,
    *,
    as_events: bool = False,
    change: Callable[[Recommendation], Recommendation] = lambda recommendation: recommendation,
) -> Path:
    """The folder of a log; with ``as_events`` its impressions are in ``impressions.jsonl`` too."""
    folder.mkdir(exist_ok=True)
    articles = [
        Article(news_id=news_id, published_at=from_unix_s(START_S - 3_600.0), title=f"Title {news_id}")
        for news_id in IDS
    ]
    (folder / "news.tsv").write_text("".join(map(news_line, articles)), encoding="utf-8")
    (folder / "published.tsv").write_text(
        "".join(f"{news_id}\t{START_S - 3_600 * (n + 1)}\n" for n, news_id in enumerate(IDS)),
        encoding="utf-8",
    )
    (folder / "behaviors.tsv").write_text("".join(map(behaviors_line, served.impressions)), encoding="utf-8")
    (folder / "recommendations.jsonl").write_bytes(
        b"".join(change(recommendation).to_json() + b"\n" for recommendation in served.recommendations)
    )
    if as_events:
        renamed = [
            impression.model_copy(
                update={"impression_id": f"I{number}", "request_id": impression.impression_id}
            )
            for number, impression in enumerate(served.impressions)
        ]
        (folder / "impressions.jsonl").write_bytes(b"".join(event.to_json() + b"\n" for event in renamed))
    return folder
