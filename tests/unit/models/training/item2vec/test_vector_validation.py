"""The validation score is the AUC of pooled users, and sees nothing of what it ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.embedding.bundle import UserSpec
from freshet.models.training.item2vec.vector_validation import SlateValidation

USER = UserSpec(half_lives_s=(3_600.0, 86_400.0), negative_half_life_s=3_600.0, prior_weight=1.0)
BEHAVIORS = """\
1\tU1\t11/11/2019 9:00:00 AM\tN1\tN2-1 N3-0
2\tU2\t11/11/2019 9:01:00 AM\t\tN3-1 N4-0
3\tU1\t11/11/2019 9:02:00 AM\tN1\tN4-0 N5-1 N6-0
4\tU2\t11/11/2019 9:03:00 AM\t\tN6-0 N4-0
5\tU2\t11/11/2019 9:04:00 AM\t\tN5-1 N6-0 N7-0
"""


def log_of(folder: Path, behaviors: str = BEHAVIORS) -> ImpressionLog:
    (folder / "behaviors.tsv").write_text(behaviors)
    return read_impression_log(folder)


def test_the_score_is_that_of_the_formula(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    number = {news_id: i for i, news_id in enumerate(log.articles.ids)}
    ids = ["N1", "N2", "N3", "N4", "N5", "N6"]
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)

    found = SlateValidation(log.slice(0, 2), log.slice(2, 5), USER).auc(
        np.array([number[news_id] for news_id in ids]), vectors
    )

    v = {news_id: row / np.linalg.norm(row) for news_id, row in zip(ids, vectors.astype(float), strict=True)}
    mean = (v["N2"] + v["N3"]) / 2
    six_hours = 21_600.0

    def user(clicks: list[tuple[str, float]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        heads = []
        for half_life_s in USER.half_lives_s:
            weights = [2 ** (-age_s / half_life_s) for _, age_s in clicks]
            total = sum((w * v[news_id] for w, (news_id, _) in zip(weights, clicks, strict=True)), mean)
            heads.append(total / (sum(weights) + 1.0))
        return heads[0] + heads[1]

    one = user([("N1", 120.0 + six_hours), ("N2", 120.0)])
    two = user([("N3", 180.0)])
    scores = [{n: u @ (v[n] - mean) if n in v else 0.0 for n in ("N4", "N5", "N6", "N7")} for u in (one, two)]
    wins = [
        np.mean([scores[0]["N5"] > scores[0][other] for other in ("N4", "N6")]),
        np.mean([scores[1]["N5"] > scores[1][other] for other in ("N6", "N7")]),
    ]
    assert found == pytest.approx(np.mean(wins))


def test_impressions_with_one_label_are_left_out(tmp_path: Path) -> None:
    log = log_of(tmp_path)

    assert len(SlateValidation(log.slice(0, 2), log.slice(2, 5), USER)) == 2
    assert np.isnan(
        SlateValidation(log.slice(0, 2), log.slice(3, 4), USER).auc(np.array([0]), np.ones((1, 2)))
    )


def test_articles_without_vectors_tie(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    validation = SlateValidation(log.slice(0, 2), log.slice(2, 5), USER)

    assert validation.auc(np.array([0]), np.ones((1, 2), np.float32)) == 0.5
