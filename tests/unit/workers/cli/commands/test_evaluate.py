"""``freshet evaluate`` measures folders by both protocols, and says what is wrong with those it cannot."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.synthetic.folder import write_synth
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.embedding.bundle import EncoderSpec
from freshet.models.evaluation.ablation import GROUPS
from freshet.models.ranking.linear import DEFAULT_WEIGHTS
from freshet.workers.cli.main import main
from freshet.workers.evaluation.html_report import MAX_REPORT_BYTES
from freshet.workers.training import text_vectors
from tests.bundles import random_bundle
from tests.logs import Line, write_log

LINES: list[Line] = [("U1", 60.0 * i, "N3", "N1-1 N2-0") for i in range(10)]
SPEC = EncoderSpec(name="lengths", pooling="mean", d=3)


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    write_synth(folder, SynthConfig(users=60, articles=150, impressions=500, seed=3), overwrite=True)
    return folder


@dataclass(frozen=True)
class Ran:
    """What a run of the command gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*args: object) -> Ran:
    runner = CliRunner()
    try:
        result = runner.invoke(main, ["evaluate", *map(str, args)])
    except click.ClickException as error:
        return Ran(error.exit_code, "", error.format_message())
    return Ran(result.exit_code, result.stdout, " ".join(result.stderr.split()))


@pytest.mark.parametrize("protocol", ["prequential", "frozen"])
def test_a_folder_is_measured_by_ids_alone(synth: Path, protocol: str) -> None:
    found = run(synth, "--protocol", protocol, "--json").json

    assert (found["protocol"], found["bundle"], found["impressions"]) == (protocol, None, 500)
    assert found["measured"] + found["left_out"] == {"prequential": 400, "frozen": 100}[protocol]
    for metrics in found["methods"].values():
        for figure in metrics.values():
            assert figure["low"] <= figure["mean"] <= figure["high"]
    assert found["methods"]["random"]["auc"]["mean"] == pytest.approx(0.5, abs=0.06)
    titles = {table["title"] for table in found["segments"]}
    assert {"users", "hour of the day (UTC)", "candidates by category"} <= titles
    assert found["speed"]["impressions_per_s"] > 0


def test_the_ranker_learns_beside_what_it_began_with_and_the_oracle(synth: Path) -> None:
    found = run(synth, "--json").json

    assert (found["main"], found["learner"]) == ("freshet", "newton")
    assert {"start weights", "oracle", "click rate so far"} <= set(found["methods"])
    assert found["methods"]["oracle"]["auc"]["low"] > found["methods"]["freshet"]["auc"]["high"]
    gain = found["auc_differences"]["start weights"]
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert found["weights"] != DEFAULT_WEIGHTS
    titles = {table["title"] for table in found["segments"]}
    assert {"clicks of the user before", "candidates by age when shown"} <= titles
    assert found["ablation"] == []


@pytest.mark.parametrize("learner", ["adagrad", "none"])
def test_how_to_learn_can_be_chosen(synth: Path, learner: str) -> None:
    found = run(synth, "--learner", learner, "--json").json

    assert found["learner"] == learner
    assert ("start weights" in found["methods"]) is (learner != "none")
    assert (found["weights"] == DEFAULT_WEIGHTS) is (learner == "none")


