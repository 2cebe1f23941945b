"""Renders drift for a terminal."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from freshet.models.evaluation.drift.vectors import BundleDrift, CentroidShift, NormShift
from freshet.models.events.events import from_unix_s
from freshet.workers.evaluation.drift.report import FolderDrift, Slots
from freshet.workers.terminal.figure_table import figure_table

_CATEGORIES_SHOWN = 8


def bundle_table(before: str, after: str, drift: BundleDrift) -> RenderableType:
    """Render the drift between two bundles on the same articles."""
    table = _readings(f"{before} against {after}")
    table.add_row("articles with both vectors", f"{drift.articles:,}", "")
    if drift.only_before or drift.only_after:
        table.add_row("with one alone", f"{drift.only_before:,} / {drift.only_after:,}", "left out below")
    overlap = drift.overlap
    by = f"of {overlap.articles:,} articles; by chance {overlap.by_chance:.3f}"
    table.add_row(f"overlap@{overlap.k}", f"{overlap.mean:.3f}", by)
    table.add_row("  of the lowest tenth", f"{overlap.lowest_tenth:.3f}", "")
    _norms(table, drift.norms)
    if drift.cosines is None:
        table.add_row("cosine, centroid", "-", "the dimensions differ")
    else:
        cosines = drift.cosines
        table.add_row(
            "cosine shift, mean", f"{cosines.mean:.3f}", "1 - cosine; near 1: trained apart, other axes"
        )
        table.add_row("  median, highest tenth", f"{cosines.median:.3f}, {cosines.highest_tenth:.3f}", "")
    if drift.centroid is not None:
        _centroid(table, drift.centroid)
    return table


def period_tables(folder: str, drift: FolderDrift) -> RenderableType:
    """Render the drift between two periods of a folder."""
    split = f"{from_unix_s(drift.split_s):%Y-%m-%d %H:%M:%S}"
    parts: list[RenderableType] = [
        f"{folder}: {drift.before:,} impressions before {split} UTC, {drift.after:,} from then on"
    ]
    for kind, slots in (("shown", drift.shown), ("clicked", drift.clicked)):
        parts += ["", _categories(kind, slots)]
    if drift.vectors is not None:
        vectors = drift.vectors
        table = _readings(f"vectors of {drift.bundle}: articles first shown after the split, and before")
        table.add_row("articles before, new", f"{vectors.before:,}, {vectors.after:,}", "with a vector")
        _norms(table, vectors.norms)
        _centroid(table, vectors.centroid)
        novelty = vectors.novelty
        table.add_row(
            "novelty",
            f"{novelty.after:.3f}",
            f"1 - cosine to the nearest earlier article; among those {novelty.before:.3f}",
        )
        parts += ["", table]
    return Group(*parts)


def _readings(title: str) -> Table:
    columns = ("figure", Column("value", justify="right"), Column("reading", style="dim"))
    return Table(*columns, title=title, title_justify="left", show_header=False)


def _categories(kind: str, slots: Slots) -> RenderableType:
    known = f"{slots.before - slots.unknown_before:,} and {slots.after - slots.unknown_after:,}"
    of = f"{known} of {slots.before:,} and {slots.after:,} slots have a known category"
    if slots.shift is None:
        return f"categories {kind}: nothing to compare, {of}"
    shift = slots.shift
    table = figure_table(
        *("category", "before", "after", "part of PSI"),
        title=Text.assemble(
            f"categories {kind}: PSI {shift.psi:.3f}, {shift.reading} ",
            f"(by chance alone about {shift.by_chance:.3f})\n",
            (of, "dim"),
        ),
        title_justify="left",
    )
    for count in shift.counts[:_CATEGORIES_SHOWN]:
        table.add_row(
            count.category,
            f"{count.before / shift.before:.1%}",
            f"{count.after / shift.after:.1%}",
            f"{count.psi:.4f}",
        )
    rest = shift.counts[_CATEGORIES_SHOWN:]
    if rest:
        before = sum(count.before for count in rest) / shift.before
        after = sum(count.after for count in rest) / shift.after
        psi = f"{sum(count.psi for count in rest):.4f}"
        table.add_row(f"{len(rest)} others", f"{before:.1%}", f"{after:.1%}", psi, style="dim")
    return table


def _norms(table: Table, norms: NormShift) -> None:
    change = "" if math.isnan(norms.relative) else f"{norms.relative:+.1%}"
    table.add_row("mean norm", f"{norms.before_mean:.3f}, {norms.after_mean:.3f}", change)


def _centroid(table: Table, centroid: CentroidShift) -> None:
    apart = f"{centroid.distance:.3f} apart, {centroid.in_spreads:.2f} of the vectors' spread"
    table.add_row("centroid, 1 - cosine", f"{centroid.cosine_distance:.3f}", apart)
