"""The comparison of libraries has a row for each, whatever is installed and however one fails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from freshet.models.events.events import from_unix_s
from freshet.models.ports import FloatMatrix
from freshet.streams.settings import Settings
from freshet.workers.bench.ann.libraries import LIBRARIES, Exact, Search, library_named
from freshet.workers.bench.ann.run import NOT_INSTALLED, ann_report, run
from freshet.workers.bench.report import Machine, render
from freshet.workers.bench.vectors import (
    SearchData,
    VectorsUnusable,
    bundle_data,
    clustered,
    file_data,
    synthetic_data,
)
from freshet.workers.cli.commands.bench import command
from tests.bundles import random_bundle

MACHINE = Machine(2, "a processor", 0.25, "3.11.0", {})


@dataclass(frozen=True)
class Absent:
    """A library whose package nobody has."""

    name: str = "absent"
    title: str = "Absent"
    parameters: str = "none"
    package: str = "no_such_package_of_anybody"
    least_articles: int = 1

    def build(self, vectors: FloatMatrix, folder: Path) -> None:
        raise AssertionError("it is not installed")

    def open(self, folder: Path) -> Search:
        raise AssertionError("it is not installed")


def test_a_library_is_measured_and_one_that_is_absent_or_fails_has_a_row_that_says_so() -> None:
    steps: list[tuple[int, int]] = []
    data = synthetic_data(200, 8, 5)
    unknown_to_the_child = Exact(name="unheard-of")
    libraries = [library_named("exact"), Absent(), library_named("faiss-ivf-pq"), unknown_to_the_child]
    found = run(data, 10, libraries, lambda done, total: steps.append((done, total)))
    exact, absent, too_few, broken = found["libraries"]
    assert exact["recall"] == exact["answered"] == 1.0
    assert exact["build_s"] > 0
    assert exact["saved_bytes"] >= 200 * 8 * 4
    assert 0 < exact["p50_ms"] <= exact["p99_ms"]
    assert 0 < exact["floor_p50_ms"] <= exact["floor_p99_ms"]
    assert absent["problem"] == NOT_INSTALLED
    assert too_few["problem"] in ("needs at least 256 articles", NOT_INSTALLED)
    assert "there is no library 'unheard-of'" in broken["problem"]
    assert steps[0] == (0, 4)
    assert steps[-1] == (4, 4)
    report = ann_report(found, MACHINE)
    assert {figure.what.split(":")[0] for figure in report.figures} == {"NumPy, exact, the floor"}
    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(render(report))
    assert NOT_INSTALLED in capture.get()
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["details"]["articles"] == 200


def test_fewer_vectors_than_asked_for_are_refused() -> None:
    with pytest.raises(VectorsUnusable, match="10 vectors and 5 queries: more than k = 10"):
        run(synthetic_data(10, 4, 5), 10, [Exact()])


def test_the_verb_prints_one_json_object_with_a_row_for_each_library(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, clustered(np.random.default_rng(0), 400, 8, 1)[0])
    arguments = ["ann", "--json", "--vectors", str(path), "--k", "5", "--queries", "10"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    details = json.loads(result.stdout)["details"]
    assert details["articles"] == 400
    assert [row["name"] for row in details["libraries"]] == [library.name for library in LIBRARIES]
    measured = {row["name"]: row for row in details["libraries"] if "problem" not in row}
    assert {"exact", "qdrant-edge"} <= measured.keys()
    assert all(0 < row["recall"] <= 1 for row in measured.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "."], "--bundle and --articles-of need each other"),
        (["--articles-of", "."], "--bundle and --articles-of need each other"),
        (["--bundle", ".", "--articles-of", ".", "--vectors", __file__], "exclude each other"),
    ],
)
def test_half_a_source_or_two_are_wrong_usage(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, ["ann", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_a_files_queries_lie_among_its_vectors(tmp_path: Path) -> None:
    vectors, _ = clustered(np.random.default_rng(0), 300, 16, 1)
    np.save(tmp_path / "v.npy", vectors.astype(np.float64))
    data = file_data(tmp_path / "v.npy", 7)
    np.testing.assert_allclose(data.vectors, vectors, rtol=1e-6)
    assert data.queries.shape == (7, 16)
    best = np.sort(data.queries @ vectors.T, axis=1)[:, -20:].mean()
    assert best > 2 * np.abs(data.queries @ vectors.T).mean()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5, np.float32), r"a matrix \(articles, d\) of floats is needed, got float32 \(5,\)"),
        (np.zeros((5, 2), np.int64), "got int64"),
        (np.array([[1.0, 2.0], [np.nan, 0.0]]), "1 of 2 rows are not finite, first row 1"),
    ],
)
def test_a_file_of_anything_else_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(VectorsUnusable, match=message):
        file_data(tmp_path / "v.npy", 3)


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.npy").write_text("not an array")
    with pytest.raises(VectorsUnusable, match="cannot be read as NumPy's"):
        file_data(tmp_path / "v.npy", 3)


def _folder(folder: Path, history: str) -> Path:
    folder.mkdir()
    categories = {"N1": "sport", "N2": "politics", "N3": "sport", "N4": "unheard of"}
    (folder / "news.tsv").write_text(
        "".join(f"{news_id}\t{category}\t\tTitle\t\t\t[]\t[]\n" for news_id, category in categories.items())
    )
    time = from_unix_s(1_573_463_158.0).strftime("%m/%d/%Y %I:%M:%S %p")
    (folder / "behaviors.tsv").write_text(f"1\tU1\t{time}\t{history}\tN1-1 N2-0 N3-0 N4-0\n")
    return folder


def test_a_bundles_vectors_are_asked_for_by_its_users_mean_clicks(tmp_path: Path) -> None:
    random_bundle(tmp_path / "bundle", d=4)
    folder = _folder(tmp_path / "mind", "N1 N2")
    data: SearchData = bundle_data(tmp_path / "bundle", folder, Settings(data_dir=tmp_path), 3)
    assert data.vectors.shape == (3, 4), "the article of an unknown category has no vector"
    assert data.queries.shape == (1, 4)
    np.testing.assert_allclose(data.queries[0], data.vectors[:2].mean(axis=0), rtol=1e-5)
    strangers = bundle_data(
        tmp_path / "bundle", _folder(tmp_path / "new", ""), Settings(data_dir=tmp_path), 3
    )
    assert strangers.queries.shape == (3, 4), "no history: articles that lie near each other stand in"


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorsUnusable, match="is no bundle"):
        bundle_data(tmp_path, tmp_path, Settings(data_dir=tmp_path), 3)
