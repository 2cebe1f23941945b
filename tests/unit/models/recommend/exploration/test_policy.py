"""What exploration promises: its budget, the order it keeps, reproducible draws, and true propensities."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.events import RecommendationRequest, from_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.recommend.exploration.linucb import LinUcbExplorer
from freshet.models.recommend.exploration.plackett_luce import (
    PlackettLuceExplorer,
    log_probability,
    plackett_luce_order,
    plackett_luce_propensities,
)
from freshet.models.recommend.exploration.policy import Explorer, LearningExplorer
from freshet.models.recommend.exploration.slots import ExplorationSlots
from freshet.models.recommend.exploration.thompson import ThompsonExplorer
from freshet.models.recommend.slate import Slate
from freshet.models.users.view import UserView

NOW_S = 1_767_592_800.0
HOUR_S = 3_600.0
K = 5
OLD, FRESH = 8, 5


def fresh_and_old() -> Slate:
    """Old articles with the best scores, fresh ones (the last ``FRESH``) with the worst."""
    catalog = ArticleCatalog(1)
    ids = [f"N{i}" for i in range(OLD + FRESH)]
    for i, news_id in enumerate(ids):
        fresh = i >= OLD
        published_s = NOW_S - (0.5 if fresh else 20.0) * HOUR_S
        catalog.put_article(news_id, None, published_s)
        shown = 4.0 * (i - OLD) if fresh else 500.0
        clicks = 0.2 * shown
        catalog.put_stats(news_id, NOW_S, [clicks] * 4, [shown] * 4, published_s)
    rng = np.random.default_rng(3)
    features = rng.normal(size=(len(ids), len(FEATURES))).astype(np.float32)
    scored = ScoredSlate(ids, catalog.rows(ids), features, np.linspace(1.0, -1.0, len(ids)))
    request = RecommendationRequest(request_id="r", user_id="u", time=from_unix_s(NOW_S), k=K)
    user = UserView.of(None, NOW_S, np.zeros(1, np.float32))
    return Slate(request, user, catalog, LinearRanker(), NOW_S, scored=scored, order=scored.best_first())


def slots(budget: int) -> ExplorationSlots:
    return ExplorationSlots(budget=budget, first=1, max_age_s=3 * HOUR_S, max_impressions=40.0)


SLOT_EXPLORERS: dict[str, Callable[[int], Explorer]] = {
    "thompson": lambda budget: ThompsonExplorer(slots(budget)),
    "thompson, click rates alone": lambda budget: ThompsonExplorer(slots(budget), relevance=0.0),
    "linucb": lambda budget: LinUcbExplorer(slots(budget)),
}
EXPLORERS = {**SLOT_EXPLORERS, "plackett-luce": lambda budget: PlackettLuceExplorer(0.5)}


def chosen(explorer: Explorer, seed: int, k: int = K) -> Slate:
    return explorer.choose(fresh_and_old(), k, seed)


@pytest.mark.parametrize("name", EXPLORERS)
@given(seed=st.integers(0, 2**64 - 1), k=st.integers(1, 20))
@settings(max_examples=25)
def test_a_list_is_k_distinct_candidates_with_true_probabilities(name: str, seed: int, k: int) -> None:
    found = chosen(EXPLORERS[name](2), seed, k)
    assert len(found.picks) == len(set(found.picks.tolist())) == min(k, OLD + FRESH)
    assert found.picks.shape == found.propensities.shape == found.explored.shape
    assert (found.propensities > 0).all()
    assert (found.propensities <= 1).all()


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_same_seed_gives_the_same_list(name: str) -> None:
    first, again = (chosen(EXPLORERS[name](2), 12345) for _ in range(2))
    assert first.picks.tolist() == again.picks.tolist()
    assert first.propensities.tolist() == again.propensities.tolist()
    lists = {tuple(chosen(EXPLORERS[name](2), seed).picks.tolist()) for seed in range(20)}
    assert len(lists) > 1


@pytest.mark.parametrize("name", SLOT_EXPLORERS)
@given(seed=st.integers(0, 2**64 - 1), budget=st.integers(0, 4), k=st.integers(1, 8))
@settings(max_examples=40)
def test_the_budget_is_kept_and_all_other_slots_keep_their_order(
    name: str, seed: int, budget: int, k: int
) -> None:
    slate = fresh_and_old()
    found = SLOT_EXPLORERS[name](budget).choose(slate, k, seed)
    explored = int(found.explored.sum())
    assert explored == min(budget, k - 1, FRESH)
    assert not found.explored[0]
    kept = found.picks[~found.explored]
    assert kept.tolist() == slate.order[: k - explored].tolist()
    assert (found.picks[found.explored] >= OLD).all()


@pytest.mark.parametrize("name", SLOT_EXPLORERS)
def test_without_a_fresh_article_nothing_changes(name: str) -> None:
    slate = fresh_and_old()
    later = replace(slate, now_s=NOW_S + 10 * HOUR_S)
    found = SLOT_EXPLORERS[name](3).choose(later, K, 1)
    assert found.picks.tolist() == slate.order[:K].tolist()
    assert found.propensities.tolist() == [1.0] * K
    assert not found.explored.any()


def test_an_article_shown_often_enough_competes_no_more() -> None:
    slate = fresh_and_old()
    bounds = ExplorationSlots(max_age_s=3 * HOUR_S, max_impressions=9.0)
    assert sorted(bounds.competitors(slate, K).tolist()) == [8, 9, 10]


def test_what_the_list_shows_anyway_does_not_compete() -> None:
    slate = fresh_and_old()
    assert len(slots(1).competitors(slate, OLD + 2)) == FRESH - 2


@pytest.mark.parametrize("name", EXPLORERS)
def test_propensities_are_the_frequencies_over_many_seeds(name: str) -> None:
    explorer = EXPLORERS[name](2)
    draws = 2_500
    slate = fresh_and_old()
    counts: Counter[tuple[int, int]] = Counter()
    told: dict[tuple[int, int], float] = {}
    for seed in range(draws):
        found = explorer.choose(slate, K, seed)
        for position, (pick, propensity) in enumerate(
            zip(found.picks.tolist(), found.propensities.tolist(), strict=True)
        ):
            assert told.setdefault((position, pick), propensity) == pytest.approx(propensity)
            counts[position, pick] += 1
    for position in range(K):
        cells = [cell for cell in told if cell[0] == position and told[cell] * draws >= 5]
        expected = np.array([told[cell] * draws for cell in cells])
        seen = np.array([counts[cell] for cell in cells])
        freedom = max(len(cells) - 1, 1)
        chi_square = float(((seen - expected) ** 2 / expected).sum())
        # Five standard deviations of a chi-square above its mean; the seeds are fixed.
        assert chi_square < freedom + 5 * (2 * freedom) ** 0.5, (position, chi_square, freedom)
        assert sum(told[cell] for cell in told if cell[0] == position) == pytest.approx(1.0, abs=0.02)


def enumerated(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """P(article, position) from the probabilities of all lists."""
    n = len(scores)
    found = np.zeros((n, n))
    for permutation in itertools.permutations(range(n)):
        probability = np.exp(log_probability(scores, temperature, np.array(permutation)))
        for position, article in enumerate(permutation):
            found[article, position] += probability
    return found


@pytest.mark.parametrize("temperature", [0.1, 0.7, 5.0])
def test_plackett_luce_propensities_are_those_of_all_lists(temperature: float) -> None:
    scores = np.random.default_rng(1).normal(size=6)
    truth = enumerated(scores, temperature)
    assert truth.sum(axis=0) == pytest.approx(np.ones(6))
    for shown in ([0, 1, 2, 3, 4, 5], [4, 2, 0], [5], [3, 1, 4, 0]):
        found = plackett_luce_propensities(scores, temperature, np.array(shown))
        expected = truth[shown, np.arange(len(shown))]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_the_first_position_has_the_softmax_of_the_scores() -> None:
    scores = np.random.default_rng(2).normal(size=300)
    weights = np.exp(scores / 0.3)
    for article in (0, 17, int(np.argmax(scores))):
        (found,) = plackett_luce_propensities(scores, 0.3, np.array([article]))
        assert found == pytest.approx(weights[article] / weights.sum(), rel=1e-9)


@given(
    scores=st.lists(st.floats(-50, 50), min_size=1, max_size=60),
    temperature=st.sampled_from([0.01, 0.05, 1.0, 100.0]),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=60)
def test_plackett_luce_propensities_are_probabilities_whatever_the_scores(
    scores: list[float], temperature: float, seed: int
) -> None:
    values = np.array(scores)
    shown = plackett_luce_order(values, temperature, np.random.default_rng(seed))[:10]
    found = plackett_luce_propensities(values, temperature, shown)
    assert (found > 0).all()
    assert (found <= 1 + 1e-9).all()


def test_a_low_temperature_is_nearly_the_order_of_scores() -> None:
    slate = fresh_and_old()
    found = PlackettLuceExplorer(0.01).choose(slate, K, 1)
    assert found.picks.tolist() == slate.order[:K].tolist()
    assert found.propensities == pytest.approx(np.ones(K), abs=0.01)


def test_plackett_luce_does_not_depend_on_the_order_without_exploration() -> None:
    slate = fresh_and_old()
    explorer = PlackettLuceExplorer(0.5)
    shuffled = replace(slate, order=np.random.default_rng(0).permutation(slate.order))
    lists = [explorer.choose(each, K, 9).picks.tolist() for each in (slate, shuffled)]
    assert lists[0] == lists[1]


def test_thompson_prefers_what_was_clicked_and_still_tries_the_unknown() -> None:
    slate = fresh_and_old()
    slate.catalog.put_stats("N12", NOW_S, [12.0] * 4, [20.0] * 4, NOW_S)
    explorer = ThompsonExplorer(slots(1), relevance=0.0)
    tried = Counter(
        int(found.picks[found.explored][0])
        for found in (explorer.choose(slate, K, seed) for seed in range(300))
    )
    assert tried.most_common(1)[0][0] == 12
    assert tried[8] > 0


def test_linucb_learns_which_features_are_clicked() -> None:
    rng = np.random.default_rng(0)
    explorer = LinUcbExplorer(slots(1), alpha=0.1)
    assert isinstance(explorer, LearningExplorer)
    for step in range(400):
        x = rng.normal(size=(10, len(FEATURES))).astype(np.float32)
        explorer.learn([f"L{step % 50}-{i}" for i in range(10)], x, x[:, 0] > 0.5)
    x = np.zeros((2, len(FEATURES)), np.float32)
    x[1, 0] = 1.5
    low, high = explorer.upper_bounds(["new", "new too"], x)
    assert high > low + 0.2


def test_linucb_doubts_less_the_more_an_article_was_shown() -> None:
    rng = np.random.default_rng(0)
    explorer = LinUcbExplorer(slots(1), alpha=1.0)
    x = rng.normal(size=(2, len(FEATURES))).astype(np.float32) * 0.1
    bounds = []
    for _ in range(40):
        bounds.append(explorer.upper_bounds(["shown", "other"], x).tolist())
        explorer.learn(["shown"], x[:1], np.array([False]))
    assert bounds[-1][0] < bounds[0][0]
    assert bounds[-1][1] > bounds[-1][0]


def test_linucb_holds_a_bounded_number_of_articles() -> None:
    explorer = LinUcbExplorer(max_articles=30)
    x = np.ones((10, len(FEATURES)), np.float32)
    for step in range(20):
        explorer.learn([f"N{step}-{i}" for i in range(10)], x, np.arange(10) < 2)
    assert explorer.articles == 30
    assert np.isfinite(explorer.upper_bounds(["N19-0", "N0-0"], x[:2])).all()


def test_linucb_learns_nothing_from_features_that_are_not_finite() -> None:
    explorer = LinUcbExplorer()
    x = np.full((2, len(FEATURES)), np.nan, np.float32)
    explorer.learn(["N1", "N2"], x, np.array([True, False]))
    assert explorer.articles == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExplorationSlots(budget=-1),
        lambda: ExplorationSlots(max_age_s=0.0),
        lambda: ThompsonExplorer(prior_impressions=0.0),
        lambda: ThompsonExplorer(relevance=-1.0),
        lambda: LinUcbExplorer(ridge=0.0),
        lambda: PlackettLuceExplorer(0.0),
        lambda: PlackettLuceExplorer(float("nan")),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must"):
        make()
