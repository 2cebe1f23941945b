"""Draws the figures of an evaluation's report, each as an ``<svg>`` element with a description.

An element has no external references, ids of its own, and text as text instead of outlines. The same
evaluation gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from freshet.workers.evaluation.report import ArticleMap, Evaluation

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#8c613c", "#000000")
"""Palette for colour-blind readers (Okabe and Ito, 2008), and two more colours."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
_MAP_CATEGORIES = 12
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "freshet",
    "font.family": "sans-serif",
    "font.size": 10.0,
    # A category may hold dollar signs.
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of the report."""

    title: str
    description: str
    """Content in words, for readers who do not see the figure."""
    svg: str


def plots(evaluation: Evaluation) -> list[Plot]:
    """Draw the figures that the evaluation has data for."""
    drawn = []
    with mpl.rc_context(_STYLE):
        drawn.append(_methods(evaluation))
        if len(evaluation.over_time.segments) > 1:
            drawn.append(_over_time(evaluation))
        if evaluation.slates_at_rank:
            drawn.append(_by_rank(evaluation))
        if evaluation.manifest is not None and len(evaluation.manifest.training.curve) > 1:
            drawn.append(_learning(evaluation.manifest.training.curve))
        if evaluation.map is not None:
            drawn.append(_map(evaluation.map))
    return drawn


def _axes(height: float) -> Axes:
    return Figure(figsize=(7.2, height), layout="constrained").add_subplot()


def _curve(axes: Axes, number: int, x: ArrayLike, y: ArrayLike, label: str) -> Line2D:
    """Draw a curve in the colour and with the marker of its number."""
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
    (line,) = axes.plot(x, y, label=label, color=colour, marker=marker, markersize=4)
    return line


def _legend(axes: Axes, lines: Sequence[Line2D] | None = None) -> None:
    """Put the legend above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if lines is not None:
        handles, labels = list(lines), [str(line.get_label()) for line in lines]
    axes.legend(
        handles,
        labels,
        frameon=False,
        fontsize=9,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=5,
        borderpad=0.0,
        columnspacing=1.2,
    )


