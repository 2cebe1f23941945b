"""Reports of benchmarks: each figure beside its floor of the same run, as text and as JSON."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

_PACKAGES = (
    "freshet",
    "faust-streaming",
    "aiokafka",
    "orjson",
    "pydantic",
    "numpy",
    "qdrant-edge-py",
    "torch",
    "faiss-cpu",
    "annoy",
    "hnswlib",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured quantity."""

    what: str
    value: float
    unit: str
    floor: float | None = None
    """The floor's value in the same unit."""
    floor_what: str = ""
    target: str = ""
    """Target as text; empty where the figure is for information only."""
    reached: bool | None = None
    spread: tuple[float, float] | None = None
    """The smallest and the largest of the repeats."""

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None

    def as_json(self) -> dict[str, Any]:
        """Return the fields for ``--json``; what is not a finite number is null."""
        return {key: _finite(value) for key, value in (asdict(self) | {"ratio": self.ratio}).items()}


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the versions on which a benchmark ran."""

    cores: int
    """Number of cores that this process may use."""
    processor: str
    load_average: float
    """Load average of the minute before the benchmark: above 0, other processes computed too."""
    python: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine, now."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        versions = {}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue  # an extra that is not installed
        return cls(cores, _processor(), os.getloadavg()[0], platform.python_version(), versions)


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Figures of one benchmark, with the machine and the sizes."""

    name: str
    figures: Sequence[Figure]
    machine: Machine
    details: Mapping[str, Any] = field(default_factory=dict)
    """Sizes, repeats and everything else that was measured, by name; names end with their units."""
    table: Table | None = None
    """Table shown instead of the list of figures."""

    @property
    def reached(self) -> bool:
        """Whether every target was reached."""
        return all(figure.reached is not False for figure in self.figures)

    def as_json(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {
            "version": 1,
            "bench": self.name,
            "figures": [figure.as_json() for figure in self.figures],
            "reached": self.reached,
            "machine": asdict(self.machine),
            "details": {key: _finite(value) for key, value in self.details.items()},
        }


def render(report: BenchReport) -> RenderableType:
    """The report for people."""
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    return Group(
        report.table or figures_table(f"freshet bench {report.name}", report.figures),
        f"{machine.cores} cores ({machine.processor}), load average {machine.load_average:.2f} before, "
        f"Python {machine.python}, {versions}",
    )


def figures_table(title: str, figures: Sequence[Figure]) -> Table:
    """Lay ``figures`` out for people, each beside its floor and its target."""
    table = Table(title=title, title_justify="left")
    for heading in ("measured", "figure", "floor", "ratio", "target", "reached"):
        table.add_column(heading, justify="right" if heading in {"figure", "floor", "ratio"} else "left")
    for figure in figures:
        value = f"{_number(figure.value)} {figure.unit}"
        if figure.spread is not None:
            low, high = figure.spread
            value += f"\n[dim]{_number(low)} to {_number(high)}[/]"
        floor = "" if figure.floor is None else f"{_number(figure.floor)} {figure.unit}"
        if figure.floor_what:
            floor += f"\n[dim]{figure.floor_what}[/]"
        reached = {True: "yes", False: "[bold]no[/]", None: ""}[figure.reached]
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(figure.what, value, floor, ratio, figure.target, reached)
    return table


def percentile_ms(times_s: Sequence[float], percentile: float) -> float:
    """Percentile by the nearest rank, a time that was measured, in milliseconds; NaN without times."""
    if not times_s:
        return math.nan
    return 1_000.0 * float(np.percentile(times_s, percentile, method="inverted_cdf"))


def _number(value: float) -> str:
    if math.isnan(value):
        return "unknown"
    magnitude = abs(value)
    digits = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2 if magnitude >= 1 else 3  # noqa: PLR2004
    return f"{value:,.{digits}f}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
