"""An evaluation as one HTML file that needs nothing else: no script, no font, no address.

It reads on a phone (tables scroll by themselves), and without sight: every figure says in words what it
shows, every table has a caption and headed rows and columns. Its size is bounded by what is drawn, not by the
data.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path

from freshet.models.datasets.mind import format_time
from freshet.models.embedding.bundle import Manifest
from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, Estimate
from freshet.models.evaluation.segments import SegmentTable
from freshet.workers.errors import WorkerError
from freshet.workers.evaluation.report import ORACLE, Evaluation
from freshet.workers.evaluation.text import METRIC_NAMES

MAX_REPORT_BYTES = 2_000_000
"""A report is a third of it with every figure full."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
figure { margin: 1.5rem 0; } svg { width: 100%; height: auto; }
figcaption, .small { font-size: .9rem; color: #444; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .7rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ddd; }
th[scope=row], thead th:first-child { text-align: left; font-weight: 400; }
tr.main th, tr.main td { font-weight: 600; }
.ci { color: #555; font-size: .85em; }
"""


class ReportUnwritable(WorkerError):
    """The HTML report cannot be written."""


def check_report(path: Path) -> None:
    """See to it that a report could be written, before an evaluation spends minutes on what goes into it.

    Raises:
        ReportUnwritable: matplotlib is not installed, or the folder is not there or not writable.
    """
    if find_spec("matplotlib") is None:
        raise ReportUnwritable(
            "--report draws with matplotlib, which is not installed: pip install 'freshet[train]'"
        )
    folder = path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ReportUnwritable(f"--report {path}: {folder} is no folder that can be written to")


def write_report(evaluation: Evaluation, path: Path) -> int:
    """Write the report, all of it or nothing; gives its bytes.

    Raises:
        ReportUnwritable: The file cannot be written.
    """
    text = report_html(evaluation).encode()
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.resolve().parent, prefix=".", suffix=".partial")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
            # A temporary file is its owner's alone; a report is for others too.
            Path(partial).chmod(0o644)
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ReportUnwritable(f"--report {path}: {error.strerror}") from error
    return len(text)


def report_html(evaluation: Evaluation) -> str:
    """The whole document."""
    return "\n".join(_document(evaluation))


def _document(evaluation: Evaluation) -> Iterator[str]:
    from freshet.workers.evaluation.plots import plots

    what = evaluation.manifest.id if evaluation.manifest is not None else "ids alone"
    title = f"{what} on {evaluation.folder}, {evaluation.protocol}"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p>{escape(_summary(evaluation))}</p>"
    yield "<ul>"
    for note in (evaluation.cut, *evaluation.notes):
        yield f"<li>{escape(note[0].upper() + note[1:])}.</li>"
    yield "</ul>"
    yield "<h2>How well impressions were ranked</h2>"
    yield _overall(evaluation)
    yield _differences(evaluation)
    if evaluation.ablation:
        yield _ablation(evaluation)
    for plot in plots(evaluation):
        yield f"<figure>{plot.svg}"
        yield f"<figcaption><strong>{escape(plot.title)}.</strong> {escape(plot.description)}</figcaption>"
        yield "</figure>"
    yield "<h2>For whom, when, and of what</h2>"
    yield (
        '<p class="small">Tables of candidates restrict each slate to its candidates of one kind: their '
        "figures are not comparable with those of whole slates.</p>"
    )
    for table in evaluation.tables:
        yield _segments(evaluation, table)
    if evaluation.space is not None:
        yield "<h2>The space of the articles</h2>"
        yield _space(evaluation)
    yield "<h2>What was measured on what</h2>"
    yield _facts("Data", _data(evaluation))
    if evaluation.manifest is not None:
        yield _facts("Bundle", _bundle(evaluation.manifest))
    yield _facts("Speed", _speed(evaluation))
    yield "</main></body></html>"


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
            "Each impression was ranked first and learned from afterwards."
            if evaluation.protocol == "prequential"
            else "Nothing of the evaluation period was learned."
        )
    )


def _overall(evaluation: Evaluation) -> str:
    metrics = [name for name in METRIC_NAMES if any(name in found for found in evaluation.overall.values())]
    head = ["ranked by", *(METRIC_NAMES[metric] for metric in metrics), "coverage@5"]
    rows = []
    for method, found in evaluation.overall.items():
        cells = [_cell(found.get(metric)) for metric in metrics]
        rows.append((method, [*cells, f"{evaluation.coverage[method]:.3f}"]))
    return _table(
        f"Means over {evaluation.measured:,} impressions, {DEFAULT_CONFIDENCE:.0%} bootstrap intervals",
        head,
        rows,
        evaluation.main,
    )


def _differences(evaluation: Evaluation) -> str:
    rows = [(method, [_cell(found, signed=True)]) for method, found in evaluation.differences.items()]
    caption = f"AUC of {evaluation.main} less that of each other method, resampled in pairs"
    return _table(caption, ["less that of", "difference"], rows)


def _ablation(evaluation: Evaluation) -> str:
    rows = [
        (group.group, [_cell(group.without), _cell(group.loss, signed=True), _cell(group.alone)])
        for group in evaluation.ablation
    ]
    caption = f"AUC of {evaluation.main} when it learns without a group of features, and from it alone"
    return _table(caption, ["group", "without it", "loss, in pairs", "from it alone"], rows)


def _segments(evaluation: Evaluation, table: SegmentTable) -> str:
    methods = list(evaluation.overall)
    what = "AUC within each slate's candidates of a kind" if table.of_candidates else "AUC"
    rows = [
        (
            segment.name,
            [f"{segment.impressions:,}", *(_cell(segment.estimates[method]) for method in methods)],
        )
        for segment in table.segments
    ]
    return _table(f"{what}: {table.title}", [table.title, "impressions", *methods], rows)


def _space(evaluation: Evaluation) -> str:
    space = evaluation.space
    if space is None:
        return ""
    figures = (
        (f"silhouette of {space.clusters} k-means clusters", space.silhouette_clusters, None),
        ("silhouette of the categories", space.silhouette_categories, None),
        (
            f"share of the {space.k} nearest with the same category",
            space.same_category,
            space.same_category_by_chance,
        ),
        (
            f"share of the {space.k} nearest that are among the {space.k} nearest by text",
            space.overlap_with_text,
            space.overlap_by_chance,
        ),
    )
    rows = [
        (what, [f"{figure:.3f}", "" if chance is None else f"{chance:.3f}"])
        for what, figure, chance in figures
        if figure is not None
    ]
    caption = f"{space.sampled:,} of {space.articles:,} articles with a vector, by cosine"
    return _table(caption, ["what", "figure", "by chance"], rows)


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


def _facts(caption: str, facts: Iterable[tuple[str, str]]) -> str:
    return _table(caption, ["what", "figure"], [(what, [escape(figure)]) for what, figure in facts])


def _table(
    caption: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], main: str | None = None
) -> str:
    """A table; cells are HTML, all else is text."""
    parts = [
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
    ]
    parts.append(f"<caption>{escape(caption)}</caption><thead><tr>")
    parts += [f'<th scope="col">{escape(name)}</th>' for name in head]
    parts.append("</tr></thead><tbody>")
    for name, cells in rows:
        marked = ' class="main"' if name == main else ""
        parts.append(f'<tr{marked}><th scope="row">{escape(name)}</th>')
        parts += [f"<td>{cell}</td>" for cell in cells]
        parts.append("</tr>")
    parts.append("</tbody></table></div>")
    return "".join(parts)


def _cell(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None or math.isnan(estimate.mean):
        return ""
    sign = "+" if signed else ""
    return (
        f"{estimate.mean:{sign}.4f} "
        f'<span class="ci">{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}</span>'
    )
