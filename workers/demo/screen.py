"""Shows the demo while it runs: a live panel on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from freshet.models.events.events import from_unix_s
from freshet.workers.replay.report import ReplayProgress
from freshet.workers.terminal.terminal import Terminal

PLAIN_WIDTH = 100
"""Columns of an output that is no terminal."""

_LINE_EVERY_S = 5.0
_REFRESH_PER_S = 4
_BAR_WIDTH = 30
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_SHOWN = 20
_TRENDING_BAR = 12
_TITLE_WIDTH = 44


class Screen:
    """Prints the demo's headings and texts, and shows its progress."""

    def __init__(self, console: Terminal) -> None:
        self._console = console

    def step(self, title: str) -> None:
        """Begin the next part of the demo."""
        self._console.print()
        self._console.rule(Text(title, style="bold"), align="left", style="dim")

    def say(self, *parts: RenderableType) -> None:
        """Print texts or tables, one below the other."""
        for part in parts:
            if isinstance(part, Text):
                # Rich joins a call's texts into one, which loses how each is to be cut.
                self._console.print(part, no_wrap=part.no_wrap, overflow=part.overflow)
            else:
                self._console.print(part, highlight=False)

    @contextmanager
    def watch(
        self, panel: Callable[[], RenderableType], line: Callable[[], str]
    ) -> Iterator[Callable[[], None]]:
        """Show progress; call the function that is yielded whenever there may be some.

        Args:
            panel: Renders the present state for a terminal; called from another thread.
            line: Renders it as one line of text.
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


def bar(progress: ReplayProgress, what: str) -> RenderableType:
    """Show ``done of total`` and a bar."""
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{progress.done:,}", style="bold"),
        f"of {progress.total:,} {what}",
        ProgressBar(total=max(1, progress.total), completed=progress.done, width=_BAR_WIDTH),
    )
    return row


def feed_panel(
    progress: ReplayProgress, view: Mapping[str, Any], trending: Sequence[Mapping[str, Any]], *, scored: bool
) -> RenderableType:
    """Show the system at work: its speed, latencies and quality, and the trending headlines.

    Args:
        progress: Impressions done, and the time that the replay has reached.
        view: What :class:`~freshet.workers.console.pulse.Pulse` saw last; empty before its first look.
        trending: Articles of :meth:`~freshet.workers.console.memory.StreamMemory.trending`.
        scored: Whether impressions are ranked, so that there are answers to measure.
    """
    facts = Table.grid(padding=(0, 2))
    for name, figure in _facts(view, scored=scored).items():
        course = sparks(view["history"]["auc"]) if name == "rolling AUC" and view else ""
        facts.add_row(f"[dim]{name}[/]", figure, course)
    title = "the newspaper's clock"
    if progress.time_s is not None:
        title = f"[bold]{clock(progress.time_s)}[/] on {title}"
    headlines = Table.grid(padding=(0, 1))
    most = max((article["clicks"] for article in trending), default=0.0) or 1.0
    for article in trending:
        headlines.add_row(
            Text("█" * max(1, round(_TRENDING_BAR * article["clicks"] / most)), style="magenta"),
            f"{article['clicks']:.0f}",
            Text(article["category"], style="cyan"),
            Text(article["title"], no_wrap=True, overflow="ellipsis"),
        )
    heading = "[dim]trending now, by clicks with a half-life of 3 hours[/]"
    return Panel(
        Group(bar(progress, "impressions"), facts, "", heading, headlines),
        title=title,
        title_align="left",
        border_style="dim",
    )


def feed_line(
    progress: ReplayProgress, view: Mapping[str, Any], trending: Sequence[Mapping[str, Any]], *, scored: bool
) -> str:
    """Say in one line what :func:`feed_panel` shows."""
    parts = [f"{progress.done:,} of {progress.total:,} impressions"]
    if progress.time_s is not None:
        parts.append(clock(progress.time_s))
    parts += [f"{name} {figure}" for name, figure in _facts(view, scored=scored).items()]
    if trending:
        parts.append(f"trending: {shorten(trending[0]['title'], _TITLE_WIDTH, placeholder=' ...')}")
    return " · ".join(parts)


def _facts(view: Mapping[str, Any], *, scored: bool) -> dict[str, str]:
    history: Mapping[str, Sequence[float | None]] = view.get("history", {})
    now = defaultdict[str, float | None](lambda: None, {name: each[-1] for name, each in history.items()})
    facts = {
        "speed": rate(now["impressions_per_s"]),
        "click → vector": spread(now["click_p50_s"], now["click_p99_s"]),
    }
    if scored:
        facts["request → answer"] = spread(now["answer_p50_s"], now["answer_p99_s"])
        facts["rolling AUC"] = "..." if now["auc"] is None else f"{now['auc']:.3f}"
    return facts


def sparks(values: Sequence[float | None]) -> str:
    """Draw ``values`` as a line of small bars, from the smallest to the largest; ``None`` is left out."""
    known = [value for value in values if value is not None]
    shown = known[:: len(known) // _SPARKS_SHOWN + 1]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    step = (high - low) / (len(_SPARKS) - 1) or 1.0
    return "".join(_SPARKS[round((value - low) / step)] for value in shown)


def clock(time_s: float) -> str:
    """Format a time for people, in UTC: ``Tue 6 Jan 18:03``."""
    time_ = from_unix_s(time_s)
    return f"{time_:%a} {time_.day} {time_:%b %H:%M}"


def duration(seconds: float | None) -> str:
    """Format a duration: ``12 ms`` or ``3.4 s``; ``...`` while unknown."""
    if seconds is None:
        return "..."
    return f"{seconds * 1_000:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"


def spread(p50_s: float | None, p99_s: float | None) -> str:
    """Format the median and the 99th percentile of a latency."""
    return "..." if p50_s is None else f"{duration(p50_s)} (p99 {duration(p99_s)})"


def rate(per_s: float | None) -> str:
    """Format a rate: ``180/s``; ``...`` while unknown."""
    return "..." if per_s is None else f"{per_s:,.0f}/s"
