"""Renders the report of an evaluation for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.evaluation.drift.space import SpaceReport
from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, Estimate
from freshet.models.evaluation.segments import SegmentTable
from freshet.workers.evaluation.report import Evaluation
from freshet.workers.terminal.figure_table import figure_table

METRIC_NAMES = {
    "auc": "AUC",
    "mrr": "MRR",
    "ndcg@5": "nDCG@5",
    "ndcg@10": "nDCG@10",
    "hit@5": "hit@5",
    "hit@10": "hit@10",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "diversity@5": "diversity@5",
    "novelty@5": "novelty@5 (bits)",
}
_FIRST_TABLE = ("auc", "mrr", "ndcg@5", "ndcg@10")
_ROWS_SHOWN = 12
_BARS = "▁▂▃▄▅▆▇█"


def render(evaluation: Evaluation) -> RenderableType:
    """Render the main figures; ``--json`` and ``--report`` have all of them."""
    return Group(*_parts(evaluation))


def _parts(evaluation: Evaluation) -> Iterator[RenderableType]:
    title = (
        f"{evaluation.protocol}, {evaluation.measured:,} impressions with clicks and skips "
        f"({evaluation.left_out:,} others left out), {DEFAULT_CONFIDENCE:.0%} intervals"
    )
    yield _metrics(evaluation, title, _FIRST_TABLE)
    yield ""
    yield _metrics(evaluation, "The best of each slate", tuple(METRIC_NAMES)[len(_FIRST_TABLE) :])
    yield ""
    for method, difference in evaluation.differences.items():
        yield (
            f"AUC of {evaluation.main} less that of {method}: {difference.mean:+.4f} "
            f"({difference.low:+.4f} to {difference.high:+.4f})"
        )
    if evaluation.ablation:
        yield ""
        yield _ablation(evaluation)
    if len(evaluation.over_time.segments) > 1:
        yield ""
        yield _over_time(evaluation)
    for table in evaluation.tables:
        if not table.title.startswith(("hour", "day")):
            yield ""
            yield _segments(evaluation, table)
    yield ""
    if evaluation.space is not None:
        yield _space(evaluation.space)
        yield ""
    yield from _speed(evaluation)


def _metrics(evaluation: Evaluation, title: str, metrics: tuple[str, ...]) -> Table:
    shown = [metric for metric in metrics if any(metric in found for found in evaluation.overall.values())]
    with_coverage = "auc" not in metrics
    headers = [*(METRIC_NAMES[metric] for metric in shown), *(["coverage@5"] if with_coverage else [])]
    table = _new_table(title, "ranked by", *headers)
    for method, found in evaluation.overall.items():
        cells: list[RenderableType] = [_cell(found[metric]) if metric in found else "" for metric in shown]
        if with_coverage:
            cells.append(f"{evaluation.coverage[method]:.3f}")
        table.add_row(method, *cells)
    return table


def _ablation(evaluation: Evaluation) -> Table:
    title = f"AUC of {evaluation.main} without each group of features, and with nothing else"
    table = _new_table(title, "group", "without", "loss", "95 % interval", "alone")
    for group in evaluation.ablation:
        loss = group.loss
        table.add_row(
            group.group,
            f"{group.without.mean:.4f}",
            f"{loss.mean:+.4f}",
            f"{loss.low:+.4f} to {loss.high:+.4f}",
            _cell(group.alone),
        )
    return table


def _over_time(evaluation: Evaluation) -> Table:
    """Draw a bar for each segment of equally many impressions, on the same scale for all methods."""
    segments = evaluation.over_time.segments
    curves = {m: [segment.methods[m].mean for segment in segments] for m in evaluation.overall}
    least, most = min(map(min, curves.values())), max(map(max, curves.values()))
    title = f"AUC over time, from {segments[0].name} (UTC) on; bars from {least:.3f} to {most:.3f}"
    table = _new_table(title, "ranked by", "", "first", "last", names=2, no_wrap=True)
    for method, curve in curves.items():
        heights = [(auc - least) / max(most - least, 1e-9) * (len(_BARS) - 1) for auc in curve]
        bars = "".join(_BARS[round(height)] for height in heights)
        table.add_row(method, bars, f"{curve[0]:.3f}", f"{curve[-1]:.3f}")
    return table


def _segments(evaluation: Evaluation, segments: SegmentTable) -> Table:
    what = "AUC within the slate's candidates of each kind" if segments.of_candidates else "AUC"
    table = _new_table(f"{what}, {segments.title}", segments.title, "impressions", *evaluation.overall)
    for segment in segments.segments[:_ROWS_SHOWN]:
        cells = [_cell(segment.methods[method]) for method in evaluation.overall]
        table.add_row(segment.name, f"{segment.impressions:,}", *cells)
    more = len(segments.segments) - _ROWS_SHOWN
    if more > 0:
        table.add_row(Text(f"and {more} more: --json, --report", style="dim"))
    return table


def space_rows(space: SpaceReport) -> Iterator[tuple[str, str, str]]:
    """Yield name, figure and figure by chance of each measure of the embedding space, as text."""
    k = space.k
    for name, figure, by_chance in (
        (f"silhouette of {space.clusters} k-means clusters", space.silhouette_clusters, None),
        ("silhouette of the categories", space.silhouette_categories, None),
        (
            f"share of the {k} nearest with the same category",
            space.same_category,
            space.same_category_by_chance,
        ),
        (
            f"share of the {k} nearest that are nearest by text too",
            space.overlap_with_text,
            space.overlap_by_chance,
        ),
    ):
        if figure is not None:
            yield name, f"{figure:.3f}", "" if by_chance is None else f"{by_chance:.3f}"


def _space(space: SpaceReport) -> Table:
    title = f"The space of {space.articles:,} article vectors, on {space.sampled:,} of them"
    table = _new_table(title, "what", "figure", "by chance")
    for row in space_rows(space):
        table.add_row(*row)
    return table


def _speed(evaluation: Evaluation) -> Iterator[str]:
    speed = evaluation.speed
    read = evaluation.impressions / speed.read_s if speed.read_s else 0.0
    yield (
        f"{speed.impressions_per_s:,.0f} impressions/s ranked by every method and measured; "
        f"{read:,.0f}/s read and parsed."
    )
    if speed.model_s and speed.dot_products_s:
        yield (
            f"The bundle alone {speed.impressions / speed.model_s:,.0f}/s; a plain loop of its dot products "
            f"{speed.impressions / speed.dot_products_s:,.0f}/s."
        )


def _new_table(title: str, *headers: str, names: int = 1, no_wrap: bool = False) -> Table:
    layout = {"title_justify": "left", "box": None, "padding": (0, 2, 0, 0), "pad_edge": False}
    return figure_table(*headers, names=names, no_wrap=no_wrap, title=title, **layout)


def _cell(estimate: Estimate) -> Text:
    if math.isnan(estimate.mean):
        return Text("")
    return Text.assemble(f"{estimate.mean:.4f} ", (f"±{(estimate.high - estimate.low) / 2:.3f}", "dim"))