def _element(document: str, name: str) -> str:
    """Extract the ``<svg>`` of a document, as wide as the page, with ids prefixed by ``name``."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    return svg.strip()


def _plot(axes: Axes, name: str, title: str, description: str) -> Plot:
    buffer = io.StringIO()
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    label = f'role="img" aria-label="{escape(f"{title}. {description}", quote=True)}"'
    svg = _element(buffer.getvalue(), name).replace("<svg ", f"<svg {label} ", 1)
    return Plot(title, description, svg)


def _methods(evaluation: Evaluation) -> Plot:
    methods = list(evaluation.overall)
    figures = [evaluation.overall[method]["auc"] for method in methods]
    axes = _axes(0.9 + 0.42 * len(methods))
    rows = np.arange(len(methods))[::-1]
    mean = np.array([figure.mean for figure in figures])
    spread = np.array([[figure.mean - figure.low, figure.high - figure.mean] for figure in figures]).T
    axes.errorbar(mean, rows, xerr=np.maximum(spread, 0.0), fmt="o", color=_COLOURS[0], capsize=4)
    axes.axvline(0.5, color="#777777", linewidth=1, linestyle=":")
    axes.set_yticks(rows, methods)
    axes.set_ylim(-0.6, len(methods) - 0.4)
    axes.set_xlabel("AUC, mean over impressions with its 95 % interval")
    axes.grid(axis="x", color="#dddddd")
    words = "; ".join(
        f"{method} {figure.mean:.4f} ({figure.low:.4f} to {figure.high:.4f})"
        for method, figure in zip(methods, figures, strict=True)
    )
    return _plot(axes, "methods", "AUC of each method", f"{words}. The dotted line is random order, 0.5.")


def _over_time(evaluation: Evaluation) -> Plot:
    segments = evaluation.over_time.segments
    axes = _axes(3.4)
    x = np.arange(len(segments))
    for m, method in enumerate(evaluation.overall):
        found = [segment.methods[method] for segment in segments]
        line = _curve(axes, m, x, [figure.mean for figure in found], method)
        if method == evaluation.main:
            low, high = [figure.low for figure in found], [figure.high for figure in found]
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    step = max(1, len(segments) // 6)
    axes.set_xticks(x[::step], [segment.name[5:] for segment in segments][::step])
    axes.set_xlabel("start of the segment (UTC)")
    axes.set_ylabel("AUC")
    axes.grid(axis="y", color="#dddddd")
    _legend(axes)
    main = [segment.methods[evaluation.main].mean for segment in segments]
    words = (
        f"{len(segments)} segments of equally many impressions; the AUC of {evaluation.main} lies between "
        f"{min(main):.3f} and {max(main):.3f}, it begins at {main[0]:.3f} and ends at {main[-1]:.3f}. The "
        "band is its 95 % interval."
    )
    return _plot(axes, "time", "AUC over time", words)


def _by_rank(evaluation: Evaluation) -> Plot:
    ranks = np.arange(1, len(evaluation.slates_at_rank) + 1)
    axes = _axes(3.2)
    for m, (method, rates) in enumerate(evaluation.click_rates.items()):
        _curve(axes, m, ranks, rates, method)
    axes.set_xlabel("rank")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("click-through rate")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#dddddd")
    _legend(axes)
    main = evaluation.click_rates[evaluation.main]
    words = (
        f"The click-through rate of the candidates that {evaluation.main} ranks first is {main[0]:.1%}, of "
        f"those at rank {len(main)} {main[-1]:.1%}. It falls with the rank if the order is useful. It is "
        "flat for a random order, except for the effect of different slate lengths."
    )
    return _plot(axes, "ranks", "Click-through rate by rank", words)


def _learning(curve: Sequence[dict[str, float]]) -> Plot:
    epochs = [entry.get("epoch", float(i)) for i, entry in enumerate(curve)]
    drawn = [name for name in curve[-1] if name == "loss" or name in {"auc", "ndcg@10", "rmse", "accuracy"}]
    axes = _axes(3.0)
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    for i, name in enumerate(drawn):
        values = [entry.get(name, np.nan) for entry in curve]
        _curve(axes if name == "loss" else right, i, epochs, values, name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("loss, training")
    right.set_ylabel("validation")
    _legend(axes, [*axes.get_lines(), *right.get_lines()])
    words = "; ".join(
        f"{name} from {curve[0].get(name, np.nan):.4f} to {curve[-1].get(name, np.nan):.4f}" for name in drawn
    )
    return _plot(axes, "learning", "Learning curve", f"{len(curve)} epochs: {words}.")


def _map(drawn: ArticleMap) -> Plot:
    counts: dict[str, int] = {}
    for category in drawn.categories:
        if category:
            counts[category] = counts.get(category, 0) + 1
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:_MAP_CATEGORIES]
    named = np.array([category if category in frequent else "" for category in drawn.categories])
    axes = _axes(5.4)
    for i, name in enumerate(["", *frequent]):
        rows = named == name
        if not rows.any():
            continue
        axes.scatter(
            drawn.places[rows, 0],
            drawn.places[rows, 1],
            s=14,
            color="#bbbbbb" if not name else _COLOURS[(i - 1) % len(_COLOURS)],
            marker=_MARKERS[i % len(_MARKERS)],
            label=name or "others, unknown",
            alpha=0.75,
            linewidths=0,
        )
    axes.set_xlabel(f"first axis, {drawn.shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second axis, {drawn.shares[1]:.0%}")
    axes.set_xticks([])
    axes.set_yticks([])
    _legend(axes)
    words = (
        f"{len(drawn.places):,} of {drawn.articles:,} articles with a vector, on the two principal axes, "
        f"which hold {sum(drawn.shares):.0%} of the variance; coloured by category"
        + (f" ({', '.join(frequent)})." if frequent else ", of which none is known.")
    )
    return _plot(axes, "map", "Map of the articles", words)
