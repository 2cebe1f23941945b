"""A worker serves each user by one variant, whatever else starts, stops or restarts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from freshet.models.events.events import (
    Click,
    Control,
    Impression,
    RankerWeights,
    Recommendation,
    RecommendedArticle,
    from_unix_s,
)
from freshet.models.events.experiment import Experiment, Variant
from freshet.models.ranking.linear import LinearRanker
from freshet.streams.state.experiments import Experiments
from freshet.streams.state.ranker_weights import Rankers

NOW = from_unix_s(1_767_000_000.0)
USERS = [f"U{i}" for i in range(400)]


def experiment(name: str, share: float = 0.5, **fields: Any) -> Experiment:
    """A by the default ranker, B by ``other``, each for ``share`` of the users."""
    variants = (Variant(name="A", share=share), Variant(name="B", share=share, ranker="other"))
    defaults = {"salt": name, "created_at": NOW, "shares_since": NOW, "variants": variants}
    return Experiment(**({"name": name} | defaults | fields))


def started(of: Experiment, kind: Any = "experiment-started") -> Control:
    return Control(kind=kind, subject=of.name, time=NOW, experiment=of)


@pytest.fixture
def rankers() -> Rankers:
    rankers = Rankers(LinearRanker())
    rankers.apply(RankerWeights(model="other", revision=3, time=NOW, weights={"log_age": -9.0}))
    return rankers


def served(experiments: Experiments, users: list[str] = USERS) -> dict[str, tuple[str, str, str]]:
    found = {user: experiments.treatment(user, NOW) for user in users}
    return {user: (t.experiment, t.variant, t.ranker.id) for user, t in found.items() if t is not None}


def value(name: str, *labels: str) -> float | None:
    names = ("experiment", "variant")[: len(labels)]
    return REGISTRY.get_sample_value(name, dict(zip(names, labels, strict=True)))


def test_each_variant_serves_its_users_by_its_ranker(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    assert served(experiments) == {}
    experiments.apply(started(experiment("E")))
    found = served(experiments)
    assert set(found.values()) == {("E", "A", "default-0"), ("E", "B", "other-3")}
    assert len(found) == len(USERS)


def test_a_restarted_worker_serves_users_as_before(rankers: Rankers) -> None:
    controls = [started(experiment("E2", 0.3)), started(experiment("E1", 0.3))]
    first, second = Experiments(rankers), Experiments(rankers)
    for control in controls:
        first.apply(control)
    for control in reversed(controls):
        second.apply(control)
    assert served(first) == served(second)


def test_a_new_experiment_moves_nobody_who_is_in_another(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    experiments.apply(started(experiment("old", 0.3)))
    before = served(experiments)
    # The name sorts before the other's: only its age may count.
    experiments.apply(started(experiment("a-new-one", 0.5, created_at=NOW + timedelta(hours=1))))
    after = served(experiments)
    assert before.items() <= after.items()
    assert {name for name, _, _ in after.values()} == {"old", "a-new-one"}
    assert len(after) == len(USERS)


def test_a_stopped_experiment_serves_nobody_and_can_be_started_again(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    of = experiment("E")
    experiments.apply(started(of))
    before = served(experiments)
    experiments.apply(started(of, "experiment-stopped"))
    assert served(experiments) == {}
    experiments.apply(started(of))
    assert served(experiments) == before


def test_outside_its_event_time_it_serves_nobody(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    experiments.apply(started(experiment("E", starts_at=NOW, stops_at=NOW + timedelta(hours=1))))
    assert experiments.treatment("U1", NOW) is not None
    assert experiments.treatment("U1", NOW + timedelta(hours=1)) is None
    assert experiments.treatment("U1", NOW - timedelta(hours=1)) is None


def test_a_variant_without_weights_serves_nobody_until_they_come(
    rankers: Rankers, caplog: pytest.LogCaptureFixture
) -> None:
    experiments = Experiments(rankers)
    variants = (Variant(name="A", share=0.5), Variant(name="B", share=0.5, ranker="late"))
    experiments.apply(started(experiment("E", variants=variants)))
    assert {variant for _, variant, _ in served(experiments).values()} == {"A"}
    assert len(caplog.records) == 1, "said once"
    rankers.apply(RankerWeights(model="late", revision=0, time=NOW, weights={}))
    assert {variant for _, variant, _ in served(experiments).values()} == {"A", "B"}


def test_new_weights_of_a_variants_ranker_are_served_at_once(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    experiments.apply(started(experiment("E")))
    rankers.apply(RankerWeights(model="other", revision=4, time=NOW, weights={"log_age": -8.0}))
    assert {ranker for _, _, ranker in served(experiments).values()} == {"default-0", "other-4"}


def test_each_variant_has_its_figures(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    experiments.apply(started(experiment("figures")))
    for number, user in enumerate(USERS):
        treatment = experiments.treatment(user, NOW)
        assert treatment is not None
        # The default ranker puts what is clicked first, the other last.
        scores = {"N1": 1.0, "N2": 0.0} if treatment.variant == "A" else {"N1": 0.0, "N2": 1.0}
        answer = Recommendation(
            request_id=f"R{number}",
            user_id=user,
            time=NOW,
            bundle="b",
            ranker=treatment.ranker.id,
            items=tuple(
                RecommendedArticle(news_id=news_id, score=score) for news_id, score in scores.items()
            ),
            experiment=treatment.experiment,
            variant=treatment.variant,
        )
        experiments.answered(answer, ranked=True)
        experiments.observe(
            Impression(
                impression_id=f"I{number}",
                user_id=user,
                time=NOW,
                candidates=("N1", "N2"),
                clicked=("N1",),
                request_id=f"R{number}",
            )
        )
        experiments.observe(Click(user_id=user, news_id="N1", time=NOW, request_id=f"R{number}"))
    counts = [
        value(f"freshet_experiment_{what}_total", "figures", "B")
        for what in ("answers", "impressions", "clicks")
    ]
    assert counts[0] == counts[1] == counts[2]
    assert value("freshet_experiment_rolling_auc_ratio", "figures", "A") == 1.0
    assert value("freshet_experiment_rolling_auc_ratio", "figures", "B") == 0.0
    assert value("freshet_experiment_sample_ratio_p_value_ratio", "figures") == 1.0
    experiments.apply(started(experiment("figures"), "experiment-stopped"))
    assert value("freshet_experiment_rolling_auc_ratio", "figures", "A") is None


def test_what_no_experiment_answered_is_not_counted(rankers: Rankers) -> None:
    experiments = Experiments(rankers)
    experiments.observe(
        Impression(impression_id="I", user_id="U", time=NOW, candidates=("N1",), request_id="R")
    )
    experiments.observe(Click(user_id="U", news_id="N1", time=NOW))
    experiments.apply(Control(kind="push-on", subject="U", time=NOW))
    assert experiments.names() == ()
