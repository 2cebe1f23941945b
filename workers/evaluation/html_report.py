"""Writes an evaluation as a self-contained HTML file, without scripts, fonts or external addresses.

The page is responsive (tables scroll by themselves) and accessible: every figure has a description in words,
every table has a caption and headed rows and columns. Its size depends on what is drawn, not on the data.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from freshet.models.datasets.mind import format_time
from freshet.models.embedding.bundle import Manifest
from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.report import ORACLE, Evaluation
from freshet.workers.evaluation.text import METRIC_NAMES, space_rows

MAX_REPORT_BYTES = 2_000_000
"""Upper bound; the largest report has a third of it."""

_TEMPLATE = files("freshet.workers.evaluation") / "report.html.jinja"


class ReportUnwritable(WorkerError):
    """The HTML report cannot be written."""


def check_report(path: Path) -> None:
    """Check that a report can be written, before an evaluation takes minutes.

    Raises:
        ReportUnwritable: A package is not installed, or the folder does not exist or is not writable.
    """
    for module, package in (("matplotlib", "matplotlib"), ("jinja2", "Jinja2")):
        if find_spec(module) is None:
            raise ReportUnwritable(
                f"--report needs {package}, which is not installed: pip install 'freshet[train]'"
            )
    folder = path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ReportUnwritable(f"--report {path}: {folder} is no folder that can be written to")


def write_report(evaluation: Evaluation, path: Path) -> int:
    """Write the report atomically, and return its size in bytes.

    Raises:
        ReportUnwritable: The file cannot be written.
    """
    document = report_html(evaluation).encode()
    try:
        with TemporaryDirectory(dir=path.resolve().parent, prefix=".") as folder:
            partial = Path(folder) / "report"
            partial.write_bytes(document)
            partial.replace(path)
    except OSError as error:
        raise ReportUnwritable(f"--report {path}: {error.strerror}") from error
    return len(document)


def report_html(evaluation: Evaluation) -> str:
    """Render the whole document."""
    from jinja2 import Environment, StrictUndefined

    from freshet.workers.evaluation.plots import plots

    what = evaluation.manifest.id if evaluation.manifest is not None else "ids alone"
    facts = {"Data": _data(evaluation)}
    if evaluation.manifest is not None:
        facts["Bundle"] = _bundle(evaluation.manifest)
    facts["Speed"] = _speed(evaluation)
    measured = {name for found in evaluation.overall.values() for name in found}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        title=f"{what} on {evaluation.folder}, {evaluation.protocol}",
        summary=_summary(evaluation),
        found=evaluation,
        confidence=f"{DEFAULT_CONFIDENCE:.0%}",
        metrics={name: title for name, title in METRIC_NAMES.items() if name in measured},
        plots=plots(evaluation),
        space=() if evaluation.space is None else space_rows(evaluation.space),
        facts=facts,
    )


def _summary(evaluation: Evaluation) -> str:
    auc = evaluation.overall[evaluation.main]["auc"]
    best = max(
        (method for method in evaluation.overall if method not in {evaluation.main, ORACLE}),
        key=lambda method: evaluation.overall[method]["auc"].mean,
    )
    difference = evaluation.differences[best]
    verdict = (
        "no different from"
        if difference.low <= 0.0 <= difference.high
        else ("better than" if difference.mean > 0 else "worse than")
    )
    return (
        f"On {evaluation.measured:,} impressions {evaluation.main} has an AUC of {auc.mean:.4f} "
        f"({DEFAULT_CONFIDENCE:.0%} interval {auc.low:.4f} to {auc.high:.4f}): {verdict} the best of the "
        f"other methods, {best} ({difference.mean:+.4f}, {difference.low:+.4f} to {difference.high:+.4f}). "
        + (
            "Each impression was ranked first, and learned from afterwards."
            if evaluation.protocol == "prequential"
            else "Nothing was learned from the evaluation period."
        )
    )


def _data(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    yield "folder", evaluation.folder
    yield "SHA-256 of its files", evaluation.data_sha256
    yield "impressions", f"{evaluation.impressions:,}"
    yield "measured", f"{evaluation.measured:,}"
    yield "left out: all clicked or all skipped", f"{evaluation.left_out:,}"
    yield "users", f"{evaluation.users:,}"
    yield "articles", f"{evaluation.articles:,}"
    yield "articles without a line in news.tsv", f"{evaluation.unannounced:,}"
    if evaluation.without_vector is not None:
        yield "articles without a vector", f"{evaluation.without_vector:,}"
    yield "unreadable lines left out", f"{evaluation.bad_lines:,}"


def _bundle(manifest: Manifest) -> Iterable[tuple[str, str]]:
    training = manifest.training
    yield "id", manifest.id
    yield "model", manifest.model
    yield "dimensions", str(manifest.d)
    yield "text encoder", "none" if manifest.encoder is None else manifest.encoder.name
    yield "trained on", training.folder
    yield "SHA-256 of that data", training.data_sha256
    yield "examples", f"{training.examples:,}"
    for name, time_s in (("first event", training.start_s), ("last event", training.end_s)):
        if time_s is not None:
            yield name, format_time(time_s)
    yield "seed", str(training.seed)
    for name, figure in manifest.figures.items():
        yield f"{name} on the validation slice", f"{figure:.4f}"


def _speed(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    speed = evaluation.speed
    yield "read and parsed", f"{evaluation.impressions / max(speed.read_s, 1e-9):,.0f} impressions/s"
    yield "ranked by every method and measured", f"{speed.impressions_per_s:,.0f} impressions/s"
    if speed.model_s and speed.dot_products_s:
        yield "the bundle alone", f"{speed.impressions / speed.model_s:,.0f} impressions/s"
        yield (
            "a plain loop of its dot products",
            f"{speed.impressions / speed.dot_products_s:,.0f} impressions/s",
        )
