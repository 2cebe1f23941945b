"""``freshet drift`` compares two bundles or two periods, and its exit status can be a gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freshet.models.events.events import from_unix_s, to_unix_s
from freshet.workers.cli.main import main
from freshet.workers.evaluation.drift.report import Split
from tests.bundles import random_bundle

START_S = 1_573_430_400.0
"""2019-11-11T00:00 UTC."""
CATEGORIES = ("sport", "politics")


def _folder(folder: Path) -> Path:
    """60 articles, 40 impressions: 20 of the first 30 and clicked on sport, 20 of all and on politics."""
    folder.mkdir()
    news = [f"N{i}\t{CATEGORIES[i % 2] if i < 58 else ''}\t\tTitle {i}\t\t\t[]\t[]\n" for i in range(60)]
    (folder / "news.tsv").write_text("".join(news))
    lines = []
    for i in range(40):
        time = from_unix_s(START_S + 3_600.0 * i).strftime("%m/%d/%Y %I:%M:%S %p")
        later = i >= 20
        shown = [(7 * i + j) % (60 if later else 30) for j in range(6)]
        clicked = next(number for number in shown if number % 2 == later)
        slots = " ".join(f"N{number}-{int(number == clicked)}" for number in shown)
        lines.append(f"{i}\tU{i % 5}\t{time}\t\t{slots}\n")
    (folder / "behaviors.tsv").write_text("".join(lines))
    return folder


def _bundle(folder: Path, seed: int, d: int = 16) -> str:
    ids = tuple(f"N{i}" for i in range(60))
    bundle = random_bundle(folder, d=d, features=("news_id",), vocabularies={"news_id": ids}, seed=seed)
    return str(bundle.folder)


def _run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["drift", *arguments, "--data-dir", str(tmp_path / "data")])


def _json(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    result = _run(tmp_path, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_bundle_has_not_drifted_from_itself(tmp_path: Path) -> None:
    folder, bundle = _folder(tmp_path / "mind"), _bundle(tmp_path / "a", 0)
    found = _json(tmp_path, str(folder), "--bundle", bundle, "--against", bundle)
    assert found["bundle"] == found["against"]
    assert found["articles"] == 60
    assert found["overlap"]["mean"] == 1.0
    assert found["norms"]["relative"] == 0.0
    assert found["cosines"]["mean"] == pytest.approx(0.0, abs=1e-12)


def test_two_trainings_share_few_neighbours_and_a_gate_says_so(tmp_path: Path) -> None:
    folder, a, b = _folder(tmp_path / "mind"), _bundle(tmp_path / "a", 0), _bundle(tmp_path / "b", 1)
    arguments = [str(folder), "--bundle", a, "--against", b, "--k", "5"]
    found = _json(tmp_path, *arguments)
    assert found["overlap"]["k"] == 5
    assert found["overlap"]["mean"] < 0.5
    assert found["cosines"]["mean"] > 0.5
    shown = _run(tmp_path, *arguments, "--min-overlap", "0.9")
    assert shown.exit_code == 1
    assert "overlap@5" in shown.output
    assert "below --min-overlap 0.9" in shown.output
    assert _run(tmp_path, *arguments, "--min-overlap", "0").exit_code == 0


def test_bundles_of_other_dimensions_are_compared_by_neighbourhoods(tmp_path: Path) -> None:
    folder, a, b = _folder(tmp_path / "mind"), _bundle(tmp_path / "a", 0), _bundle(tmp_path / "b", 0, d=8)
    found = _json(tmp_path, str(folder), "--bundle", a, "--against", b)
    assert found["cosines"] is None
    assert found["centroid"] is None
    assert "the dimensions differ" in _run(tmp_path, str(folder), "--bundle", a, "--against", b).output


def test_a_period_that_clicks_other_categories_shows(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "mind")
    found = _json(tmp_path, str(folder), "--split", "0.5")
    assert (found["before"], found["after"]) == (20, 20)
    assert found["clicked"]["shift"]["reading"] == "significant shift"
    assert found["clicked"]["shift"]["psi"] > 5 * found["clicked"]["shift"]["by_chance"]
    assert found["shown"]["shift"]["reading"] == "stable"
    assert found["shown"]["unknown_before"] == 0
    assert found["shown"]["unknown_after"] > 0, "two articles have no category"
    assert found["vectors"] is None
    gate = _run(tmp_path, str(folder), "--split", "0.5", "--max-psi", "0.25")
    assert gate.exit_code == 1
    assert "the PSI of categories clicked is" in gate.output


def test_a_time_splits_as_its_fraction_does_and_a_bundle_adds_new_articles(tmp_path: Path) -> None:
    folder, bundle = _folder(tmp_path / "mind"), _bundle(tmp_path / "a", 0)
    by_time = _json(tmp_path, str(folder), "--split", "2019-11-11T20:00", "--bundle", bundle)
    by_share = _json(tmp_path, str(folder), "--split", "0.5", "--bundle", bundle)
    assert by_time == by_share
    assert by_time["split"].startswith("2019-11-11T20:00:00")
    assert by_time["vectors"]["before"] == 30
    assert by_time["vectors"]["after"] == 30
    assert by_time["vectors"]["novelty"]["after"] > 0
    shown = _run(tmp_path, str(folder), "--split", "0.5", "--bundle", bundle).output
    assert "categories clicked" in shown
    assert "novelty" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "says what to compare"),
        (["--split", "0.5", "--against", "."], "says what to compare"),
        (["--against", "."], "--against needs --bundle"),
        (["--split", "0.5", "--min-overlap", "0.5"], "--min-overlap goes with --against"),
        (["--bundle", ".", "--against", ".", "--max-psi", "0.5"], "--max-psi goes with --split"),
        (["--split", "1.5"], "a fraction lies between 0 and 1"),
        (["--split", "yesterday"], "'yesterday' must be a fraction such as 0.8"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = _run(tmp_path, str(_folder(tmp_path / "mind")), *arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", ".", "--against", "."], "is no bundle"),
        (["--split", "2030-01-01"], "all 40 impressions lie on one side of the split"),
        (["--split", "0.001"], "they are from 2019-11-11T00:00:00 to 2019-11-12T15:00:00 UTC"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = _run(tmp_path, str(_folder(tmp_path / "mind")), *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_a_time_without_an_offset_is_in_utc() -> None:
    expected = to_unix_s(from_unix_s(START_S))
    for text in ("2019-11-11", "2019-11-11T00:00", "2019-11-11T01:00+01:00", "2019-11-11T00:00Z"):
        assert Split.parse(text).time_s == expected


def test_lines_that_cannot_be_read_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "mind")
    with (folder / "behaviors.tsv").open("a") as file:
        file.write("not a line\n" * 7)
    refused = _run(tmp_path, str(folder), "--split", "0.5")
    assert refused.exit_code == 1
    assert "behaviors.tsv:41: " in refused.stderr
    assert "--skip-bad-lines" in refused.stderr
    found = _run(tmp_path, str(folder), "--split", "0.5", "--skip-bad-lines")
    assert found.exit_code == 0, found.output
    assert "left out: behaviors.tsv:41: " in found.stderr
    assert "7 lines were left out in all" in found.stderr
