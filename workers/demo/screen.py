"""How the demo looks while it runs: a live panel on a terminal, plain lines every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from freshet.models.events.events import Article, from_unix_s
from freshet.workers.demo.monitor import MonitorView, Trending
from freshet.workers.terminal.terminal import Terminal

PLAIN_WIDTH = 100
"""Columns where the output is no terminal that says how wide it is."""

_LINE_EVERY_S = 5.0
_REFRESH_PER_S = 4
_BAR_WIDTH = 30
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_SHOWN = 20
_TRENDING_BAR = 12
_TITLE_WIDTH = 44


class Screen:
    """Where the demo is told: headings, texts, and what moves."""

    def __init__(self, console: Terminal) -> None:
        self._console = console

    def step(self, title: str) -> None:
        """Begin the next part of the story."""
        self._console.print()
        self._console.rule(Text(title, style="bold"), align="left", style="dim")

    def say(self, *parts: RenderableType) -> None:
        """Print texts or tables, one below the other."""
        for part in parts:
            if isinstance(part, Text):
                # rich joins the texts of a call to a new one, which forgets how they want to be cut.
                self._console.print(part, no_wrap=part.no_wrap, overflow=part.overflow)
            else:
                self._console.print(part, highlight=False)

    @contextmanager
    def watch(
        self, panel: Callable[[], RenderableType], line: Callable[[], str]
    ) -> Iterator[Callable[[], None]]:
        """Show something that moves; call what is given whenever it may have moved.

        Args:
            panel: What it looks like now, for a terminal; called from another thread.
            line: The same as one line of text.
        """
        if self._console.is_terminal:
            with Live(
                get_renderable=panel,
                console=self._console,
                refresh_per_second=_REFRESH_PER_S,
                vertical_overflow="crop",
            ):
                yield lambda: None
            return
        shown_s = time.monotonic()

        def tick() -> None:
            nonlocal shown_s
            if time.monotonic() - shown_s >= _LINE_EVERY_S:
                shown_s = time.monotonic()
                self._console.print(line(), highlight=False, soft_wrap=True)

        yield tick
        self._console.print(line(), highlight=False, soft_wrap=True)


@dataclass(slots=True)
class Progress:
    """How far something is."""

    total: int
    done: int = 0
    time_s: float | None = None
    """The newspaper's clock, Unix seconds."""


def bar(progress: Progress, what: str) -> RenderableType:
    """``done of total`` and a bar."""
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{progress.done:,}", style="bold"),
        f"of {progress.total:,} {what}",
        ProgressBar(total=max(1, progress.total), completed=progress.done, width=_BAR_WIDTH),
    )
    return row


def feed_panel(
    progress: Progress, view: MonitorView, articles: Mapping[str, Article], *, scored: bool
) -> RenderableType:
    """The system at work: speed, latencies, quality, and the headlines of the hour."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("[dim]impressions[/]", rate(view.impressions_per_s), "[dim]applied[/]", f"{view.applied:,}")
    facts.add_row(
        *("[dim]click → vector[/]", spread(view.click_to_vector_p50_s, view.click_to_vector_p99_s)),
        *("[dim]request → answer[/]", spread(view.request_p50_s, view.request_p99_s)),
    )
    if scored:
        auc = "..." if view.auc is None else f"{view.auc:.3f}"
        facts.add_row("[dim]rolling AUC[/]", auc, sparks(view.aucs), "")
    title = "the newspaper's clock"
    if progress.time_s is not None:
        title = f"[bold]{clock(progress.time_s)}[/] on {title}"
    return Panel(
        Group(bar(progress, "impressions"), facts, "", *_trending(view.trending, articles)),
        title=title,
        title_align="left",
        border_style="dim",
    )


def feed_line(progress: Progress, view: MonitorView, articles: Mapping[str, Article], *, scored: bool) -> str:
    """The same in one line."""
    parts = [f"{progress.done:,} of {progress.total:,} impressions"]
    if progress.time_s is not None:
        parts.append(clock(progress.time_s))
    parts.append(rate(view.impressions_per_s))
    parts.append(f"click → vector {spread(view.click_to_vector_p50_s, view.click_to_vector_p99_s)}")
    if scored:
        parts.append(f"answer {spread(view.request_p50_s, view.request_p99_s)}")
        if view.auc is not None:
            parts.append(f"AUC {view.auc:.3f}")
    if view.trending and (article := articles.get(view.trending[0].news_id)):
        parts.append(f"trending: {shorten(article.title, _TITLE_WIDTH, placeholder=' ...')}")
    return " · ".join(parts)


def _trending(trending: tuple[Trending, ...], articles: Mapping[str, Article]) -> Iterator[RenderableType]:
    yield "[dim]trending now, by clicks with a half-life of 3 hours[/]"
    table = Table.grid(padding=(0, 1))
    most = max((entry.clicks for entry in trending), default=1.0)
    for entry in trending:
        article = articles.get(entry.news_id)
        table.add_row(
            f"[magenta]{'█' * max(1, round(_TRENDING_BAR * entry.clicks / most)):<{_TRENDING_BAR}}[/]",
            f"{entry.clicks:.0f}",
            Text(article.category if article else "", style="cyan"),
            Text(article.title if article else entry.news_id, no_wrap=True, overflow="ellipsis"),
        )
    yield table


def sparks(values: tuple[float, ...]) -> str:
    """The course of ``values`` as a line of little bars, from the smallest to the largest of those shown."""
    shown = values[:: len(values) // _SPARKS_SHOWN + 1]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    step = (high - low) / (len(_SPARKS) - 1) or 1.0
    return "".join(_SPARKS[round((value - low) / step)] for value in shown)


def clock(time_s: float) -> str:
    """A moment as people say it: ``Tue 6 Jan 18:03``, UTC."""
    time_ = from_unix_s(time_s)
    return f"{time_:%a} {time_.day} {time_:%b %H:%M}"


def duration(seconds: float | None) -> str:
    """``12 ms`` or ``3.4 s``; ``...`` while unknown."""
    if seconds is None:
        return "..."
    return f"{seconds * 1_000:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"


def spread(p50_s: float | None, p99_s: float | None) -> str:
    """Median and 99th percentile."""
    return "..." if p50_s is None else f"{duration(p50_s)} (p99 {duration(p99_s)})"


def rate(per_s: float | None) -> str:
    """``180/s``; ``...`` while unknown."""
    return "..." if per_s is None else f"{per_s:,.0f}/s"
