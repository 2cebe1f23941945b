"""The dashboards as they are checked in: their panels, and their queries as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.repository import ROOT

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
ALL = ".+"
"""What Grafana puts in the place of a variable of which everything is chosen, if the variable says so."""
RATE_INTERVAL = "1m"
"""What Grafana makes of ``$__rate_interval`` where Prometheus scrapes every 15 s and little time is shown."""
GPU_ONLY = {
    ("freshet-embedding", "GPU memory"): "metrics of a GPU are served only where texts are embedded on one",
    ("freshet-embedding", "GPU memory in use"): "likewise",
    ("freshet-embedding", "GPU utilisation"): "likewise, and only where NVML tells",
}
"""Panels that are empty on a machine without a GPU, and why."""


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel."""

    dashboard: str
    panel: str
    promql: str
    """With Grafana's variables in it."""

    def as_sent(self) -> str:
        """As Grafana sends it where all jobs, instances, topics and experiments are chosen."""
        promql = self.promql.replace("$__rate_interval", RATE_INTERVAL)
        return re.sub(r"\$\{?\w+\}?", ALL, promql)


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard."""
    return [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]


def panels() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every panel that draws something, after its dashboard."""
    for dashboard in dashboards():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield dashboard, panel


def queries() -> list[PanelQuery]:
    """Every query of every panel."""
    return [
        PanelQuery(dashboard["uid"], panel["title"], target["expr"])
        for dashboard, panel in panels()
        for target in panel["targets"]
    ]


def choices() -> list[tuple[str, str, str]]:
    """Dashboard, metric and label of every variable that lists a label's values."""
    return [
        (dashboard["uid"], *_label_values(variable["query"]))
        for dashboard in dashboards()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]


def _label_values(query: str) -> tuple[str, str]:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found, query
    return re.sub(r"\$\w+", ALL, found[1]), found[2]
