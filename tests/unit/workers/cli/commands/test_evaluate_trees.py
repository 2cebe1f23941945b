"""``freshet evaluate --trees`` measures a ranker with trees beside the one without, on the same slates."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.workers.cli.main import main
from freshet.workers.evaluation.protocols import WITH_TREES


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    write_synth(folder, SynthConfig(users=60, articles=150, impressions=1_000, seed=3), overwrite=True)
    return folder


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, args)], catch_exceptions=True)


def test_trees_are_measured_beside_the_ranker_without_them(synth: Path) -> None:
    found = json.loads(run(synth, "--trees", "--json").stdout)
    plain = json.loads(run(synth, "--json", "--learner", "newton").stdout)
    assert found["methods"]["freshet"] == plain["methods"]["freshet"]
    assert WITH_TREES not in plain["methods"]
    assert found["methods"][WITH_TREES]["auc"]["mean"] > found["methods"]["random"]["auc"]["mean"] + 0.05
    assert found["methods"][WITH_TREES] != found["methods"]["freshet"]
    difference = found["auc_differences"][WITH_TREES]
    assert difference["low"] <= difference["mean"] <= difference["high"]


def test_a_run_with_trees_can_be_repeated(synth: Path) -> None:
    first, second = (json.loads(run(synth, "--trees", "--json").stdout)["methods"] for _ in range(2))
    assert first[WITH_TREES] == second[WITH_TREES]


@pytest.mark.parametrize("args", [("--protocol", "frozen"), ("--learner", "none"), ("--off-policy",)])
def test_trees_go_with_learning(synth: Path, args: tuple[str, ...]) -> None:
    result = run(synth, "--trees", *args)
    assert isinstance(result.exception, click.UsageError) or result.exit_code == 2


def test_without_scikit_learn_the_error_says_what_to_install(
    synth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    result = run(synth, "--trees")
    text = (
        result.exception.format_message()
        if isinstance(result.exception, click.ClickException)
        else result.output
    )
    assert "freshet[train]" in " ".join(text.split())
