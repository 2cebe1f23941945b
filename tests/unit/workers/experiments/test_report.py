"""The report says in words what the numbers say, and warns where they cannot be believed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from rich.console import Console

from freshet.models.experiments.assignment import sample_ratio
from freshet.workers.experiments.report import Report, report_json, verdict
from freshet.workers.experiments.tables import experiments_table, report_tables
from tests.experiment_logs import NOW, experiment, filled


@pytest.fixture(scope="module")
def found() -> Report:
    """B has three times the clicks of A."""
    log = filled({"A": 0.1, "B": 0.3}, {"A": 600, "B": 600}, expected_effect=0.5)
    return Report(log.outcome(), running=True, answers_kept_since=None, unreadable=0)


def printed(found: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(report_tables(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_difference_is_said(found: Report) -> None:
    text = printed(found)
    assert "B is better than A: shown after" in text
    assert "fits the shares" in text
    assert "MISMATCH" not in text


def test_no_difference_is_said() -> None:
    outcome = filled({"A": 0.1, "B": 0.1}, {"A": 300, "B": 300}).outcome()
    assert verdict(outcome, "B") == "no difference between B and A is shown yet"


def test_a_treatment_that_is_worse_is_not_called_better() -> None:
    outcome = filled({"A": 0.3, "B": 0.1}, {"A": 600, "B": 600}, expected_effect=0.5).outcome()
    assert verdict(outcome, "B").startswith("A is better than B")


def test_a_mismatch_withholds_the_verdict(found: Report) -> None:
    mismatch = replace(found.outcome, seen=sample_ratio([600, 400], [0.5, 0.5]))
    text = printed(replace(found, outcome=mismatch))
    assert "MISMATCH" in text
    assert "B cannot be compared with A" in text
    assert "better" not in text


def test_what_is_missing_is_said(found: Report) -> None:
    outcome = replace(found.outcome, users_of_two_variants=7, answers_sent_twice=3)
    cut = replace(found, outcome=outcome, unreadable=2, answers_kept_since=NOW + timedelta(days=1))
    text = printed(cut)
    assert "7 users were served by two variants" in text
    assert "3 answers were sent twice" in text
    assert "2 records cannot be read" in text
    assert "Kafka has deleted answers from before 2025-12-30" in text


def test_few_users_are_said() -> None:
    outcome = filled({"A": 0.1, "B": 0.3}, {"A": 5, "B": 5}).outcome()
    text = printed(Report(outcome, running=False, answers_kept_since=None, unreadable=0))
    assert "Comparisons begin with 100 users" in text
    assert "not yet" in text


def test_json_has_the_same_and_no_number_that_json_has_not(found: Report) -> None:
    read = json.loads(orjson.dumps(report_json(found)))
    assert [variant["users"] for variant in read["variants"]] == [600, 600]
    assert read["comparisons"]["B"]["metrics"]["click-through-rate"]["decided"] is True
    assert read["comparisons"]["B"]["metrics"]["auc"]["difference"] is None
    assert read["sample_ratio"]["mismatch"] is False
    assert "segments" not in read["experiment"]


def test_the_list_names_state_and_variants() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(experiments_table([(experiment(0.6, 0.4), True), (experiment(1.0), False)]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "A: default, 60.0%, B: default, 40.0%" in text
    assert "running" in text
    assert "stopped" in text
