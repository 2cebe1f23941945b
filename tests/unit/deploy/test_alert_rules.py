"""Alerts are what Prometheus takes, fire when they should, read metrics that exist, and have a page each."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from freshet.streams import metrics
from tests.alert_rules import FILE, alerts, compressed, rules, shorter
from tests.external_tools import external_tool

RUNBOOKS = FILE.parents[2] / "docs" / "runbooks"
TESTS = FILE.with_name("alerts_test.yml")
ALERTS = alerts()
EVERY_RULE: dict[str, dict[str, Any]] = {
    rule.get("alert") or rule["record"]: rule for group in rules()["groups"] for rule in group["rules"]
}
_OF_PROMETHEUS = {"up"}
_SECTIONS = ("Meaning", "Impact", "How to see it", "Causes", "What to do", "How it was tested")
_ADDRESS = "https://github.com/freshet/freshet/blob/main/docs/runbooks/"


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [external_tool("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _series() -> dict[str, MetricWrapperBase]:
    """Every series that freshet's processes export, by name."""
    found: dict[str, MetricWrapperBase] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found |= {family.name + suffix: metric for suffix in suffixes.get(family.type, ("",))}
    return found


def test_prometheus_takes_the_rules() -> None:
    _promtool("check", "rules", FILE)


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    _promtool("test", "rules", TESTS)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    firing = [
        {sample["labels"] for sample in check["exp_samples"]}
        for case in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
        for check in case["promql_expr_test"]
    ]
    fire = {name for names in firing for label in names for name in re.findall(r'"(\w+)"', label)}
    assert fire == ALERTS.keys()
    assert set() in firing, "a case in which none fires"


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_rule_reads_only_metrics_that_exist(name: str) -> None:
    expression = EVERY_RULE[name]["expr"]
    series = _series()
    read = set(re.findall(r"(?<![:\w])(?:freshet_\w+|up)\b", expression))
    recorded = set(re.findall(r"\bfreshet:[\w:]+", expression))
    assert read | recorded, "an expression reads something"
    assert read <= series.keys() | _OF_PROMETHEUS
    assert recorded <= {rule["record"] for rule in EVERY_RULE.values() if "record" in rule}
    for metric, labels in re.findall(r"(freshet_\w+)\{([^}]*)\}", expression):
        known = {*series[metric]._labelnames, "le", "job", "instance"}
        assert set(re.findall(r"(\w+)\s*=", labels)) <= known
        for bound in re.findall(r'le="([^"]+)"', labels):
            buckets = series[metric]._kwargs["buckets"]
            assert float(bound) in buckets
            assert bound == repr(float(bound)), "the way the client library writes it"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert name.startswith("Freshet")
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{_ADDRESS}{name}.md"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alerts_page_answers_the_questions_of_the_one_who_is_woken(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    assert tuple(re.findall(r"^## (.+)$", page, re.MULTILINE)) == _SECTIONS
    assert f"**{ALERTS[name]['labels']['severity']}**" in page
    waits = ALERTS[name].get("for")
    assert waits is None or f"for {waits}" in page


def test_a_page_is_an_alerts() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == ALERTS.keys()


def test_the_list_of_pages_names_each() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \| (\w*) \|",
        (RUNBOOKS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert rows == [(name, rule["labels"]["severity"], rule.get("for", "")) for name, rule in ALERTS.items()]


def _queries(page: Path) -> list[str]:
    return re.findall(r"^```promql\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_prometheus_takes_every_query_of_the_pages(tmp_path: Path) -> None:
    queries = [query for page in sorted(RUNBOOKS.glob("*.md")) for query in _queries(page)]
    assert queries
    named = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": named}]}))
    _promtool("check", "rules", "--lint=none", file)


@pytest.mark.parametrize("name", ALERTS)
def test_the_queries_of_a_page_read_only_metrics_that_exist(name: str) -> None:
    queries = _queries(RUNBOOKS / f"{name}.md")
    assert queries, "a page shows how to see it"
    for query in queries:
        known = _series().keys() | _OF_PROMETHEUS | EVERY_RULE.keys()
        assert set(re.findall(r"freshet[:_][\w:]+|\bup\b", query)) <= known


def test_compressed_rules_are_the_same_but_for_their_durations() -> None:
    def timeless(expression: str) -> str:
        return re.sub(r"\[\w+\]", "[]", expression)

    before, after = rules(), compressed(rules(), 60)
    assert len(before["groups"]) == len(after["groups"])
    for group, shorter_group in zip(before["groups"], after["groups"], strict=True):
        for rule, shorter_rule in zip(group["rules"], shorter_group["rules"], strict=True):
            assert timeless(rule["expr"]) == timeless(shorter_rule["expr"])
            assert {**rule, "expr": "", "for": ""} == {**shorter_rule, "expr": "", "for": ""}
            assert ("for" in rule) == ("for" in shorter_rule)


def test_durations_are_divided() -> None:
    assert shorter("5m", 60) == "5000ms"
    assert shorter("1h30m", 60) == "90000ms"
    with pytest.raises(ValueError, match="no duration"):
        shorter("5 minutes", 60)
    with pytest.raises(ValueError, match="nothing remains"):
        shorter("5ms", 60)
    with pytest.raises(ValueError, match="offset"):
        compressed({"groups": [{"rules": [{"expr": "up offset 1h"}]}]}, 60)
