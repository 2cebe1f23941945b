"""``freshet evaluate --off-policy``: figures beside the sentence on them; what cannot be told is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freshet.models.ranking.linear import LinearRanker
from freshet.workers.cli.main import main
from freshet.workers.evaluation.off_policy.estimate import OffPolicyUnmeasurable, read_ranker
from tests.bundles import random_bundle
from tests.recommendation_logs import IDS, START_S, serve, write_log

WEIGHTS = {"log_ctr_all": 1.0, "log_age": -0.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log"), serve(600))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "other.json"
    path.write_text(json.dumps(WEIGHTS))
    return path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_json_holds_every_estimate_and_its_verdict(folder: Path, weights: Path) -> None:
    run = _run(folder, "--off-policy", "--weights", weights, "--top", 2, "--json")
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["protocol"], found["ranker"], found["lists"]) == ("off-policy", "other-0", 480)
    assert list(found["values"]) == ["clicks at position 1", "clicks at positions 1 to 2", "clicks per list"]
    for value in found["values"].values():
        assert value["trust"]["verdict"] in {"yes", "with care", "no"}
        assert value["snips"]["low"] < value["snips"]["mean"] < value["snips"]["high"]
        assert 0 < value["effective_sample_size"] < 480


def test_the_table_has_a_sentence_for_each_value(folder: Path) -> None:
    run = _run(folder, "--off-policy", "--temperature", 0.5)
    assert run.exit_code == 0, run.stderr
    for text in ("drawn at temperature 0.5", "SNIPS", "effective lists", "can it be trusted?"):
        assert text in " ".join(run.stdout.split())


def test_a_temperature_at_which_the_log_was_drawn_gives_the_logs_own_value(folder: Path) -> None:
    found = json.loads(_run(folder, "--off-policy", "--temperature", 0.5, "--json").stdout)
    value = found["values"]["clicks per list"]
    assert value["ips"]["mean"] == pytest.approx(value["on_policy"]["mean"], rel=1e-4)
    assert value["effective_sample_size"] == pytest.approx(480, rel=1e-4)


def test_a_deterministic_log_is_refused_with_the_reason(tmp_path: Path, weights: Path) -> None:
    folder = write_log(tmp_path / "log", serve(200, temperature=None))
    run = _run(folder, "--off-policy", "--weights", weights)
    assert run.exit_code == 1
    assert "deterministic" in run.stderr
    assert "exploration" in run.stderr
    assert _run(folder, "--off-policy").exit_code == 0


def test_a_log_without_propensities_is_refused_with_the_reason(tmp_path: Path) -> None:
    served = serve(50)
    served.recommendations = [
        recommendation.model_copy(
            update={
                "items": tuple(item.model_copy(update={"propensity": None}) for item in recommendation.items)
            }
        )
        for recommendation in served.recommendations
    ]
    run = _run(write_log(tmp_path / "log", served), "--off-policy")
    assert run.exit_code == 1
    assert "40 have a recommendation without propensities" in run.stderr


def test_measuring_begins_where_it_is_told(folder: Path) -> None:
    found = json.loads(_run(folder, "--off-policy", "--from", 0.5, "--json").stdout)
    assert found["lists"] == 300
    run = _run(folder, "--off-policy", "--from", "2030-01-01")
    assert run.exit_code == 1
    assert "--from" in run.stderr


def test_a_bundle_brings_vectors_and_is_judged_on_later_lists(folder: Path, tmp_path: Path) -> None:
    bundle = random_bundle(
        tmp_path / "b",
        features=("news_id",),
        vocabularies={"news_id": tuple(IDS)},
        ranker_weights={"dot_best": 1.0},
        end_s=START_S + 60.0 * 299,
    )
    run = _run(folder, "--off-policy", "--bundle", bundle.folder, "--temperature", 1, "--json")
    assert run.exit_code == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["bundle"], found["ranker"], found["lists"]) == (bundle.id, "random-0", 300)
    without = json.loads(_run(folder, "--off-policy", "--temperature", 1, "--from", 0.5, "--json").stdout)
    assert found["values"]["clicks per list"]["ips"] != without["values"]["clicks per list"]["ips"]
    leaking = _run(folder, "--off-policy", "--bundle", bundle.folder, "--from", 0.1)
    assert leaking.exit_code == 1
    assert "was trained on" in leaking.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--weights", __file__),
        ("--temperature", "1"),
        ("--top", "2"),
        ("--off-policy", "--report", "x.html"),
        ("--off-policy", "--temperature", "0"),
        ("--off-policy", "--top", "1"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(folder: Path, arguments: tuple[str, ...]) -> None:
    assert _run(folder, *arguments).exit_code == 2


def test_a_folder_that_is_no_log_is_an_error(tmp_path: Path) -> None:
    run = _run(tmp_path, "--off-policy")
    assert run.exit_code == 1
    assert "recommendations.jsonl" in run.stderr


def test_weights_are_an_object_or_a_record_of_ranker_weights(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    path.write_text(json.dumps(WEIGHTS))
    assert read_ranker(path) == LinearRanker(WEIGHTS, "learned", 0)
    path.write_text(json.dumps({"model": "default", "revision": 7, "weights": WEIGHTS}))
    assert read_ranker(path) == LinearRanker(WEIGHTS, "default", 7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "unexpected end"),
        ("[1]", "not a JSON object of weights"),
        ('{"log_age": "much"}', "not a JSON object of weights"),
        ('{"no_such": 1}', "no_such is no feature"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(text)
    with pytest.raises(OffPolicyUnmeasurable, match=why):
        read_ranker(path)
