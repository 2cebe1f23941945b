"""The frozen protocol measures on nothing that was trained on, and learns from nothing that it measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Manifest, TowerSpec, TrainingRecord, UserSpec
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.evaluation.frozen import (
    CLICK_RATE,
    NEWEST,
    POPULAR,
    RANDOM,
    Baselines,
    CutError,
    cut,
    publication_times,
)
from freshet.models.evaluation.slate_scores import Slates
from tests.bundles import random_bundle
from tests.logs import START_S, Line, log_of


def ten(folder: Path) -> ImpressionLog:
    """An impression every 100 s."""
    return log_of(folder, [(f"U{i % 3}", 100.0 * i, "N9 N8", "N1-1 N2-0 N3-0") for i in range(10)])


def trained(end_s: float | None, *, start_s: float = 0.0, examples: int = 5, sha256: str = "") -> Manifest:
    return Manifest(
        name="m",
        model="m",
        d=2,
        tower=TowerSpec(),
        user=UserSpec(half_lives_s=(1.0,), negative_half_life_s=1.0, prior_weight=1.0),
        training=TrainingRecord(
            folder="where", data_sha256=sha256, examples=examples, start_s=start_s, end_s=end_s, seed=0
        ),
    )


def test_without_a_bundle_the_cut_is_the_default_or_what_was_asked(tmp_path: Path) -> None:
    log = ten(tmp_path)

    assert cut(log, None, None, 0.8).position == 8
    assert cut(log, None, 0.3, 0.8).position == 3
    assert cut(log, None, START_S + 450.0, 0.8).position == 5


def test_a_bundle_is_measured_after_what_it_was_trained_on(tmp_path: Path) -> None:
    log = ten(tmp_path)
    found = cut(log, trained(START_S + 500.0), None, 0.2)

    assert found.position == 6
    assert "trained on where until" in found.note
    assert cut(log, trained(START_S + 500.0), 0.8, 0.2).position == 8


@pytest.mark.parametrize("asked", [0.2, START_S + 500.0])
def test_a_leak_is_refused(tmp_path: Path, asked: float) -> None:
    with pytest.raises(CutError, match="would measure what it has seen"):
        cut(ten(tmp_path), trained(START_S + 500.0), asked, 0.8)


def test_an_untrained_bundle_cannot_leak(tmp_path: Path) -> None:
    assert cut(ten(tmp_path), trained(START_S + 500.0, examples=0), 0.2, 0.8).position == 2


def test_data_that_is_all_seen_leaves_nothing_to_measure(tmp_path: Path) -> None:
    log = ten(tmp_path)
    with pytest.raises(CutError, match="no impression is later"):
        cut(log, trained(START_S + 900.0), None, 0.8)
    with pytest.raises(CutError, match="no impression is left"):
        cut(log, None, START_S + 901.0, 0.8)


def test_data_from_before_the_training_period_is_measured_unless_it_is_the_same(tmp_path: Path) -> None:
    log = ten(tmp_path)
    later = START_S + 10_000.0

    assert cut(log, trained(later + 1, start_s=later), None, 0.5).position == 5
    with pytest.raises(CutError, match="no impression is later"):
        cut(log, trained(later + 1, start_s=later, sha256=log.sha256), None, 0.5)


def test_baselines_count_what_comes_before_the_cut(tmp_path: Path) -> None:
    lines: list[Line] = [
        ("U1", 0, "", "N1-1 N2-0"),
        ("U2", 50, "", "N1-0 N2-1 N3-0"),
        ("U1", 100, "", "N1-0 N2-1 N4-0"),
    ]
    log = log_of(tmp_path, lines)
    baselines = Baselines(log, 2)
    scores = baselines.scores(Slates.of(log, 2, 3))

    assert scores[POPULAR].tolist() == [1, 1, 0]
    assert scores[CLICK_RATE].tolist() == pytest.approx([2 / 12, 2 / 12, 1 / 10])
    assert scores[NEWEST].tolist() == [START_S, START_S, START_S + 100]
    assert len(set(scores[RANDOM].tolist())) == 3
    assert baselines.information.tolist() == pytest.approx([*[np.log2(3)] * 2, *[np.log2(6)] * 2])


def test_an_article_appears_when_it_is_published_but_at_the_latest_when_it_is_shown(tmp_path: Path) -> None:
    log = ten(tmp_path)
    (tmp_path / "published.tsv").write_text(f"N1\t{START_S - 60}\nN2\t{START_S + 60}\nN7\t1\n")
    times_s = dict(zip(log.articles.ids, publication_times(log).tolist(), strict=True))

    assert times_s == {news_id: START_S for news_id in ("N2", "N3", "N8", "N9")} | {"N1": START_S - 60}


def test_no_click_after_the_cut_reaches_a_score(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for i in range(40):
        slate = random.choice(12, 4, replace=False)
        labels = [f"N{n}-{int(random.random() < 0.4)}" for n in slate]
        lines.append((f"U{random.integers(5)}", 60.0 * i, "N1 N2" if i % 2 else "", " ".join(labels)))
    turned = [
        (user, after_s, history, slate.replace("-1", "-x").replace("-0", "-1").replace("-x", "-0"))
        for user, after_s, history, slate in lines[25:]
    ]
    ids = tuple(f"N{n}" for n in range(12))
    vocabularies = {"news_id": ids}
    bundle = random_bundle(tmp_path / "b", features=("news_id",), vocabularies=vocabularies, attention=True)
    found = []
    for name, written in (("one", lines), ("other", [*lines[:25], *turned])):
        log = log_of(tmp_path / name, written)
        scorer = BundleScorer(bundle, log.articles, None)
        scorer.learn(log, 0, 25, np.ones(len(log.user_ids), np.bool_))
        scorer.settle(log, 25)
        slates = Slates.of(log, 25, 40)
        scores = {**Baselines(log, 25).scores(slates), "bundle": scorer.scores(log, 25, 40)}
        found.append((log.candidates[log.slate_start[25] :].tolist(), scores))

    (one_slates, one), (other_slates, other) = found
    assert one_slates == other_slates
    for method, scores in one.items():
        np.testing.assert_array_equal(scores, other[method], method)
