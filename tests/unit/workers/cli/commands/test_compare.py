"""``freshet compare`` measures every model on the same later impressions, the oracle among them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from click.testing import CliRunner

from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.workers.cli.main import main


def test_models_baselines_and_oracle_stand_in_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    # gensim, which trains item2vec, is not there for Python 3.14 yet.
    second = "item2vec" if sys.version_info < (3, 14) else "dssm"
    write_synth(folder, SynthConfig(users=80, articles=200, impressions=900, seed=5))
    arguments = [
        "compare",
        str(folder),
        "--models",
        f"mf,{second}",
        "--keep",
        str(tmp_path / "kept"),
        "--json",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    methods = {method["name"]: method for method in found["methods"]}
    assert set(methods) >= {"mf", second, "oracle", "random", "popular", "newest"}
    aucs = [method["metrics"]["auc"]["mean"] for method in found["methods"]]
    assert aucs == sorted(aucs, reverse=True)
    assert found["methods"][0]["name"] == "oracle"
    assert methods["mf"]["auc_unseen_articles"]["mean"] == 0.5, "ids say nothing of a new article"
    assert methods["mf"]["training_examples_per_s"] > 0
    assert (tmp_path / "kept" / "mf" / "bundle.json").exists()


def test_a_model_that_does_not_train_on_impressions_is_wrong_usage(tmp_path: Path) -> None:
    for models in ("two-tower", "no-such", ""):
        result = CliRunner().invoke(main, ["compare", str(tmp_path), "--models", models])
        assert result.exit_code == 2
        assert "--models" in result.stderr
