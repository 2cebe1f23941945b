"""Tables and sentences of the demo: its effects and its report, for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from freshet.workers.demo.newspaper import Newspaper, Reader
from freshet.workers.demo.report import ORACLE, DemoReport, ReaderStory, Scored
from freshet.workers.demo.screen import duration, spread
from freshet.workers.demo.story import LISTED, MOVES_SHOWN, SHOWN, BreakingStory, ClickStory
from freshet.workers.terminal.recommendation_table import age, reasons_in_words

_MIB = 1024 * 1024
_AUC_BAR = 30
_NO_BETTER_THAN_CHANCE = 0.5
_RANK_WIDTH, _CATEGORY_WIDTH, _MOVE_WIDTH = 2, 10, 4
_REASONS_SHOWN = 4
_RISEN_SHOWN = 3


def headlines(newspaper: Newspaper, count: int = 3) -> Iterator[Text]:
    """Show the newspaper's latest headlines."""
    for article in list(newspaper.articles.values())[-count:]:
        yield _headline(article.category, article.title)


def reader_story(story: ReaderStory) -> Iterator[RenderableType]:
    """Show a reader, what they read recently, and what they are recommended and why."""
    yield ""
    yield f"[bold]{escape(story.reader.user_id)}[/] {_taste(story.reader)}. Lately:"
    for article in story.lately:
        yield _headline(article.category, article.title, "dim")
    yield "Recommended now:"
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(justify="right", width=_RANK_WIDTH)
    table.add_column(width=_CATEGORY_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for rank, item in enumerate(story.recommended.items[:SHOWN], start=1):
        old = age(item.published_at, story.recommended.time)
        because = reasons_in_words(item, _REASONS_SHOWN) or "nothing in particular"
        table.add_row(str(rank), _category(item.category, story.reader.category), Text(item.title))
        table.add_row("", "", Text(f"{old} old; {because}", style="dim"))
    yield table


def click_story(story: ClickStory) -> Iterator[RenderableType]:
    """Show the lists before and after a click side by side."""
    reader, article = story.reader, story.article
    yield f"[bold]{escape(reader.user_id)}[/] {_taste(reader)}. Now they open an article on another topic:"
    yield _headline(article.category, article.title, "bold")
    yield ""
    table = Table(box=None, padding=(0, 1), pad_edge=False, expand=True)
    for heading, mark_width in (("before the click", _RANK_WIDTH), ("after the click", _MOVE_WIDTH)):
        table.add_column("", justify="right", width=mark_width)
        table.add_column("", width=_CATEGORY_WIDTH)
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=1)
    rows = zip(story.before.items, story.after.items, story.moves(), strict=False)
    for rank, (before, after, was) in enumerate(islice(rows, MOVES_SHOWN), start=1):
        table.add_row(
            str(rank),
            _category(before.category, article.category),
            Text(before.title),
            _move(rank, was),
            _category(after.category, article.category),
            Text(after.title),
        )
    yield table
    yield ""
    risen = story.risen()[:_RISEN_SHOWN]
    if risen:
        yield "What has risen the furthest:"
        for item, was, rank in risen:
            line = _headline(item.category, item.title)
            yield Text.assemble(f"   {was:>2} → {rank:<2}", line, no_wrap=True, overflow="ellipsis")
    yield f"[bold]{duration(story.effect.seconds)}[/] after the click was sent to Kafka, an answer knew it."


def breaking_story(story: BreakingStory) -> Iterator[RenderableType]:
    """Show the article and its rank in each reader's list."""
    yield _headline(story.article.category, story.article.title, "bold")
    yield (
        f"[bold]{duration(story.effect.seconds)}[/] after it was sent to Kafka it was embedded, indexed and "
        "in an answer. Nobody has clicked it yet: its text and its age alone place it."
    )
    for reader, rank in story.ranks:
        place = f"number {rank}" if rank is not None else f"not among the first {LISTED}"
        yield f"   {place:<12} for {escape(reader.user_id)}, who reads mostly {reader.category}"


def report_text(report: DemoReport) -> Iterator[RenderableType]:
    """Show the figures, the folders, and what to try next."""
    table = Table(box=None, padding=(0, 2), pad_edge=False, show_header=False)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for figure, meaning in _figures(report):
        table.add_row(figure, meaning)
    yield table
    if report.scored is not None:
        yield ""
        yield from _quality(report.scored)
    yield ""
    yield "Time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.phases_s.items()) + "."
    yield (
        f"Logs: [cyan]{escape(str(report.log_file))}[/], and Kafka's in "
        f"[cyan]{escape(str(report.data_dir / 'kafka' / 'log'))}[/]. "
        f"The newspaper (MIND's format): [cyan]{escape(str(report.folder))}[/]."
    )
    yield ""
    yield "Try next, each in a terminal of its own:"
    for command, meaning in _commands(report):
        yield f"   [bold]{escape(command)}[/]\n      [dim]{meaning}[/]"


