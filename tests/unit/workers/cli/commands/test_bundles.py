"""``freshet bundles`` shows what lies in a catalogue, damaged bundles included, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freshet.models.embedding.bundle import WEIGHTS_FILE, Bundle
from freshet.workers.cli.main import main
from tests.bundles import random_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return random_bundle(tmp_path / "bundles" / "small", d=8)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bundles", *map(str, args)], standalone_mode=False)


def test_the_list_has_each_bundles_id_and_figures_and_says_which_are_damaged(bundle: Bundle) -> None:
    folder = bundle.folder.parent
    damaged = random_bundle(folder / "damaged", name="damaged", seed=1)
    (damaged.folder / WEIGHTS_FILE).write_bytes(b"short")
    (folder / "notes").mkdir()

    result = run("list", folder, "--json")
    listed = {Path(row["folder"]).name: row for row in json.loads(result.stdout)["bundles"]}
    assert listed.keys() == {"small", "damaged"}
    assert (listed["small"]["id"], listed["small"]["d"], listed["small"]["encoder"]) == (bundle.id, 8, None)
    assert listed["small"]["figures"] == {"auc": 0.5}
    assert WEIGHTS_FILE in listed["damaged"]["error"]
    assert run("list", "--bundles", folder).exit_code == 0


def test_a_bundle_is_shown_by_its_folder_or_by_its_id_in_the_catalogue(bundle: Bundle) -> None:
    by_folder = json.loads(run("show", bundle.folder, "--json").stdout)
    by_id = json.loads(run("show", bundle.id, "--bundles", bundle.folder.parent, "--json").stdout)
    assert by_folder == by_id
    assert by_folder["id"] == bundle.id
    assert by_folder["vocabularies"] == {"category": 2}
    assert by_folder["weights"]["article.category.weight"] == [3, 8]


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, bundle: Bundle) -> None:
    for args, said in (
        (("show", tmp_path), "no bundle"),
        (("show", "other", "--bundles", bundle.folder.parent), f"small is {bundle.id}"),
        (("list", tmp_path / "none"), "freshet train"),
    ):
        result = run(*args)
        assert result.exception is not None
        assert said in str(getattr(result.exception, "message", result.exception))
