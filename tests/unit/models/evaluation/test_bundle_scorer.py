"""A bundle's scores are its users' dot products with its articles, by the code that serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Bundle, BundleError
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.evaluation.prequential_log import impressions
from freshet.models.users.pooling import Pooling
from freshet.models.users.state import UserState
from freshet.models.users.view import UserView
from tests.bundles import random_bundle
from tests.logs import START_S, Line, log_of

IDS = tuple(f"N{n}" for n in range(8))
LINES: list[Line] = [
    ("U1", 0, "N5 N6", "N0-1 N1-0 N2-0"),
    ("U2", 4_000, "", "N2-1 N3-0"),
    ("U1", 9_000, "N5 N6", "N3-0 N4-1 N9-0"),
    ("U1", 90_000, "N5 N6", "N0-0 N5-1 N7-0 N9-0"),
    ("U3", 90_500, "N1 N9", "N0-0 N4-1 N7-0"),
    ("U4", 91_000, "", "N6-0 N2-1"),
]
CUT = 3


def by_id(folder: Path, **options: bool) -> Bundle:
    return random_bundle(folder, features=("news_id",), vocabularies={"news_id": IDS}, **options)


def with_weights(bundle: Bundle, **weights: NDArray[np.float32]) -> Bundle:
    """The bundle with more weights, by names with ``__`` for the dots."""
    more = {name.replace("__", "."): np.asarray(weight, np.float32) for name, weight in weights.items()}
    return replace(bundle, weights={**bundle.weights, **more})


def learned(bundle: Bundle, log: ImpressionLog, cut: int = CUT) -> BundleScorer:
    scorer = BundleScorer(bundle, log.articles, None)
    scorer.learn(log, 0, cut, np.ones(len(log.user_ids), np.bool_))
    scorer.settle(log, cut)
    return scorer


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("user_layers", [False, True])
def test_scores_are_those_of_the_states_that_serve(
    tmp_path: Path, attention: bool, population: bool, user_layers: bool
) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = by_id(tmp_path / "b", attention=attention, population=population, user_layers=user_layers)
    mix = np.array([0.5, 2.0, -0.7], np.float32)
    scorer = learned(with_weights(bundle, user__mix=mix), log)

    pooling = Pooling.of_bundle(scorer.bundle, max_recent_clicks=50, max_exposures=200)
    served = ArticleCatalog(bundle.manifest.d)
    for news_id, vector in zip(log.articles.ids, scorer.vectors, strict=True):
        served.put_article(news_id, vector if vector.any() else None, START_S)
    states: dict[str, UserState] = {}
    expected: list[float] = []
    # The mean of what was clicked, recent clicks counting more: half as much after a day.
    decays = np.exp2(-(log.time_s[CUT - 1] - log.time_s[:CUT]) / 86_400)
    clicked = [scorer.vectors[log.articles.ids.index(news_id)] for news_id in ("N0", "N2", "N4")]
    mean = (np.array(clicked) * decays[:, None] / decays.sum()).sum(axis=0)
    for position, impression in enumerate(impressions(log, 0, len(log))):
        now_s = impression.time.timestamp()
        state = states.setdefault(impression.user_id, UserState.empty(pooling))
        if position < CUT:
            state.apply_impression(
                ("s", 0, position),
                now_s,
                impression.candidates,
                impression.clicked,
                served,
                history=impression.history,
            )
            continue
        state.seed_history(now_s, impression.history, served)
        view = UserView.of(state, now_s, mean)
        for news_id in impression.candidates:
            row = served.row(news_id)
            vector = served.vectors[row] - mean if served.has_vector[row] else np.zeros_like(mean)
            expected.append(float(mix @ (view.vectors @ vector)))

    assert scorer.scores(log, CUT, len(log)) == pytest.approx(np.array(expected), abs=1e-5)


def test_batches_and_the_users_left_out_change_nothing(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = by_id(tmp_path / "b")
    whole = learned(bundle, log).scores(log, CUT, len(log))

    scorer = BundleScorer(bundle, log.articles, None)
    asked = np.zeros(len(log.user_ids), np.bool_)
    asked[log.user[CUT:]] = True
    assert scorer.learn(log, 0, 1, asked) + scorer.learn(log, 1, CUT, asked) == 2
    scorer.settle(log, CUT)
    parts = [scorer.scores(log, position, position + 1) for position in range(CUT, len(log))]

    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-6)
    assert scorer.states == 3


def test_articles_of_one_vector_tie_wherever_they_stand(tmp_path: Path) -> None:
    categories = {f"N{n}": ("sport", "politics")[n % 2] for n in range(31)}
    slate = " ".join(f"N{n}-{int(n == 0)}" for n in range(31))
    log = log_of(tmp_path / "log", [("U1", 0, "", "N1-1 N2-0"), ("U1", 60, "", slate)], categories)
    scores = learned(random_bundle(tmp_path / "b"), log, 1).scores(log, 1, 2)

    assert len(set(scores.tolist())) == 2


def test_an_article_without_a_vector_scores_as_an_average_one(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", LINES)
    scorer = learned(by_id(tmp_path / "b"), log)
    scores = dict(
        zip(log.candidates[log.slate_start[CUT] :].tolist(), scorer.scores(log, CUT, 6), strict=True)
    )

    unknown = log.articles.ids.index("N9")
    assert not scorer.vectors[unknown].any()
    assert scores[unknown] == 0.0
    assert np.count_nonzero(list(scores.values())) == len(scores) - 1


def test_without_a_mix_the_interests_count_the_same_and_skips_do_not(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = by_id(tmp_path / "b")
    explicit = with_weights(bundle, user__mix=np.array([0.5, 0.5, 0.0], np.float32))

    one, other = (learned(b, log).scores(log, CUT, 6).tolist() for b in (bundle, explicit))
    assert one == other


def test_biases_add_and_an_unknown_article_has_the_mean_one(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = by_id(tmp_path / "b")
    plain = learned(bundle, log).scores(log, CUT, 6)
    known = np.arange(8.0)
    ids = [log.articles.ids[number] for number in log.candidates[log.slate_start[CUT] :].tolist()]

    untrained = with_weights(bundle, article__bias=np.concatenate([[0.0], known]))
    added = learned(untrained, log).scores(log, CUT, 6) - plain
    of_id = {**dict(zip(IDS, known - 3.5, strict=True)), "N9": 0.0}
    assert added == pytest.approx(np.array([of_id[news_id] for news_id in ids]), abs=1e-5)

    trained = with_weights(bundle, article__bias=np.concatenate([[1.0], known]))
    added = learned(trained, log).scores(log, CUT, 6) - plain
    assert added[ids.index("N9")] == pytest.approx(1.0 - 3.5, abs=1e-5)


def test_a_table_of_users_ranks_the_known_and_gives_others_the_mean(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = by_id(tmp_path / "b")
    random = np.random.default_rng(0)
    table = random.normal(size=(3, 16)).astype(np.float32)
    manifest = bundle.manifest.model_copy(
        update={"vocabularies": {**bundle.manifest.vocabularies, "user_id": ("U1", "U3")}}
    )
    scorer = learned(replace(with_weights(bundle, user__table__weight=table), manifest=manifest), log)

    users = scorer.user_vectors(log, CUT, 6)
    assert scorer.states == 0
    assert users.tolist() == np.array([table[1], table[2], table[1:].mean(axis=0)]).tolist()


@pytest.mark.parametrize(
    ("name", "shape"), [("user__mix", (2,)), ("user__table__weight", (5, 16)), ("article__bias", (3,))]
)
def test_a_weight_that_does_not_fit_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    log = log_of(tmp_path / "log", LINES)
    bundle = with_weights(by_id(tmp_path / "b"), **{name: np.zeros(shape, np.float32)})
    with pytest.raises(BundleError, match=name.replace("__", ".")):
        BundleScorer(bundle, log.articles, None)
