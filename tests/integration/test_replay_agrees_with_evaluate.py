"""The live system ranks as ``freshet evaluate`` says: the same scores, up to the delay of its feedback.

Both run the same code on the same events. Live, an impression is known a little later: its statistics when
they have gone through ``slate-batches``, its weights when ``ranker-weights`` is published next (every 2 s),
and a replay has asked about as many more as its window holds. So two promises are tested:

- once an impression's feedback has arrived, live scores are equal to ``SCORE_TOLERANCE``;
- a replay, which waits for nothing but answers, orders few pairs of candidates otherwise than the evaluation:
  far fewer than a system without any feedback does.

One thing is known at other moments in both: the rates of categories, which are worked out anew once in an
hour of event time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.mind import behaviors_line, news_line
from freshet.models.evaluation import prequential
from freshet.models.evaluation.prequential import PrequentialEvaluation, RankedImpression
from freshet.models.evaluation.ranking_metrics import RankingScores
from freshet.models.events.events import (
    Article,
    ArticleVector,
    Impression,
    Recommendation,
    RecommendationRequest,
    from_unix_s,
    to_unix_s,
)
from freshet.models.ranking.online_ranker import OnlineRanker
from freshet.models.users.pooling import Pooling
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayOptions
from freshet.workers.replay.run import replay
from tests.integration.stream_harness import (
    START_S,
    events_on,
    keyed,
    send,
    stream_process,
    vectors,
    wait_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

ARTICLES, ANNOUNCED, USERS = 40, 30, 5
DIMENSION = 16
SCORE_TOLERANCE = 1e-5
"""Features are float32, of unit size, and sums of them are taken in another order."""
IN_STEP, REPLAYED = 20, 400

Scores = Mapping[str, float]


def stream(n: int, step_s: float) -> list[Impression]:
    """Slates of 6 of 40 articles, a quarter of them never announced; what is popular moves with time."""
    random = np.random.default_rng(4)
    impressions = []
    for i in range(n):
        slate = random.choice(ARTICLES, 6, replace=False)
        near = np.abs(slate - ARTICLES * i / n)
        clicked = random.random(6) < 0.6 * np.exp(-near / 4.0)
        clicked[np.argmin(near)] |= i % 4 > 0
        impressions.append(
            Impression(
                impression_id=f"I{i}",
                user_id=f"U{random.integers(USERS)}",
                time=from_unix_s(START_S + step_s * i),
                candidates=tuple(f"N{k}" for k in slate),
                clicked=tuple(f"N{k}" for k in slate[clicked]),
                history=("N1", "N2") if i % USERS else (),
            )
        )
    return impressions


def evaluated(
    articles: list[ArticleVector], impressions: list[Impression], *, fed: bool = True
) -> list[Scores]:
    """What ``freshet evaluate`` gives that knows what the worker knows, and is ``fed`` clicks or is not."""
    catalog = ArticleCatalog(DIMENSION)
    for article in articles:
        published_s = to_unix_s(article.published_at)
        catalog.put_article(article.news_id, article.vector, published_s, article.title, article.category)
    served = Settings()
    pooling = Pooling(
        DIMENSION,
        served.half_lives_s,
        served.negative_half_life_s,
        served.prior_weight,
        served.max_recent_clicks,
        served.max_exposures,
    )
    ranked: list[Scores] = []

    def on_ranked(found: RankedImpression) -> None:
        ranked.append(dict(zip(found.ids, found.ranker.tolist(), strict=True)))

    delay_s = 0.0 if fed else 1e9
    evaluating = PrequentialEvaluation(
        catalog, pooling, OnlineRanker(), feedback_delay_s=delay_s, on_ranked=on_ranked
    )
    for impression in impressions:
        evaluating.add_impression(impression)
    return ranked


def scores_of(answer: Recommendation) -> Scores:
    return {item.news_id: item.score for item in answer.items}


def agree(live: Scores, offline: Scores) -> bool:
    return live.keys() == offline.keys() and all(
        abs(live[news_id] - offline[news_id]) <= SCORE_TOLERANCE for news_id in live
    )


def otherwise_ordered(one: Scores, other: Scores) -> float:
    """The share of pairs of candidates in another order, a tie counting one half."""
    pairs = list(combinations(sorted(one), 2))
    return sum(abs(np.sign(one[a] - one[b]) - np.sign(other[a] - other[b])) / 2.0 for a, b in pairs) / len(
        pairs
    )


@pytest.fixture
def world(settings: Settings) -> tuple[Settings, list[ArticleVector]]:
    """Topics with articles on them."""
    settings = settings.model_copy(update={"dimension": DIMENSION})
    ensure_topics(settings)
    articles = vectors(settings, ANNOUNCED)
    asyncio.run(send(settings, [keyed("article-vectors", a, a.key) for a in articles]))
    return settings, articles


async def test_scores_are_those_of_evaluate_once_feedback_has_arrived(
    world: tuple[Settings, list[ArticleVector]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, articles = world
    # Live, the mean of what is clicked is taken anew every second, here of a test, there of event time.
    monkeypatch.setattr(prequential, "POPULATION_INTERVAL_S", 0.0)
    impressions = stream(IN_STEP, step_s=60.0)
    offline = evaluated(articles, impressions)

    with stream_process(settings, tmp_path / "worker") as worker, Freshet(settings) as client:
        revision = ""
        for i, (impression, expected) in enumerate(zip(impressions, offline, strict=True)):

            async def answer(
                impression: Impression = impression, expected: Scores = expected, i: int = i
            ) -> Recommendation | None:
                asked = RecommendationRequest(
                    request_id=f"R{i}-{np.random.default_rng().integers(1 << 60)}",
                    user_id=impression.user_id,
                    time=impression.time,
                    candidates=impression.candidates[::-1],
                    history=impression.history,
                )
                found = await asyncio.to_thread(client.request, asked, HANG_S)
                return found if agree(scores_of(found), expected) else None

            found = await wait_for(answer, f"the answer to impression {i} that evaluate gives", [worker])
            revision = found.ranker
            shown = impression.model_copy(update={"request_id": found.request_id})
            await send(settings, [keyed("impressions", shown, shown.user_id)])
        learnable = sum(0 < len(one.clicked) < len(one.candidates) for one in impressions[:-1])
        assert revision == f"default-{learnable}", "the weights have learned from every impression"


def mind_folder(folder: Path, impressions: list[Impression]) -> Path:
    folder.mkdir()
    article = Article(news_id="N0", published_at=from_unix_s(START_S), title="Article 0")
    (folder / "news.tsv").write_text(news_line(article))
    (folder / "behaviors.tsv").write_text("".join(map(behaviors_line, impressions)))
    return folder


def mean_auc(impressions: list[Impression], ranked: list[Scores]) -> float:
    measured = RankingScores()
    for impression, scores in zip(impressions, ranked, strict=True):
        ids = list(scores)
        measured.add_impression(
            [news_id in impression.clicked for news_id in ids], [scores[news_id] for news_id in ids]
        )
    return measured.report(resamples=1).auc


async def test_a_replay_ranks_as_evaluate_does_but_for_its_delay(
    world: tuple[Settings, list[ArticleVector]], tmp_path: Path
) -> None:
    settings, articles = world
    impressions = stream(REPLAYED, step_s=60.0)
    offline, unfed = evaluated(articles, impressions), evaluated(articles, impressions, fed=False)
    with stream_process(settings, tmp_path / "worker"):
        options = ReplayOptions(score=True, window=1, wait_for_vectors=False, answer_timeout_s=HANG_S)
        report = await asyncio.to_thread(
            replay, settings, mind_folder(tmp_path / "mind", impressions), options
        )
    assert report.score is not None
    assert report.score.unanswered == 0

    answers = await events_on(settings, "recommendations", Recommendation)
    numbered = {int(answer.request_id.rsplit("-", 1)[1]): answer for answer in answers}
    live = [scores_of(numbered[i]) for i in range(REPLAYED)]
    late = np.mean([otherwise_ordered(*pair) for pair in zip(live, offline, strict=True)])
    never = np.mean([otherwise_ordered(*pair) for pair in zip(unfed, offline, strict=True)])
    figures = f"{late:.3f} of the pairs in another order, without feedback {never:.3f}"
    assert late < never / 3.0, figures
    auc = mean_auc(impressions, live), mean_auc(impressions, offline), mean_auc(impressions, unfed)
    assert abs(auc[0] - auc[1]) < (auc[1] - auc[2]) / 3.0, auc
