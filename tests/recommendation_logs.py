"""A small newspaper that serves drawn lists and writes the log of them; what each list is worth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freshet.models.catalog import ArticleCatalog
from freshet.models.events import (
    Article,
    Impression,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.mind import behaviors_line, news_line
from freshet.models.plackett_luce import plackett_luce_order, plackett_luce_propensities
from freshet.models.pooling import Pooling
from freshet.models.prequential import POPULATION_INTERVAL_S
from freshet.models.ranking import LinearRanker
from freshet.models.scored_slate import ScoredSlate, score_slate
from freshet.models.user_state import UserState
from freshet.models.user_view import UserView

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
    catalog, states, served = ArticleCatalog(1), {}, ServedLists()
    for number, news_id in enumerate(IDS):
        catalog.put_article(news_id, None, START_S - 3_600.0 * (number + 1))
    population, due_s = np.zeros(1, np.float32), -np.inf
    for number in range(lists):
        now_s = float(START_S + 60 * number)
        user_id = f"U{random.integers(users)}"
        state = states.setdefault(user_id, UserState.empty(POOLING))
        if now_s >= due_s:
            population, due_s = catalog.population(now_s), now_s + POPULATION_INTERVAL_S
        view = UserView.of(state, now_s, population, POOLING)
        candidates = random.choice(IDS, CANDIDATES, replace=False).tolist()
        slate = score_slate(candidates, view, catalog, ranker, now_s)
        shown, propensities = _drawn(slate, temperature, random)
        other = score_slate(candidates, view, catalog, judged, now_s)
        instead = [ATTRACTION[other.ids[i]] for i in other.best_first()[:SHOWN]]
        served.values.append(float(instead @ EXAMINED))
        ids = [slate.ids[i] for i in shown]
        chances = np.array([ATTRACTION[news_id] for news_id in ids]) * EXAMINED
        clicked = random.random(SHOWN) < chances
        served.recommendations.append(
            Recommendation(
                request_id=f"R{number}",
                user_id=user_id,
                time=from_unix_s(now_s),
                bundle="ids",
                ranker=ranker.id,
                items=tuple(
                    RecommendedArticle(news_id=news_id, score=float(slate.scores[i]), propensity=float(p))
                    for news_id, i, p in zip(ids, shown, propensities, strict=True)
                ),
                candidates=tuple(candidates),
            )
        )
        served.impressions.append(
            Impression(
                impression_id=f"R{number}",
                user_id=user_id,
                time=from_unix_s(now_s),
                candidates=tuple(ids),
                clicked=tuple(ids[i] for i in np.flatnonzero(clicked)),
            )
        )
        state.apply_impression(
            ("impressions", 0, number), now_s, ids, served.impressions[-1].clicked, catalog
        )
        catalog.count_slate(ids, clicked, now_s)
    return served


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