def _figures(report: DemoReport) -> Iterator[tuple[str, str]]:
    streamed, scored = report.streamed, report.scored
    yield (
        f"{streamed.per_s:,.0f} impressions/s",
        f"streamed as fast as accepted ({streamed.impressions:,}, until every vector had changed)",
    )
    if scored is not None:
        yield (
            f"{scored.per_s:,.0f} impressions/s",
            f"each ranked by the live system before its clicks were revealed ({scored.impressions:,})",
        )
        yield (
            spread(scored.click_to_vector.p50_s, scored.click_to_vector.p99_s),
            "from a click on Kafka to the reader's changed vector, under that load",
        )
        yield (
            spread(scored.score.latency_p50_s, scored.score.latency_p99_s),
            "from a request on Kafka to its answer, under that load",
        )
    yield (
        spread(report.request.p50_s, report.request.p99_s),
        f"request to answer without other load ({report.requests} lists of ten, one by one)",
    )
    yield (
        spread(report.published_to_recommendable.p50_s, report.published_to_recommendable.p99_s),
        f"from publishing an article to an answer with it ({report.published}, one by one)",
    )
    yield (
        f"{report.embedded / report.embedding_s:,.0f} articles/s",
        f"embedded and indexed, when {report.embedded:,} were published at once",
    )
    if report.memory_bytes:
        memory = ", ".join(f"{name} {size / _MIB:,.0f} MiB" for name, size in report.memory_bytes.items())
        yield f"{sum(report.memory_bytes.values()) / _MIB:,.0f} MiB", f"of memory: {memory}"


def _quality(scored: Scored) -> Iterator[RenderableType]:
    oracle = scored.rankings[ORACLE].auc
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("ranked by")
    table.add_column("AUC", justify="right")
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("")
    for name, ranking in sorted(scored.rankings.items(), key=lambda entry: entry[1].auc):
        estimate = ranking.metrics["auc"]
        scale = (estimate.mean - _NO_BETTER_THAN_CHANCE) / max(oracle - _NO_BETTER_THAN_CHANCE, 1e-9)
        table.add_row(
            f"[bold]{name}[/]" if name == "freshet" else name,
            f"{estimate.mean:.3f}",
            f"[dim]{estimate.low:.3f} to {estimate.high:.3f}[/]",
            f"[green]{'█' * max(0, round(_AUC_BAR * scale))}[/]",
        )
    yield table
    yield (
        f"[dim]On the same {scored.oracle.impressions:,} impressions. The oracle knows all interests; "
        f"freshet, from clicks and texts alone, is {scored.share_of_possible:.0%} of the way "
        "from chance to it.[/]"
    )
    if scored.score.unanswered or scored.score.degraded:
        yield (
            f"[yellow]{scored.score.unanswered:,} requests were unanswered, {scored.score.degraded:,} "
            "answers degraded.[/]"
        )


def _commands(report: DemoReport) -> Iterator[tuple[str, str]]:
    program = _program()
    user = report.readers[0].reader.user_id
    yield f"{program} up --data-dir {report.data_dir}", "runs this system again, with all that it has learned"
    yield f"{program} subscribe {user} --push", "shows a fresh list after each click of this reader"
    clicked = report.readers[-1].recommended.items[0].news_id
    yield f"{program} click {user} {clicked}", "publishes such a click; watch the list change"


def _program() -> str:
    """Return the command that runs ``freshet`` from this folder."""
    if shutil.which("freshet") is not None:
        return "freshet"
    return os.path.relpath(Path(sys.executable).parent / "freshet")


def _taste(reader: Reader) -> str:
    share = f"{reader.of_category} of the last {len(reader.clicks)} clicks"
    return f"reads mostly [cyan]{reader.category}[/] ({share})"


def _headline(category: str, title: str, style: str = "") -> Text:
    return Text.assemble(
        (f"   {category:<{_CATEGORY_WIDTH}} ", "cyan"), (title, style), no_wrap=True, overflow="ellipsis"
    )


def _category(category: str, marked: str) -> Text:
    return Text(category, style="bold cyan" if category == marked else "cyan")


def _move(rank: int, was: int | None) -> str:
    if was is None:
        return "[green]new[/]"
    if was == rank:
        return "[dim]=[/]"
    return f"[green]▲{was - rank}[/]" if was > rank else f"[red]▼{rank - was}[/]"
