"""On columns the prequential protocol gives what it gives on events, in batches of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import read_behaviors
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.bundle_scorer import BundleScorer
from freshet.models.evaluation.frozen import publication_times
from freshet.models.evaluation.prequential import evaluate
from freshet.models.evaluation.prequential_log import METHODS, PrequentialLog, impressions
from freshet.models.evaluation.slate_scores import METRICS, SlateScores
from freshet.models.events.events import Impression
from freshet.models.ranking.linear import LinearRanker
from freshet.models.users.pooling import Pooling
from tests.bundles import random_bundle

POOLING = Pooling(1, (7_200.0, 604_800.0), 86_400.0, 1.0, 50, 200)
WARM_UP = 60


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ImpressionLog:
    folder = tmp_path_factory.mktemp("synth")
    write_synth(folder, SynthConfig(users=40, articles=120, impressions=300, seed=3), overwrite=True)
    (folder / "published.tsv").unlink()
    return read_impression_log(folder)


def run(log: ImpressionLog, batch: int = 1_000) -> SlateScores:
    scores = SlateScores(METHODS)
    evaluation = PrequentialLog(log, None, POOLING, LinearRanker(), publication_times(log), scores)
    evaluation.run(0, WARM_UP, measured=False)
    for start in range(WARM_UP, len(log), batch):
        evaluation.run(start, min(start + batch, len(log)), measured=True)
    return scores


def test_impressions_are_those_of_the_file(log: ImpressionLog) -> None:
    for ours, read in zip(impressions(log, 0, len(log)), read_behaviors(log.folder), strict=True):
        assert isinstance(read, Impression)
        assert ours.model_dump(exclude={"impression_id"}) == read.model_dump(exclude={"impression_id"})


def test_measures_are_those_of_the_evaluation_of_events(log: ImpressionLog) -> None:
    scores = run(log)
    catalog = ArticleCatalog(1)
    for number, news_id in enumerate(log.articles.ids):
        catalog.put_article(news_id, None, float(publication_times(log)[number]) - 1.0)
    report = evaluate(impressions(log, 0, len(log)), catalog, POOLING, LinearRanker(), warm_up=WARM_UP)

    assert len(scores) == report.ranker.impressions
    assert scores.left_out == report.ranker.left_out
    means = scores.values[:, :, METRICS.index("auc")].mean(axis=0)
    expected = [report.ranker.auc, report.click_through_rate.auc]
    assert means[[0, 1]] == pytest.approx(np.array(expected), abs=1e-6)


def test_batches_change_nothing(log: ImpressionLog) -> None:
    whole, cut = run(log), run(log, batch=7)

    np.testing.assert_array_equal(whole.values, cut.values)
    np.testing.assert_array_equal(whole.positions, cut.positions)


def test_a_bundle_ranks_with_its_vectors(log: ImpressionLog, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, features=("news_id",), vocabularies={"news_id": log.articles.ids[:50]})
    vectors = BundleScorer(bundle, log.articles, None).vectors
    pooling = Pooling.of_bundle(bundle, max_recent_clicks=50, max_exposures=200)
    scores = SlateScores(METHODS, vectors=vectors)
    PrequentialLog(log, vectors, pooling, LinearRanker(), publication_times(log), scores).run(
        0, len(log), measured=True
    )

    own = scores.values[:, METHODS.index("freshet")]
    assert len(scores) > 200
    assert np.isfinite(own[:, METRICS.index("auc")]).all()
    assert np.isfinite(own[:, METRICS.index("diversity@5")]).any()


def test_scores_that_are_given_reach_the_candidates_that_they_are_of(log: ImpressionLog) -> None:
    methods = (*METHODS, "labels")
    scores = SlateScores(methods)
    given = {"labels": log.clicked.astype(np.float64)}
    evaluation = PrequentialLog(
        log, None, POOLING, LinearRanker(), publication_times(log), scores, given=given
    )
    evaluation.run(0, WARM_UP, measured=False)
    evaluation.run(WARM_UP, len(log), measured=True)

    auc = scores.values[:, :, METRICS.index("auc")]
    assert (auc[:, methods.index("labels")] == 1.0).all()
    np.testing.assert_array_equal(auc[:, :-1], run(log).values[:, :, METRICS.index("auc")])
