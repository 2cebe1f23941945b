"""A model of headlines learns the words that are clicked, and its bundle scores as it did in training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from freshet.models.datasets.headline_tests import COLUMNS, HEADLINE_TESTS_FILE, read_headline_tests
from freshet.models.embedding.bundle import load_bundle
from freshet.models.evaluation.headlines.evaluation import headline_scores
from freshet.models.training.headlines.task import listwise_loss
from freshet.workers.cli.main import main

SUBJECTS = ("The mayor", "A dentist", "This dog", "My neighbour", "An old song", "The budget", "A bridge")
DULL = ("is discussed in a report", "was part of a statement", "remains under review")
VIVID = ("will make you cry with joy", "has a shocking secret", "just won our hearts")
WEEKS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two headlines a test; the vivid one gets five times the clicks."""
    path = tmp_path_factory.mktemp("headlines")
    lines = ["\t".join(COLUMNS)]
    for week in range(WEEKS):
        for number, subject in enumerate(SUBJECTS):
            for phrases, clicks in ((DULL, 10), (VIVID, 50)):
                phrase = phrases[(week + number) % len(phrases)]
                lines.append(f"t{week}-{number}\t{201401 + week}\t{subject} {phrase}\t1000\t{clicks}")
    (path / HEADLINE_TESTS_FILE).write_text("\n".join(lines) + "\n")
    return path


def test_what_is_clicked_is_learned_saved_and_measured(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    arguments = ["train", str(folder), "--model", "headlines", "--out", str(out), "--until", "0.8", "--json"]
    more = ["--validation", "0.2", "--epochs", "1", "--device", "cpu", "--set", "tuned_layers=1"]
    result = CliRunner().invoke(main, [*arguments, *more, "--set", "layers=2"])
    assert result.exit_code == 0, result.stderr
    bundle = load_bundle(out)
    assert bundle.manifest.encoder is not None and bundle.manifest.encoder.tuned
    assert (out / "encoder" / "model.safetensors").exists()
    tests = read_headline_tests(folder)
    scores = headline_scores(bundle, tests.headlines).reshape(-1, 2)
    assert (scores[:, 1] > scores[:, 0]).mean() > 0.9, "the vivid headline is the second of each test"
    measured = CliRunner().invoke(main, ["evaluate", str(folder), "--bundle", str(out), "--json"])
    assert measured.exit_code == 0, measured.stderr
    report = json.loads(measured.stdout)
    assert report["tests"] == len(SUBJECTS) * WEEKS // 5
    assert report["significant_pairs"]["accuracy"] > 0.9


def test_the_loss_is_least_where_scores_are_the_log_click_rates() -> None:
    clicks = torch.tensor([[10.0, 30.0, 0.0]])
    impressions = torch.tensor([[1000.0, 1500.0, 0.0]])
    weight = torch.ones(1)
    best = torch.tensor([[np.log(10 / 1000), np.log(30 / 1500), 7.0]], dtype=torch.float32)
    assert float(listwise_loss(best, clicks, impressions, weight)) == pytest.approx(0.0, abs=1e-6)
    shifted = listwise_loss(best + 3.0, clicks, impressions, weight)
    assert float(shifted) == pytest.approx(0.0, abs=1e-6), "what the arms share cancels"
    assert float(listwise_loss(best.flip(1), clicks, impressions, weight)) > 0.01
