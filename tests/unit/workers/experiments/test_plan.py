"""What is written on the command line becomes an experiment, or is refused with a reason."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from freshet.models.events.events import Control, RankerWeights, from_unix_s
from freshet.models.events.experiment import Experiment, Variant
from freshet.workers.experiments.plan import (
    VariantRefused,
    latest,
    new_weights,
    plan,
    running,
    served_by,
    share_left,
)

NOW = from_unix_s(1_767_000_000.0)


def experiment(name: str, share: float, hours: int = 0) -> Experiment:
    at = NOW + timedelta(hours=hours)
    variants = (Variant(name="A", share=share),)
    return Experiment(name=name, salt=name, created_at=at, shares_since=at, variants=variants)


def control(of: Experiment, kind: str = "experiment-started") -> Control:
    return Control.model_validate({"kind": kind, "subject": of.name, "time": NOW, "experiment": of})


def test_a_rankers_name_is_taken_as_it_is() -> None:
    found = plan("E", ("A=default:0.5", "B=content-1a2b:c:0.25"))
    assert found.variants == (
        Variant(name="A", share=0.5),
        Variant(name="B", share=0.25, ranker="content-1a2b:c"),
    )
    assert found.weights == {}


def test_a_bundle_is_named_by_its_id_or_by_what_stands_for_it() -> None:
    ids = {"tower-1": "tower-1", "bundles/tower": "tower-1"}
    for written in ids:
        found = plan("E", ("A=default:0.5", f"B=bundle:{written}:0.5"), ids.__getitem__)
        assert found.variants[1] == Variant(name="B", share=0.5, bundle="tower-1")
        assert [served_by(variant) for variant in found.variants] == ["default", "bundle:tower-1"]
    assert served_by(Variant(name="B", share=0.5, bundle="t", ranker="r")) == "bundle:t, ranked by r"


@pytest.mark.parametrize("wrap", [False, True])
def test_weights_of_a_file_get_a_name_of_their_own(tmp_path: Path, wrap: bool) -> None:
    weights = {"log_age": -1, "dot_best": 0.5}
    file = tmp_path / "w.json"
    file.write_text(json.dumps({"model": "m", "weights": weights} if wrap else weights))
    found = plan("E", ("A=default:0.5", f"B={file}:0.5"))
    assert found.variants[1] == Variant(name="B", share=0.5, ranker="E-B")
    assert found.weights == {"E-B": {"log_age": -1.0, "dot_best": 0.5}}


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("A", "a part is missing"),
        ("A=default", "a part is missing"),
        ("=default:0.5", "a part is missing"),
        ("A=default:half", "could not convert"),
        ("A=default:0", "greater than 0"),
        ("A=default:nan", "finite|greater than 0"),
        ("A=de fault:0.5", "match pattern"),
        ("A=missing.json:0.5", "No such file"),
    ],
)
def test_what_is_no_variant_is_refused(written: str, reason: str) -> None:
    with pytest.raises(VariantRefused, match=reason):
        plan("E", (written,))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"no_feature": 1.0}', "no_feature is no feature"),
        ('{"log_age": "much"}', "could not convert"),
        ("[1, 2]", "must be a JSON object"),
        ("{", "must be a JSON object"),
        ('{"log_age": NaN}', "not finite"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "w.json"
    file.write_text(content)
    with pytest.raises(VariantRefused, match=reason):
        plan("E", (f"B={file}:0.5",))


def test_only_weights_that_are_new_are_published() -> None:
    published = {"E-B": RankerWeights(model="E-B", revision=4, time=NOW, weights={"log_age": -1.0})}
    assert new_weights({"E-B": {"log_age": -1.0}}, published, NOW) == []
    (changed,) = new_weights({"E-B": {"log_age": -2.0}}, published, NOW)
    assert (changed.revision, changed.weights) == (5, {"log_age": -2.0})
    (first,) = new_weights({"E-C": {"log_age": -2.0}}, published, NOW)
    assert (first.model, first.revision) == ("E-C", 0)


def test_the_last_instruction_on_an_experiment_counts() -> None:
    first, second = experiment("E1", 0.5, hours=1), experiment("E2", 0.5)
    push = Control(kind="push-on", subject="E2", time=NOW)
    controls = [control(first), control(second), push]
    assert list(running(controls)) == ["E2", "E1"], "the older one first"
    controls.append(control(second, "experiment-stopped"))
    assert list(running(controls)) == ["E1"]
    assert latest(controls)["E2"].kind == "experiment-stopped"


def test_earlier_experiments_keep_their_users() -> None:
    new = experiment("E", 0.5, hours=2)
    assert share_left(new, [experiment("E1", 0.5), experiment("E2", 0.4, hours=1)]) == pytest.approx(0.3)
    assert share_left(new, [experiment("later", 1.0, hours=3)]) == 1.0
    assert share_left(new, [experiment("all", 1.0)]) == 0.0
