"""The evaluation ranks with the code that serves, and nothing of the future reaches a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.articles.counts import ArticleCounts
from freshet.models.articles.trending import population_vector
from freshet.models.evaluation import prequential
from freshet.models.evaluation.baselines import CtrBaseline, random_scores
from freshet.models.evaluation.prequential import evaluate
from freshet.models.events.events import Impression, RecommendationRequest, from_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.pipeline import recommend
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView

D = 4
START_S = 1_700_000_000.0
POOLING = Pooling(
    d=D,
    half_lives_s=(7_200.0, 604_800.0),
    negative_half_life_s=86_400.0,
    prior_weight=1.0,
    max_recent_clicks=20,
    max_exposures=50,
)
RANKER = LinearRanker()


def catalog() -> ArticleCatalog:
    known = ArticleCatalog(D)
    random = np.random.default_rng(2)
    for i in range(20):
        known.put_article(f"N{i}", random.normal(size=D).astype(np.float32), START_S - 3_600 * i)
    return known


def stream(n: int, seed: int = 0) -> list[Impression]:
    """Slates of 6 among 25 articles, 5 of them never announced; low numbers are clicked most."""
    random = np.random.default_rng(seed)
    impressions = []
    for i in range(n):
        slate = random.choice(25, 6, replace=False)
        clicked = [int(k) for k in slate if random.random() < 0.6 / (1 + k / 3)]
        impressions.append(
            Impression(
                impression_id=f"I{i}",
                user_id=f"U{random.integers(8)}",
                time=from_unix_s(START_S + 60.0 * (i // 2)),
                candidates=tuple(f"N{k}" for k in slate),
                clicked=tuple(f"N{k}" for k in clicked),
                history=("N1", "N2") if i % 3 else (),
            )
        )
    return impressions


@pytest.fixture
def slates(monkeypatch: pytest.MonkeyPatch) -> list[ScoredSlate]:
    """Every slate that the evaluation scores, in order."""
    scored: list[ScoredSlate] = []
    original = prequential.score_slate

    def recorded(*args: Any) -> ScoredSlate:
        slate = original(*args)
        scored.append(slate)
        return slate

    monkeypatch.setattr(prequential, "score_slate", recorded)
    return scored


def scores_of(slates: Sequence[ScoredSlate]) -> list[dict[str, float]]:
    return [dict(zip(slate.ids, slate.scores.tolist(), strict=True)) for slate in slates]


def test_each_impression_is_ranked_as_the_server_would_before_it_is_learned_from(
    slates: list[ScoredSlate],
) -> None:
    impressions = stream(40)
    evaluate(impressions, catalog(), POOLING, RANKER)
    measured = scores_of(slates)

    # The server's way: one count per article, a snapshot of it in the catalog, one state per user.
    served, users, counts = catalog(), dict[str, UserState](), dict[str, ArticleCounts]()
    population, due_s = np.zeros(D, np.float32), -np.inf
    for position, impression in enumerate(impressions):
        now_s = impression.time.timestamp()
        state = users.get(impression.user_id)
        if state is None:
            state = users[impression.user_id] = UserState.empty(POOLING)
            state.seed_history(now_s, impression.history, served)
        if now_s >= due_s:
            population, due_s = population_vector(served, now_s), now_s + prequential.POPULATION_INTERVAL_S
        asked = RecommendationRequest(
            request_id="r", user_id=impression.user_id, time=impression.time, candidates=impression.candidates
        )
        items = recommend(asked, UserView.of(state, now_s, population), served, RANKER, now_s).items
        assert {item.news_id: item.score for item in items} == pytest.approx(measured[position], abs=1e-5)

        source = ("impressions", 0, position)
        state.apply_impression(
            source, now_s, impression.candidates, impression.clicked, served, history=impression.history
        )
        for news_id in impression.candidates:
            article = counts.setdefault(news_id, ArticleCounts())
            article.apply(source, now_s, 1, int(news_id in impression.clicked))
            served.put_stats(news_id, now_s, *article.at(now_s), article.first_seen_s)


@given(st.integers(0, 29), st.integers(0, 5))
@settings(max_examples=20)
def test_a_later_event_changes_nothing_before_it(position: int, seed: int) -> None:
    first, second = stream(30, seed), stream(30, seed)
    changed = second[position]
    second[position] = changed.model_copy(
        update={"clicked": tuple(set(changed.candidates) - set(changed.clicked))}
    )

    def scores(impressions: list[Impression]) -> list[dict[str, float]]:
        with pytest.MonkeyPatch.context() as patch:
            scored: list[ScoredSlate] = []
            original = prequential.score_slate

            def recorded(*args: Any) -> ScoredSlate:
                scored.append(original(*args))
                return scored[-1]

            patch.setattr(prequential, "score_slate", recorded)
            evaluate(impressions, catalog(), POOLING, RANKER)
        return scores_of(scored)

    one, other = scores(first), scores(second)
    # Up to and including the changed impression: its own labels are not seen either.
    assert one[: position + 1] == other[: position + 1]


def test_the_order_of_candidates_changes_nothing() -> None:
    impressions = stream(60)
    turned = [
        impression.model_copy(update={"candidates": impression.candidates[::-1]})
        for impression in impressions
    ]
    clicked_first = [
        impression.model_copy(
            update={
                "candidates": tuple(
                    sorted(impression.candidates, key=lambda news_id: news_id not in impression.clicked)
                )
            }
        )
        for impression in impressions
    ]

    report = evaluate(impressions, catalog(), POOLING, RANKER)

    for reordered in (turned, clicked_first):
        other = evaluate(reordered, catalog(), POOLING, RANKER)
        for one, two in (
            (report.ranker, other.ranker),
            (report.click_through_rate, other.click_through_rate),
            (report.random, other.random),
        ):
            assert one.auc == pytest.approx(two.auc, abs=1e-6)


def test_what_was_learned_ranks_better_than_chance() -> None:
    report = evaluate(stream(600), catalog(), POOLING, RANKER, warm_up=200)

    assert report.ranker.metrics["auc"].low > 0.55
    assert report.click_through_rate.metrics["auc"].low > 0.55
    assert report.random.metrics["auc"].low < 0.5 < report.random.metrics["auc"].high
    assert report.users == 8
    assert report.ranker.impressions + report.ranker.left_out == 400


def test_the_same_seed_gives_the_same_report() -> None:
    one, two, other = (evaluate(stream(80), catalog(), POOLING, RANKER, seed=seed) for seed in (1, 1, 2))

    assert one == two
    assert one.random.auc != other.random.auc
    assert one.ranker.auc == other.ranker.auc


def test_feedback_arrives_after_its_delay(slates: list[ScoredSlate]) -> None:
    impressions = stream(40)
    unseen = FEATURES.index("unseen")

    evaluate(impressions, catalog(), POOLING, RANKER, feedback_delay_s=600.0)

    # Two impressions a minute: until the tenth minute nothing has been learned.
    assert all(slate.features[:, unseen].all() for slate in slates[:20])
    shown_at_first = {news_id for impression in impressions[:2] for news_id in impression.candidates}
    for slate in slates[20:22]:
        assert not any(
            flag
            for news_id, flag in zip(slate.ids, slate.features[:, unseen], strict=True)
            if news_id in shown_at_first
        )


def test_impressions_out_of_order_are_refused() -> None:
    impressions = stream(4)[::-1]

    with pytest.raises(ValueError, match="I1 is 60 s older than the one before it"):
        evaluate(impressions, catalog(), POOLING, RANKER)
    with pytest.raises(ValueError, match="must not be negative"):
        evaluate(impressions, catalog(), POOLING, RANKER, feedback_delay_s=-1.0)


def test_the_baseline_is_the_smoothed_rate_of_what_it_learned() -> None:
    baseline = CtrBaseline()
    baseline.learn(("a", "b"), ("a",))
    baseline.learn(("a",), ())
    baseline.learn((), ("b",))

    assert baseline.score(["a", "b", "c"]).tolist() == pytest.approx([2 / 12, 2 / 11, 1 / 10])


def test_random_scores_are_uniform_and_of_the_seed_and_the_impression_only() -> None:
    ids = [f"N{i}" for i in range(2_000)]
    scores = random_scores("I1", ids)

    assert scores.tolist() == random_scores("I1", ids[::-1]).tolist()[::-1]
    assert scores.tolist() != random_scores("I2", ids).tolist()
    assert scores.tolist() != random_scores("I1", ids, seed=1).tolist()
    assert np.histogram(scores, bins=4, range=(0, 1))[0] == pytest.approx([500] * 4, rel=0.15)


@given(
    st.lists(
        st.tuples(st.floats(0, 200_000), st.sets(st.sampled_from("abcde"), min_size=1)),
        min_size=1,
        max_size=12,
    )
)
def test_counting_slates_equals_snapshots_of_the_articles_counts(
    events: list[tuple[float, set[str]]],
) -> None:
    counted, expected = ArticleCatalog(D), ArticleCatalog(D)
    counts: dict[str, ArticleCounts] = {}
    for offset, (age_s, shown) in enumerate(events):
        time_s = START_S - age_s
        ids = sorted(shown)
        clicked = np.array([(offset + ord(news_id)) % 2 == 0 for news_id in ids])
        counted.count_slate(ids, clicked, time_s)
        for news_id, click in zip(ids, clicked.tolist(), strict=True):
            article = counts.setdefault(news_id, ArticleCounts())
            article.apply(("impressions", 0, offset), time_s, 1, int(click))
    for news_id, article in counts.items():
        expected.put_stats(news_id, article.time_s, *article.at(article.time_s), article.first_seen_s)

    ids = list(counts)
    for got, want in (
        (counted.decayed(counted.rows(ids), START_S), expected.decayed(expected.rows(ids), START_S)),
        (counted.global_counts(START_S), expected.global_counts(START_S)),
    ):
        for kind in (0, 1):
            assert got[kind] == pytest.approx(want[kind], rel=1e-9, abs=1e-12)
    assert counted.first_seen_s[counted.rows(ids)] == pytest.approx(expected.first_seen_s[expected.rows(ids)])