def test_what_the_workers_do_not_learn_is_not_learned(synth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_LEARN", "false")
    assert run(synth, "--json").json["learner"] == "none"


def test_delayed_feedback_is_told_of_and_worth_less(synth: Path) -> None:
    at_once, late = (run(synth, "--feedback-delay", s, "--json").json for s in (0, 86_400))

    assert not any("after their impression" in note for note in at_once["notes"])
    assert "clicks and skips are known 86400 s after their impression" in late["notes"]
    auc = [found["methods"]["click rate so far"]["auc"]["mean"] for found in (at_once, late)]
    assert auc[0] > auc[1]


def test_the_ablation_is_in_text_report_and_json(synth: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ran = run(synth, "--ablation", "--report", report)
    assert ran.status == 0, ran.err
    text = report.read_text()
    for page in (ran.out, text):
        assert "co-clicks" in page and "alone" in page
    assert "AUC over time" in ran.out and "AUC over time" in text
    # What is only compared is not drawn, nor divided into segments.
    assert "without co-clicks" not in text

    groups = run(synth, "--ablation", "--json").json["ablation"]
    assert {group["group"] for group in groups} == set(GROUPS)
    losses = [group["loss"]["mean"] for group in groups]
    assert losses == sorted(losses, reverse=True)


def test_a_truth_of_other_impressions_is_no_oracle(tmp_path: Path, synth: Path) -> None:
    folder = write_log(tmp_path / "log", LINES)
    (folder / "truth.npy").write_bytes((synth / "truth.npy").read_bytes())
    ran = run(folder, "--json")

    assert "oracle" not in ran.json["methods"]
    assert "truth.npy is not of this behaviors.tsv" in ran.err


@pytest.mark.parametrize(
    "args",
    [
        ("--ablation", "--protocol", "frozen"),
        ("--learner", "newton", "--off-policy"),
        ("--feedback-delay", "60", "--protocol", "frozen"),
        ("--feedback-delay", "-1"),
        ("--ablation", "--learner", "none"),
        ("--learner", "sgd"),
    ],
)
def test_learning_goes_with_the_prequential_protocol(synth: Path, args: tuple[str, ...]) -> None:
    assert run(synth, *args).status == 2


def test_a_run_can_be_repeated(synth: Path) -> None:
    one, same = (run(synth, "--protocol", "frozen", "--json").json for _ in range(2))
    for found in (one, same):
        del found["speed"]
    assert one == same


def test_a_bundle_is_measured_after_its_training_period(synth: Path, tmp_path: Path) -> None:
    log = read_impression_log(synth)
    categories = tuple(sorted(set(log.articles.categories)))
    end_s = float(log.time_s[299])
    random_bundle(tmp_path / "b", vocabularies={"category": categories}, population=True, end_s=end_s)
    for protocol in ("prequential", "frozen"):
        found = run(synth, "--bundle", tmp_path / "b", "--protocol", protocol, "--json").json

        assert found["bundle"].startswith("random-")
        assert found["measured"] + found["left_out"] == len(log) - log.before(end_s + 1)
        assert found["space"]["same_category"] > 0.7
        assert "diversity@5" in found["methods"][found["main"]]
    assert found["main"] == "bundle"
    assert found["speed"]["dot_products_s"] > 0


def test_a_leak_is_refused_and_a_later_begin_is_not(synth: Path, tmp_path: Path) -> None:
    end_s = float(read_impression_log(synth).time_s[299])
    random_bundle(tmp_path / "b", end_s=end_s)
    leaking = run(synth, "--bundle", tmp_path / "b", "--from", "0.2")
    assert leaking.status == 1
    assert "would measure what it has seen" in leaking.err

    later = run(synth, "--bundle", tmp_path / "b", "--from", "0.9", "--protocol", "frozen", "--json").json
    assert later["measured"] + later["left_out"] == 50


def test_texts_are_encoded_by_the_bundles_encoder(
    synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: object, texts: list[tuple[str, str]]) -> np.ndarray:
        return np.array([[len(title), len(abstract), 1.0] for title, abstract in texts], np.float32)

    monkeypatch.setattr(text_vectors.ChosenEncoder, "encode", encode)
    random_bundle(tmp_path / "b", encoder=SPEC, end_s=1.0)
    ran = run(
        synth, "--bundle", tmp_path / "b", "--protocol", "frozen", "--data-dir", tmp_path / "data", "--json"
    )
    assert ran.json["space"]["overlap_with_text"] is not None
    assert list((tmp_path / "data" / "text-vectors").glob("*.npy"))


class _Document(HTMLParser):
    """Which elements a page has, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.ids: list[str] = []
        self.references: list[str] = []
        self.figures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        self.ids += [found["id"] or ""] if "id" in found else []
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag == "svg":
            self.figures.append(found)


def test_the_report_needs_nothing_else_and_can_be_heard(synth: Path, tmp_path: Path) -> None:
    log = read_impression_log(synth)
    categories = tuple(sorted(set(log.articles.categories)))
    bundle = random_bundle(
        tmp_path / "b", vocabularies={"category": categories}, end_s=float(log.time_s[299])
    )
    report = tmp_path / "report.html"
    ran = run(synth, "--bundle", bundle.folder, "--report", report, "--protocol", "frozen")
    assert ran.status == 0, ran.err
    text = report.read_text()
    page = _Document(text)

    assert len(text) < MAX_REPORT_BYTES
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.count and "link" not in page.count and "img" not in page.count
    assert page.count["svg"] == page.count["figure"] == page.count["figcaption"] == 4
    assert all(figure.get("role") == "img" and figure.get("aria-label") for figure in page.figures)
    assert page.count["table"] == page.count["caption"] > 8
    assert 'name="viewport"' in text and '<html lang="en">' in text
    assert bundle.id in text and log.sha256 in text and "Map of the articles" in text
    assert "bundle" in ran.out and "AUC" in ran.out


def test_what_comes_from_the_data_is_text_in_the_report(tmp_path: Path) -> None:
    category = "<script>$_{"
    folder = write_log(tmp_path / "<b>log", LINES, {"N1": category, "N2": category})
    random_bundle(tmp_path / "b", vocabularies={"category": (category,)}, end_s=1.0)
    report = tmp_path / "report.html"
    ran = run(folder, "--bundle", tmp_path / "b", "--report", report)
    assert ran.status == 0, ran.err
    text = report.read_text()
    assert "<script>" not in text and "<b>log" not in text
    assert "&lt;script&gt;$_{" in text


BEHAVIORS = "1\tU1\t11/15/2023 1:00:00 PM\t\tN1-1 N2-0\n"


@pytest.mark.parametrize(
    ("behaviors", "news", "said"),
    [
        (None, None, "Expected a MIND folder"),
        ("", "", "behaviors.tsv: no impression in it"),
        (BEHAVIORS + "2\tU1\t\tN1-1\n", "", "behaviors.tsv:2: 4 columns, not 5"),
        (BEHAVIORS + "2\tU1\t13/45/2023 1:00:00 PM\t\tN1-1\n", "", "behaviors.tsv:2: time"),
        (BEHAVIORS + "2\tU1\t11/15/2023 1:00:00 PM\t\tN1-2 N2-0\n", "", "behaviors.tsv:2: candidate 'N1-2'"),
        ("1\tU1\t11/15/2023 1:00:00 PM\t\tN1 N2\n", "", "behaviors.tsv:1: no labels on the candidates"),
        (BEHAVIORS, "N1\tsports\n", "news.tsv:1: 2 columns, not 8"),
        (BEHAVIORS.replace("N2-0", "N2-1"), "", "none has both a clicked and a skipped candidate"),
    ],
)
def test_bad_data_is_an_error_with_file_and_line(
    tmp_path: Path, behaviors: str | None, news: str | None, said: str
) -> None:
    for name, text in (("behaviors.tsv", behaviors), ("news.tsv", news)):
        if text is not None:
            (tmp_path / name).write_text(text)
    ran = run(tmp_path, "--from", "0")
    assert ran.status == 1
    assert said in ran.err


def test_bad_lines_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    write_log(tmp_path, LINES)
    with (tmp_path / "behaviors.tsv").open("a") as file:
        file.write("no impression\n")
    ran = run(tmp_path, "--skip-bad-lines", "--json")
    assert ran.json["bad_lines"] == 1
    assert "behaviors.tsv:11: 1 columns, not 5" in ran.err


def test_a_bundle_of_texts_needs_articles_with_texts(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", LINES)
    random_bundle(tmp_path / "b", encoder=SPEC, end_s=1.0)
    ran = run(folder, "--bundle", tmp_path / "b")
    assert ran.status == 1
    assert "needs the articles' texts, and no article that is shown has a line in news.tsv" in ran.err


def test_articles_without_a_news_row_and_users_without_history_are_told_of(tmp_path: Path) -> None:
    lines = [(user, after_s, "", slate) for user, after_s, _, slate in LINES]
    folder = write_log(tmp_path / "log", lines, {"N1": "sport"})
    random_bundle(tmp_path / "b", end_s=1.0)
    notes = run(folder, "--bundle", tmp_path / "b", "--protocol", "frozen", "--json").json["notes"]

    assert any("1 of 2 articles have no line in news.tsv" in note for note in notes)
    assert any("1 of 2 articles have no vector" in note for note in notes)
    assert any("no line has a click history" in note for note in notes)


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", LINES)
    random_bundle(tmp_path / "b", end_s=1.0)
    nothing = run(folder, "--bundle", tmp_path / "nothing")
    assert (nothing.status, "is no bundle" in nothing.err) == (1, True)

    weights = tmp_path / "b" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    weights.write_bytes(data)
    damaged = run(folder, "--bundle", tmp_path / "b")
    assert (damaged.status, "are not finite" in damaged.err) == (1, True)


@pytest.mark.parametrize(
    "args", [("--from", "1.5"), ("--from", "tomorrow"), ("--protocol", "mixed"), ("--seed", "-1")]
)
def test_wrong_usage_is_status_two(synth: Path, args: tuple[str, str]) -> None:
    assert run(synth, *args).status == 2


def test_a_report_that_cannot_be_written_is_refused_before_the_work(synth: Path, tmp_path: Path) -> None:
    ran = run(synth, "--report", tmp_path / "nowhere" / "report.html")
    assert ran.status == 1
    assert "is no folder that can be written to" in ran.err
    assert "impressions from" not in ran.err


@pytest.mark.parametrize(("module", "package"), [("jinja2", "Jinja2"), ("matplotlib", "matplotlib")])
def test_a_report_without_its_packages_names_the_extra_that_has_them(
    synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    ran = run(synth, "--report", tmp_path / "report.html")
    assert ran.status == 1
    assert f"--report needs {package}, which is not installed: pip install 'freshet[train]'" in ran.err
    assert "impressions from" not in ran.err


@pytest.mark.parametrize("bundle", [(), ("--bundle", "somewhere")])
def test_a_folder_of_ratings_wants_a_bundle(tmp_path: Path, bundle: tuple[str, ...]) -> None:
    (tmp_path / "u.data").write_text("1\t2\t3\t881250949\n")
    ran = run(tmp_path, *bundle)
    assert ran.status == (1 if bundle else 2)
