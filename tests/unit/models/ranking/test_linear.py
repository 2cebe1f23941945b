"""Features say what they are documented to say, and a score is the sum of its reasons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.kernels.priors import PRIOR_IMPRESSIONS, PRIOR_LIFT
from freshet.models.ranking.features import FEATURES, features
from freshet.models.ranking.linear import DEFAULT_WEIGHTS, LinearRanker
from freshet.models.users.view import UserView

NOW_S = 1_700_000_000.0
HOUR_S = 3_600.0
FIRST = np.array([1.0, 0.0], np.float32)
LAST = np.array([0.0, 1.0], np.float32)
SKIPS = np.array([0.5, 0.5], np.float32)
POPULATION = np.array([0.1, 0.2], np.float32)


def view(**changes: Any) -> UserView:
    vectors = np.stack([FIRST, LAST, SKIPS])
    values: dict[str, Any] = {
        "vectors": vectors,
        "dot_offsets": vectors @ POPULATION,
        "head_names": ("2h", "7d", "skips"),
        "clicks": 0,
        "seen": {},
        "exposures": {},
    }
    return UserView(**{**values, **changes})


def row_of(catalog: ArticleCatalog, news_id: str, user: UserView | None = None) -> dict[str, float]:
    x = features(catalog, catalog.rows([news_id]), [news_id], user or view(), NOW_S)
    assert x.shape == (1, len(FEATURES))
    assert x.dtype == np.float32
    return dict(zip(FEATURES, x[0].tolist(), strict=True))


@pytest.fixture
def catalog() -> ArticleCatalog:
    catalog = ArticleCatalog(2)
    catalog.put_article("known", np.array([0.8, 0.6], np.float32), NOW_S - 24 * HOUR_S)
    catalog.put_stats("known", NOW_S, [1, 2, 3, 4], [10, 20, 30, 40], NOW_S - 30 * HOUR_S)
    catalog.put_stats("counted", NOW_S, [0, 0, 0, 6], [0, 0, 0, 60], NOW_S - 4 * HOUR_S)
    return catalog


def test_an_article_that_nobody_announced_or_showed_has_no_features_but_that(catalog: ArticleCatalog) -> None:
    found = row_of(catalog, "unknown")

    assert {name for name, value in found.items() if value} == {"no_vector", "unseen", "unclicked"}


def test_dot_products_are_taken_per_head_relative_to_the_population(catalog: ArticleCatalog) -> None:
    found = row_of(catalog, "known")

    assert found["dot_first"] == pytest.approx(0.8 - 0.1)
    assert found["dot_last"] == pytest.approx(0.6 - 0.2)
    assert found["dot_best"] == pytest.approx(0.7)
    assert found["dot_skips"] == pytest.approx(0.7 - 0.15)
    assert found["no_vector"] == 0


def test_click_through_rates_are_shrunk_and_relative_to_the_global_one(catalog: ArticleCatalog) -> None:
    clicks, impressions = catalog.global_counts(NOW_S)
    found = row_of(catalog, "known")

    for head, name in enumerate(("30min", "3h", "24h", "all")):
        rate = (clicks[head] + 1) / (impressions[head] + 20)
        prior = PRIOR_LIFT * PRIOR_IMPRESSIONS
        lift = ((head + 1) / rate + prior) / (10 * (head + 1) + PRIOR_IMPRESSIONS)
        assert found[f"log_ctr_{name}"] == pytest.approx(math.log(lift / PRIOR_LIFT), abs=1e-6)
    assert found["log_impressions"] == pytest.approx(math.log(41) / 5)
    assert found["unseen"] == 0


def test_old_statistics_fade_to_what_is_known_of_an_unseen_article(catalog: ArticleCatalog) -> None:
    rows = catalog.rows(["known"])
    later = features(catalog, rows, ["known"], view(), NOW_S + 365 * 24 * HOUR_S)[0]

    assert later[FEATURES.index("log_ctr_30min")] == pytest.approx(0, abs=1e-6)
    assert later[FEATURES.index("log_ctr_24h")] == pytest.approx(0, abs=1e-6)
    assert later[FEATURES.index("log_ctr_all")] != pytest.approx(0, abs=1e-2)


def test_age_counts_from_publication_else_from_the_first_impression(catalog: ArticleCatalog) -> None:
    assert row_of(catalog, "known")["log_age"] == pytest.approx(1.0)
    assert row_of(catalog, "counted")["log_age"] == pytest.approx(math.log(5) / math.log(25))

    catalog.put_article("tomorrow", None, NOW_S + 24 * HOUR_S)
    assert row_of(catalog, "tomorrow")["log_age"] == 0


def test_fatigue_counts_showings_without_a_click(catalog: ArticleCatalog) -> None:
    user = view(exposures={"known": 3, "counted": 1}, seen={"known": 1, "counted": 1, "unknown": 2})

    assert row_of(catalog, "known", user)["fatigue"] == pytest.approx(math.log(3))
    assert row_of(catalog, "known", user)["clicked"] == 1
    assert row_of(catalog, "counted", user)["fatigue"] == 0
    assert row_of(catalog, "unknown", user)["clicked"] == 1


def test_no_feature_but_the_rank_depends_on_the_other_candidates(catalog: ArticleCatalog) -> None:
    ids = ["counted", "unknown", "known"]
    user = view(exposures={"known": 3})

    together = features(catalog, catalog.rows(ids), ids, user, NOW_S)

    for i, news_id in enumerate(ids):
        alone = {**row_of(catalog, news_id, user), "slate_rank": together[i, FEATURES.index("slate_rank")]}
        assert together[i].tolist() == pytest.approx(list(alone.values()))


def test_a_score_is_the_sum_of_its_contributions(catalog: ArticleCatalog) -> None:
    ids = ["counted", "unknown", "known"]
    x = features(catalog, catalog.rows(ids), ids, view(), NOW_S)
    ranker = LinearRanker()

    contributions = ranker.contributions(x)

    assert ranker.score(x) == pytest.approx(contributions.sum(axis=1))
    for name, weight in DEFAULT_WEIGHTS.items():
        column = FEATURES.index(name)
        assert contributions[:, column] == pytest.approx(weight * x[:, column])


def test_equal_candidates_score_equally_wherever_they_stand(catalog: ArticleCatalog) -> None:
    x = np.repeat(features(catalog, catalog.rows(["known"]), ["known"], view(), NOW_S), 37, axis=0)

    assert len(set(LinearRanker().score(x).tolist())) == 1


def test_weights_must_be_finite_and_of_features() -> None:
    with pytest.raises(ValueError, match="colour is no feature; the features are dot_first"):
        LinearRanker({"colour": 1.0})
    with pytest.raises(ValueError, match="not finite"):
        LinearRanker({"fatigue": math.nan})
    assert LinearRanker({"fatigue": -1.0}, "learned", 7).id == "learned-7"
