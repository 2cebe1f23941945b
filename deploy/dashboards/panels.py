"""What a dashboard is made of, before it is Grafana's: every panel has a unit, a description and a threshold.

A panel that has no threshold says why it has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["graph", "stat"]


@dataclass(frozen=True)
class Above:
    """Bad above: yellow from ``warning`` on, red from ``critical`` on."""

    warning: float
    critical: float

    def __post_init__(self) -> None:
        if not self.warning <= self.critical:
            raise ValueError(f"warning {self.warning:g} is beyond critical {self.critical:g}")


@dataclass(frozen=True)
class Below:
    """Bad below: yellow under ``warning``, red under ``critical``."""

    warning: float
    critical: float

    def __post_init__(self) -> None:
        if not self.critical <= self.warning:
            raise ValueError(f"warning {self.warning:g} is beyond critical {self.critical:g}")


@dataclass(frozen=True)
class NoThreshold:
    """No value is good or bad by itself."""

    reason: str


Threshold = Above | Below | NoThreshold


@dataclass(frozen=True)
class Query:
    """One PromQL expression of a panel."""

    promql: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: What is shown.
        description: What it means, and what to do when it is bad.
        unit: Grafana's name of the unit (``grafana_foundation_sdk.models.units``).
        threshold: From when on it is bad.
        queries: What is drawn.
        kind: A graph over time, or the last number with a small graph.
        width: Of 24 columns.
        gpu_only: Empty where nothing is embedded on a GPU.
        detail: The dashboard that shows more of it, by name.
    """

    title: str
    description: str
    unit: str
    threshold: Threshold
    queries: tuple[Query, ...]
    kind: Kind = "graph"
    width: int = 12
    gpu_only: bool = False
    detail: str | None = None


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: one, several or all values of a label."""

    name: str
    label: str
    metric: str
    """PromQL selector whose series carry the label ``name``."""


JOB = Variable("job", "Job", "freshet_events_total")
INSTANCE = Variable("instance", "Instance", 'freshet_events_total{job=~"$job"}')


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; its file is called like its name, its id in Grafana ``freshet-NAME``."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = (JOB, INSTANCE)


def graph(
    title: str,
    unit: str,
    threshold: Threshold,
    description: str,
    *queries: tuple[str, str],
    width: int = 12,
    gpu_only: bool = False,
) -> Panel:
    """A graph over time of pairs of PromQL and legend."""
    drawn = tuple(Query(promql, legend) for promql, legend in queries)
    return Panel(title, description, unit, threshold, drawn, "graph", width, gpu_only)


def stat(
    title: str,
    unit: str,
    threshold: Threshold,
    description: str,
    promql: str,
    *,
    legend: str = "",
    width: int = 4,
    detail: str | None = None,
) -> Panel:
    """The last number, large."""
    return Panel(
        title, description, unit, threshold, (Query(promql, legend or title),), "stat", width, detail=detail
    )
