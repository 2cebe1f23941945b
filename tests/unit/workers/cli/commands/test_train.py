"""``freshet train``: the same data make the same bundle, nothing after the cut is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.embedding.bundle import load_bundle
from freshet.workers.cli.main import main
from freshet.workers.errors import WorkerError
from freshet.workers.training.models import MODELS

QUICK = ("--epochs", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "paper"
    write_synth(path, SynthConfig(users=60, articles=150, impressions=500, seed=5))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def trained(folder: Path, out: Path, *more: object, model: str = "mf") -> dict[str, Any]:
    result = run("train", folder, "--model", model, "--out", out, "--json", *more)
    assert result.exit_code == 0, result.stderr
    described: dict[str, Any] = json.loads(result.stdout)
    return described


def test_the_same_run_gives_the_same_bundle_and_another_seed_another(folder: Path, tmp_path: Path) -> None:
    first = trained(folder, tmp_path / "a", *QUICK)
    assert first["bundle"] == load_bundle(tmp_path / "a").id
    assert trained(folder, tmp_path / "b", *QUICK)["bundle"] == first["bundle"]
    assert trained(folder, tmp_path / "c", *QUICK, "--seed", 1)["bundle"] != first["bundle"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"], "no checkpoint is left"


def test_training_ends_where_it_was_told_to(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path / "a", *QUICK, "--until", 0.5)
    log = read_impression_log(folder)
    manifest = load_bundle(tmp_path / "a").manifest
    assert manifest.training.end_s == log.time_s[log.position_at(0.5) - 1]
    assert manifest.training.data_sha256 == log.sha256
    assert manifest.training.folder == "paper"
    shown_before = set(log.slice(0, log.position_at(0.5)).candidates.tolist())
    later_only = {log.articles.ids[article] for article in set(log.candidates.tolist()) - shown_before}
    assert later_only
    assert not later_only & set(manifest.vocabularies["news_id"])


def test_settings_reach_the_model(folder: Path, tmp_path: Path) -> None:
    assert trained(folder, tmp_path / "a", *QUICK, "--set", "d=7")["d"] == 7
    assert load_bundle(tmp_path / "a").manifest.training.settings["d"] == 7


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "dd=7"), "no such setting; there are"),
        (("--set", "d=many"), "--set d: "),
        (("--set", "d=0"), "d "),
        (("--until", "0.0001"), "choose other shares"),
    ],
)
def test_what_cannot_be_trained_is_said(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = run("train", folder, "--model", "mf", "--out", tmp_path / "a", *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not (tmp_path / "a").exists()


def test_a_folder_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    result = run("train", folder, "--model", "two-tower", "--out", tmp_path / "a")
    assert result.exit_code == 1
    assert "two-tower trains on a MovieLens folder" in result.stderr
    result = run("train", tmp_path, "--model", "mf", "--out", tmp_path / "a")
    assert result.exit_code == 1
    assert "behaviors.tsv" in result.stderr


def test_a_bad_line_is_named_and_left_out_when_asked(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    lines = (folder / "behaviors.tsv").read_text().splitlines(keepends=True)
    (bad / "behaviors.tsv").write_text("".join([*lines[:3], "broken\n", *lines[3:]]))
    (bad / "news.tsv").write_bytes((folder / "news.tsv").read_bytes())
    result = run("train", bad, "--model", "mf", "--out", tmp_path / "a", *QUICK)
    assert result.exit_code == 1
    assert "behaviors.tsv:4: 1 columns, not 5" in result.stderr
    trained(bad, tmp_path / "a", *QUICK, "--skip-bad-lines")


def test_a_folder_that_is_no_bundle_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("keep me")
    result = run("train", folder, "--model", "mf", "--out", tmp_path / "letters", *QUICK)
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert (tmp_path / "letters" / "one.txt").read_text() == "keep me"


def test_every_model_and_setting_is_found() -> None:
    for model in MODELS.values():
        for trainer in model.trainers.values():
            try:
                assert callable(trainer.load_function())
                trainer.load_settings()()
            except WorkerError as error:
                # What it needs is not there for this Python yet.
                assert sys.version_info >= (3, 14) and "gensim" in str(error)


def test_an_interrupted_run_saves_no_bundle_and_goes_on(folder: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "freshet.workers", "train", str(folder), "--model", "mf"),
        *("--out", str(tmp_path / "a"), "--epochs", "60", "--patience", "60", "--device", "cpu", "--json"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("epoch 2"):
            os.kill(process.pid, signal.SIGINT)
            break
    _, rest = process.communicate()
    assert process.returncode == 130, said + rest
    assert "goes on from there" in " ".join(rest.split())
    assert not (tmp_path / "a").exists()
    (checkpoint,) = (tmp_path / "a.training").iterdir()
    assert checkpoint.suffix == ".safetensors"
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "epoch 1:" not in again.stderr, "it went on instead of beginning again"
    assert json.loads(again.stdout)["bundle"] == load_bundle(tmp_path / "a").id
    assert not (tmp_path / "a.training").exists()


def test_a_package_that_is_not_there_for_this_python_is_named_with_the_pythons_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gensim", None)
    for module in (
        "gensim.models",
        "freshet.models.training.item2vec.word2vec",
        "freshet.models.training.item2vec.item2vec",
    ):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for without, remedy in (
        ((4, 0), r"pip install 'freshet\[embed,train\]'"),
        ((3, 11), "Python 3.11 to 3.13"),
    ):
        monkeypatch.setattr("freshet.workers.training.models._WITHOUT_GENSIM", without)
        with pytest.raises(WorkerError, match=f"needs gensim, which is not installed: .*{remedy}"):
            MODELS["item2vec"].trainers["mind"].load_function()
