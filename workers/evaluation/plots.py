"""The figures of an evaluation's report, each as one ``<svg>`` element with a text that says what it shows.

Nothing outside the element is referred to, its ids are its own, and its texts are texts. The same evaluation
gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from freshet.workers.evaluation.report import ArticleMap, Evaluation

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#8c613c", "#000000")
"""Okabe and Ito's, 2008, and two more: told apart by people who see fewer colours."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
_MAP_CATEGORIES = 12
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "freshet",
    "font.family": "sans-serif",
    "font.size": 10.0,
    # Categories are names, whatever dollar signs they hold.
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure."""

    title: str
    description: str
    """What it shows, in words: for who does not see it."""
    svg: str


def plots(evaluation: Evaluation) -> Iterator[Plot]:
    """All figures that the evaluation has data for."""
    yield _methods(evaluation)
    if len(evaluation.over_time.segments) > 1:
        yield _over_time(evaluation)
    if evaluation.slates_at_rank:
        yield _by_rank(evaluation)
    if evaluation.manifest is not None and len(evaluation.manifest.training.curve) > 1:
        yield _learning(evaluation.manifest.training.curve)
    if evaluation.map is not None:
        yield _map(evaluation.map)


@contextmanager
def _drawn(name: str, height: float) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on; the list then holds the element."""
    out: list[str] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        axes = figure.add_subplot()
        yield axes, out
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    out.append(_element(buffer.getvalue(), name))


def _legend(axes: Axes, lines: Sequence[Line2D] | None = None) -> None:
    """Above the axes, where it hides nothing."""
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
    """The ``<svg>`` of a document, as wide as the page, its ids made its own."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    return svg.strip()


def _finished(name: str, title: str, description: str, out: Sequence[str]) -> Plot:
    label = f'role="img" aria-label="{escape(f"{title}. {description}", quote=True)}"'
    return Plot(title, description, out[0].replace("<svg ", f"<svg {label} ", 1))


def _methods(evaluation: Evaluation) -> Plot:
    methods = list(evaluation.overall)
    figures = [evaluation.overall[method]["auc"] for method in methods]
    with _drawn("methods", 0.9 + 0.42 * len(methods)) as (axes, out):
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
    return _finished("methods", "AUC of each method", f"{words}. The dotted line is random order, 0.5.", out)


def _over_time(evaluation: Evaluation) -> Plot:
    segments = evaluation.over_time.segments
    with _drawn("time", 3.4) as (axes, out):
        x = np.arange(len(segments))
        for m, method in enumerate(evaluation.overall):
            found = [segment.methods[method] for segment in segments]
            colour = _COLOURS[m % len(_COLOURS)]
            axes.plot(
                x,
                [figure.mean for figure in found],
                label=method,
                color=colour,
                marker=_MARKERS[m % len(_MARKERS)],
                markersize=4,
            )
            if method == evaluation.main:
                low, high = [figure.low for figure in found], [figure.high for figure in found]
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        step = max(1, len(segments) // 6)
        axes.set_xticks(x[::step], [segment.name[5:] for segment in segments][::step])
        axes.set_xlabel("begin of the stretch (UTC)")
        axes.set_ylabel("AUC")
        axes.grid(axis="y", color="#dddddd")
        _legend(axes)
    main = [segment.methods[evaluation.main].mean for segment in segments]
    words = (
        f"{len(segments)} stretches of equally many impressions; the AUC of {evaluation.main} lies between "
        f"{min(main):.3f} and {max(main):.3f}, it begins at {main[0]:.3f} and ends at {main[-1]:.3f}. The "
        "band is its 95 % interval."
    )
    return _finished("time", "AUC over time", words, out)


def _by_rank(evaluation: Evaluation) -> Plot:
    ranks = np.arange(1, len(evaluation.slates_at_rank) + 1)
    with _drawn("ranks", 3.2) as (axes, out):
        for m, (method, rates) in enumerate(evaluation.click_rates.items()):
            marker, colour = _MARKERS[m % len(_MARKERS)], _COLOURS[m % len(_COLOURS)]
            axes.plot(ranks, rates, label=method, color=colour, marker=marker, markersize=4)
        axes.set_xlabel("rank given")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("share clicked")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#dddddd")
        _legend(axes)
    main = evaluation.click_rates[evaluation.main]
    words = (
        f"Of the candidates that {evaluation.main} ranks first {main[0]:.1%} were clicked, of those ranked "
        f"{len(main)}th {main[-1]:.1%}. A useful order falls from left to right; random order is flat but "
        "for slates of different lengths."
    )
    return _finished("ranks", "Clicks by rank", words, out)


def _learning(curve: Sequence[dict[str, float]]) -> Plot:
    epochs = [entry.get("epoch", float(i)) for i, entry in enumerate(curve)]
    drawn = [name for name in curve[-1] if name == "loss" or name in {"auc", "ndcg@10", "rmse", "accuracy"}]
    with _drawn("learning", 3.0) as (axes, out):
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        for i, name in enumerate(drawn):
            side = axes if name == "loss" else right
            values = [entry.get(name, np.nan) for entry in curve]
            side.plot(epochs, values, label=name, color=_COLOURS[i], marker=_MARKERS[i], markersize=4)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("loss, training")
        right.set_ylabel("validation")
        lines = [*axes.get_lines(), *right.get_lines()]
        _legend(axes, lines)
    words = "; ".join(
        f"{name} from {curve[0].get(name, np.nan):.4f} to {curve[-1].get(name, np.nan):.4f}" for name in drawn
    )
    return _finished("learning", "How the bundle learned", f"{len(curve)} epochs: {words}.", out)


def _map(drawn: ArticleMap) -> Plot:
    counts: dict[str, int] = {}
    for category in drawn.categories:
        if category:
            counts[category] = counts.get(category, 0) + 1
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:_MAP_CATEGORIES]
    named = np.array([category if category in frequent else "" for category in drawn.categories])
    with _drawn("map", 5.4) as (axes, out):
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
    return _finished("map", "Map of the articles", words, out)
