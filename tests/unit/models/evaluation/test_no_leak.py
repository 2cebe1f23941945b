"""Nothing of an impression's clicks, of a later event, or of the order of a file reaches a ranking.

Every check here is also run against copies of the evaluation that leak in one way each, and must notice: a
check that cannot fail says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.ablation import ablated
from freshet.models.evaluation.frozen import publication_times
from freshet.models.evaluation.prequential import (
    ImpressionRecord,
    Learner,
    PrequentialEvaluation,
    RankedImpression,
    _Pending,
)
from freshet.models.evaluation.prequential_log import METHODS, PrequentialLog
from freshet.models.evaluation.ranking_metrics import RankingScores
from freshet.models.evaluation.slate_scores import SlateScores
from freshet.models.events.events import Impression, from_unix_s, to_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import DEFAULT_WEIGHTS, LinearRanker
from freshet.models.ranking.online_ranker import OnlineRanker, OnlineSettings
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.users.pooling import Pooling

D = 4
ARTICLES, ANNOUNCED = 30, 24
START_S = 1_700_000_000.0
POOLING = Pooling(
    d=D,
    half_lives_s=(7_200.0, 604_800.0),
    negative_half_life_s=86_400.0,
    prior_weight=1.0,
    max_recent_clicks=20,
    max_exposures=50,
)
SURE = 0.999
"""Of the intervals: with 28 rankers, 95 % would fail three times out of four without any leak."""

Evaluation = type[PrequentialEvaluation]


class Witness:
    """A ranker that only writes down what it is given to rank by."""

    def __init__(self) -> None:
        self.features: list[NDArray[np.float32]] = []

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        self.features.append(x.copy())
        return np.zeros(len(x))

    def learn(
        self, x: NDArray[np.float32], clicked: NDArray[np.bool_], *, time_s: float | None = None
    ) -> bool:
        return False


class Unchanging(Witness):
    """The start's weights."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return LinearRanker().score(x)


@dataclass(frozen=True)
class Seen:
    """What one impression was ranked by, and how."""

    ids: list[str]
    labels: NDArray[np.float64]
    features: NDArray[np.float32]
    scores: dict[str, NDArray[np.float64]]

    def of(self, news_id: str) -> tuple[list[float], list[float]]:
        """Features and scores of one candidate."""
        i = self.ids.index(news_id)
        return self.features[i].tolist(), [float(scores[i]) for scores in self.scores.values()]

    def same_as(self, other: Seen) -> bool:
        """Whether the candidates got the same features and scores, to the last bit."""
        return set(self.ids) == set(other.ids) and all(self.of(name) == other.of(name) for name in self.ids)


def catalog() -> ArticleCatalog:
    known = ArticleCatalog(D)
    random = np.random.default_rng(2)
    for i in range(ANNOUNCED):
        vector = random.normal(size=D).astype(np.float32) if i % 4 else None
        known.put_article(f"N{i}", vector, START_S - 3_600 * i, category=f"c{i % 3}", subcategory=f"s{i % 7}")
    return known


