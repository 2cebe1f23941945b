"""The dashboards are what their code says, Grafana takes them, and no panel leaves a reader guessing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import prometheus_client
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from freshet.streams import metrics
from tests.grafana_dashboards import FOLDER, GPU_ONLY, ROOT, dashboards, panels, queries

NAMES = {"overview", "stream", "quality", "freshness", "embedding", "drift", "experiments"}
UNITS = {value for value in vars(units).values() if isinstance(value, str)}
PANELS = [pytest.param(board, panel, id=f"{board['uid']}: {panel['title']}") for board, panel in panels()]
BOARDS = [pytest.param(board, id=board["uid"]) for board in dashboards()]
OF_ANY_PROCESS = re.compile(r"up|process_\w+")
SUFFIXES = ("_bucket", "_sum", "_count")


def declared() -> set[str]:
    """The series' names of every metric of freshet, but for a histogram's suffixes."""
    families = [
        metric.describe()[0]
        for metric in vars(metrics).values()
        if isinstance(
            metric, prometheus_client.Counter | prometheus_client.Gauge | prometheus_client.Histogram
        )
    ]
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def test_the_files_and_the_page_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.dashboards", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_that_was_promised_is_there() -> None:
    assert {board["uid"] for board in dashboards()} == {f"freshet-{name}" for name in NAMES}
    assert {file.stem for file in FOLDER.iterdir()} == {f"freshet-{name}" for name in NAMES}


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_what_grafanas_own_models_read_and_write(board: dict[str, Any]) -> None:
    read = Dashboard.from_json(board)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == board


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_has_a_unit_a_description_and_a_threshold_or_a_reason(
    board: dict[str, Any], panel: dict[str, Any]
) -> None:
    assert isinstance(Panel.from_json(panel), Panel)
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert len(panel["description"].split()) >= 5
    assert panel["description"].endswith(".")
    steps = defaults["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(set(values))
    page = (ROOT / "docs" / "reference" / "dashboards.md").read_text()
    (line,) = {
        line
        for line in page.partition(f"`{board['uid']}`")[2].partition("\n## ")[0].splitlines()
        if re.match(rf"\| {re.escape(panel['title'])}( \(GPU only\))? \|", line)
    }
    assert ("| none: " in line) == (len(steps) == 1), "a panel without a threshold says why"
    assert ("(GPU only)" in line) == ((board["uid"], panel["title"]) in GPU_ONLY)


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_belongs_to_no_installation(board: dict[str, Any]) -> None:
    text = (FOLDER / f"{board['uid']}.json").read_text()
    assert "://" not in text
    sources = {panel["datasource"]["uid"] for panel in board["panels"] if "datasource" in panel}
    sources |= {
        target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", ())
    }
    assert sources == {"${datasource}"}
    assert board["templating"]["list"][0]["type"] == "datasource"


@pytest.mark.parametrize("board", BOARDS)
def test_a_query_uses_no_variable_that_the_dashboard_does_not_have(board: dict[str, Any]) -> None:
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    used = {
        name
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\$\{?(\w+)", target["expr"])
    }
    assert used <= known
    assert {"job", "instance"} <= used


@pytest.mark.parametrize("board", BOARDS)
def test_links_lead_to_the_other_dashboards_and_keep_the_time(board: dict[str, Any]) -> None:
    (to_all,) = board["links"]
    assert (to_all["type"], to_all["tags"]) == ("dashboards", board["tags"])
    assert to_all["keepTime"]
    assert to_all["includeVars"]
    there = {each["uid"] for each in dashboards()}
    for panel in board["panels"]:
        for link in panel.get("links", ()):
            assert link["url"].startswith("/d/")
            assert link["url"].removeprefix("/d/").partition("?")[0] in there
            assert "${__url_time_range}" in link["url"]


@pytest.mark.parametrize("board", BOARDS)
def test_panels_do_not_overlap_and_have_ids_of_their_own(board: dict[str, Any]) -> None:
    ids = Counter(panel["id"] for panel in board["panels"])
    assert set(ids.values()) == {1}
    taken: Counter[tuple[int, int]] = Counter()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            taken.update((x, y) for y in range(at["y"], at["y"] + at["h"]))
    assert set(taken.values()) == {1}


def test_queries_ask_for_metrics_that_there_are() -> None:
    names = declared()
    asked = {name for query in queries() for name in re.findall(r"\b([a-z]\w+)\{", query.promql)}
    assert asked, "the queries have selectors"
    for name in asked:
        base = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
        assert name in names or base in names or OF_ANY_PROCESS.fullmatch(name), name


def test_no_query_divides_by_what_may_be_zero() -> None:
    safe = re.compile(r"( on \(\w*\) group_left \(\))? clamp_min\(| [0-9.]+$| \(.* > 0\)$")
    for query in queries():
        for divisor in query.promql.split(" /")[1:]:
            assert safe.match(divisor), query


def test_rates_are_taken_of_counters_and_nothing_else() -> None:
    for query in queries():
        for name, window in re.findall(r"(?:rate|increase)\((\w+)\{[^}]*\}\[([^]]+)\]", query.promql):
            assert name.endswith(("_total", *SUFFIXES)), query
            assert window in {"$__rate_interval", "1h"}, query
        counters = re.findall(r"(\w+_total)\{", query.promql)
        rated = re.findall(r"(?:rate|increase)\((\w+_total)\{", query.promql)
        assert counters == rated, f"a bare counter says nothing: {query}"