def stream(n: int, seed: int = 0, step_s: float = 300.0, popular: bool = True) -> list[Impression]:
    """Slates of 6, two at each moment; the clicked ones come first, so that their order tells the labels.

    Args:
        n: Impressions.
        seed: Of everything.
        step_s: From one moment to the next.
        popular: Articles with low numbers are clicked most; else each candidate has the same chance.
    """
    random = np.random.default_rng(seed)
    impressions = []
    for i in range(n):
        slate = random.choice(ARTICLES, 6, replace=False)
        chances = 0.7 / (1 + slate / 3) if popular else np.full(6, 0.3)
        clicked = random.random(6) < chances
        order = np.argsort(~clicked, kind="stable")
        impressions.append(
            Impression(
                impression_id=f"I{i}",
                user_id=f"U{random.integers(8)}",
                time=from_unix_s(START_S + step_s * (i // 2)),
                candidates=tuple(f"N{k}" for k in slate[order]),
                clicked=tuple(f"N{k}" for k in slate[clicked]),
                history=("N1", "N2", "N3") if i % 3 else (),
            )
        )
    return impressions


def run(
    impressions: Sequence[Impression],
    evaluation: Evaluation = PrequentialEvaluation,
    *,
    delay_s: float = 0.0,
    groups: bool = False,
) -> list[Seen]:
    """What each impression was ranked by, with every learner beside."""
    witness = Witness()
    # A warm start that uses every feature.
    start = LinearRanker(dict(zip(FEATURES, np.linspace(-0.4, 0.4, len(FEATURES)), strict=True)))
    others: dict[str, Learner] = {
        "adagrad": OnlineRanker(start, OnlineSettings(rule="adagrad")),
        "from zero": OnlineRanker(LinearRanker({})),
        "start": Unchanging(),
        **(ablated(LinearRanker(DEFAULT_WEIGHTS), OnlineSettings()) if groups else {}),
    }
    names = ("newton", *others)
    seen: list[Seen] = []

    def ranked(found: RankedImpression) -> None:
        columns = (found.ranker, *found.others[1:])
        scores = dict(zip(names, columns, strict=True))
        seen.append(Seen(found.ids, found.labels, witness.features[-1], scores))

    evaluating = evaluation(
        catalog(),
        POOLING,
        OnlineRanker(start),
        feedback_delay_s=delay_s,
        on_ranked=ranked,
        others=(witness, *others.values()),
    )
    for impression in impressions:
        evaluating.add_impression(impression)
    return seen


class SeesOwnStatistics(PrequentialEvaluation):
    """Counts an impression before it is ranked."""

    def add_impression(self, impression: Impression | ImpressionRecord, *, measured: bool = True) -> None:
        shown = at_its_time(self, impression)
        clicked = np.array([news_id in shown.clicked for news_id in shown.candidates])
        self._catalog.count_slate(shown.candidates, clicked, shown.time_s)
        super().add_impression(shown, measured=measured)


class SeesOwnClicks(PrequentialEvaluation):
    """Tells the user's state before an impression is ranked."""

    def add_impression(self, impression: Impression | ImpressionRecord, *, measured: bool = True) -> None:
        shown = at_its_time(self, impression)
        self._learn(_Pending(shown, None, None))
        super().add_impression(shown, measured=measured)


class SeesOwnCoClicks(PrequentialEvaluation):
    """Counts a click's context before the impression is ranked."""

    def add_impression(self, impression: Impression | ImpressionRecord, *, measured: bool = True) -> None:
        shown = at_its_time(self, impression)
        state = self._users.get(shown.user_id)
        context = {name for name, _ in state.recent_clicks()} if state is not None else set()
        for news_id in shown.clicked:
            self._catalog.co_clicks.add_click(news_id, context)
        super().add_impression(shown, measured=measured)


class LearnsWeightsFirst(PrequentialEvaluation):
    """Takes the step of an impression before it is ranked."""

    def add_impression(self, impression: Impression | ImpressionRecord, *, measured: bool = True) -> None:
        shown = at_its_time(self, impression)
        slate = self._rank(shown, shown.candidates)
        clicked = np.array([news_id in shown.clicked for news_id in slate.ids])
        for learner in self._learners:
            learner.learn(slate.features, clicked)
        super().add_impression(shown, measured=measured)


class BreaksTiesByFile(PrequentialEvaluation):
    """Ranks what stands first in the file a little higher."""

    def _rank(self, impression: ImpressionRecord, candidates: Sequence[str]) -> ScoredSlate:
        slate = super()._rank(impression, candidates)
        place = {news_id: i for i, news_id in enumerate(candidates)}
        slate.scores[:] -= [1e-9 * place[name] for name in slate.ids]
        return slate


def telling(feature: str) -> Evaluation:
    """An evaluation in which one feature carries the clicks of the impression that is ranked."""

    class Telling(PrequentialEvaluation):
        def _rank(self, impression: ImpressionRecord, candidates: Sequence[str]) -> ScoredSlate:
            slate = super()._rank(impression, candidates)
            clicked = [news_id in impression.clicked for news_id in slate.ids]
            slate.features[clicked, FEATURES.index(feature)] += 0.01
            return slate

    return Telling


def at_its_time(
    evaluation: PrequentialEvaluation, impression: Impression | ImpressionRecord
) -> ImpressionRecord:
    """The impression, once all feedback that is due before it has come."""
    shown = ImpressionRecord.of(impression) if isinstance(impression, Impression) else impression
    evaluation._advance(shown)
    return shown


class HasNoDelay(PrequentialEvaluation):
    """Learns at once."""

    def __init__(self, *args: object, feedback_delay_s: float = 0.0, **others: object) -> None:
        super().__init__(*args, **others)


Check = Callable[[Evaluation], None]


def check_shuffled_labels(evaluation: Evaluation) -> None:
    """Clicks that nothing explains are ranked no better, and no worse, than by chance."""
    seen = run(stream(900, seed=1, popular=False), evaluation, groups=True)
    for name in seen[0].scores:
        measured = RankingScores()
        for one in seen:
            measured.add_impression(one.labels, one.scores[name])
        auc = measured.report(confidence=SURE).metrics["auc"]
        assert auc.low <= 0.5 <= auc.high, (name, auc)


def check_own_clicks(
    evaluation: Evaluation, position: int = 30, seed: int = 0, delay_s: float = 0.0, n: int = 60
) -> None:
    """Other clicks of one impression change neither it nor what comes before its feedback."""
    one = stream(n, seed)
    other = list(one)
    changed = one[position]
    first, *_, last = changed.candidates
    clicked = (last,) if changed.clicked != (last,) else (first,)
    other[position] = changed.model_copy(update={"clicked": clicked})
    due_s = to_unix_s(changed.time) + delay_s
    before = run(one, evaluation, delay_s=delay_s), run(other, evaluation, delay_s=delay_s)
    for i, (mine, theirs) in enumerate(zip(*before, strict=True)):
        if i <= position or to_unix_s(one[i].time) < due_s:
            assert mine.same_as(theirs), f"impression {i} knows of the clicks of {position}"


def check_later_impressions(evaluation: Evaluation, position: int = 30, seed: int = 0) -> None:
    """An impression that is planted later changes nothing before it."""
    one = stream(60, seed)
    planted = one[position].model_copy(
        update={
            "impression_id": "planted",
            "candidates": ("N28", "N1", "N2", "N29"),
            "clicked": ("N28", "N29"),
        }
    )
    other = [*one[:position], planted, *one[position:]]
    for i, (mine, theirs) in enumerate(zip(run(one, evaluation)[:position], run(other, evaluation))):  # noqa: B905
        assert mine.same_as(theirs), f"impression {i} knows of one planted at {position}"


def check_order_of_candidates(evaluation: Evaluation) -> None:
    """A file that names candidates, and clicks, in another order gives the same features and scores."""
    one = stream(80)
    other = [
        impression.model_copy(
            update={"candidates": impression.candidates[::-1], "clicked": impression.clicked[::-1]}
        )
        for impression in one
    ]
    for i, (mine, theirs) in enumerate(zip(run(one, evaluation), run(other, evaluation), strict=True)):
        assert mine.same_as(theirs), f"impression {i} is ranked by its order in the file"


def check_equal_candidates(evaluation: Evaluation) -> None:
    """Candidates with the same features have the same score to the last bit, whatever their labels."""
    ties = 0
    impressions = [
        one.model_copy(
            update={
                "candidates": (f"X{i}", *one.candidates, f"Y{i}"),
                "clicked": (*one.clicked, (f"X{i}", f"Y{i}")[i % 2]),
            }
        )
        for i, one in enumerate(stream(40))
    ]
    for one in run(impressions, evaluation):
        for name in one.ids:
            features, scores = one.of(name)
            for twin in one.ids:
                others, theirs = one.of(twin)
                if twin > name and others == features:
                    ties += 1
                    assert theirs == scores, f"{name} and {twin} differ in nothing"
    assert ties >= len(impressions)


def check_delay(evaluation: Evaluation) -> None:
    """Feedback is not known before its time, whatever moments impressions share."""
    for delay_s in (1.0, 300.0, 1_500.0):
        check_own_clicks(evaluation, delay_s=delay_s)


CHECKS: list[Check] = [
    check_shuffled_labels,
    check_own_clicks,
    check_later_impressions,
    check_order_of_candidates,
    check_equal_candidates,
    check_delay,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_leaks(check: Check) -> None:
    check(PrequentialEvaluation)


@pytest.mark.parametrize(
    ("check", "leaking"),
    [
        (check_shuffled_labels, SeesOwnStatistics),
        (check_shuffled_labels, SeesOwnClicks),
        (check_shuffled_labels, LearnsWeightsFirst),
        (check_own_clicks, SeesOwnStatistics),
        (check_own_clicks, SeesOwnClicks),
        (check_own_clicks, SeesOwnCoClicks),
        (check_own_clicks, LearnsWeightsFirst),
        (check_order_of_candidates, BreaksTiesByFile),
        (check_equal_candidates, BreaksTiesByFile),
        (check_delay, HasNoDelay),
    ],
)
def test_a_leak_is_noticed(check: Check, leaking: Evaluation) -> None:
    with pytest.raises(AssertionError):
        check(leaking)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_leak_through_any_feature_is_noticed(feature: str) -> None:
    with pytest.raises(AssertionError, match="knows of the clicks"):
        check_own_clicks(telling(feature), position=10, n=12)


@given(st.integers(0, 59), st.integers(0, 3), st.sampled_from([0.0, 1.0, 300.0, 1_000.0, 3_600.0]))
@settings(max_examples=15)
def test_a_planted_click_changes_nothing_before_its_feedback(
    position: int, seed: int, delay_s: float
) -> None:
    check_own_clicks(PrequentialEvaluation, position, seed, delay_s)
    check_later_impressions(PrequentialEvaluation, position, seed)


def test_the_streams_of_these_tests_use_every_feature() -> None:
    x = np.concatenate([one.features for one in run(stream(60))])
    unused = [name for name, column in zip(FEATURES, x.T, strict=True) if not column.any()]
    assert not unused, "a leak through them would go unnoticed"


def test_a_log_without_its_future_is_ranked_the_same(tmp_path: Path) -> None:
    write_synth(tmp_path, SynthConfig(users=40, articles=120, impressions=300, seed=3), overwrite=True)
    lines = (tmp_path / "behaviors.tsv").read_text().splitlines(keepends=True)
    values = []
    for kept in (300, 200):
        (tmp_path / "behaviors.tsv").write_text("".join(lines[:kept]))
        log = read_impression_log(tmp_path)
        scores = SlateScores(METHODS)
        pooling = Pooling(1, (7_200.0, 604_800.0), 86_400.0, 1.0, 50, 200)
        PrequentialLog(log, None, pooling, OnlineRanker(), publication_times(log), scores).run(
            0, len(log), measured=True
        )
        own = scores.values[:, METHODS.index("freshet")]
        values.append(own[scores.positions < 200])
    np.testing.assert_array_equal(*values)
