"""``freshet replay``: publish a MIND folder in order of time, and score the running system on it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.main import INTERRUPTED
from freshet.workers.cli.options import EXISTING_FOLDER, json_option, refusing
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.results import show_result


class _Speed(click.ParamType):
    name = "speed"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Literal["max"]:
        if value == "max":
            return "max"
        try:
            return float(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'max'", param, ctx)


@click.command(name="replay")
@click.argument("folder", type=EXISTING_FOLDER)
@click.option(
    "--speed",
    type=_Speed(),
    metavar="N|max",
    default="max",
    show_default=True,
    help="Multiple of real time (1 is real time), or as fast as the stream accepts.",
)
@click.option("--score", is_flag=True, help="Have the running system rank each impression before its clicks.")
@click.option("--shift-to-now", is_flag=True, help="Move all times so that the first event happens now.")
@click.option(
    "--articles",
    type=click.Choice(["first", "in-time"]),
    help="Publish all articles first, or each at its time. [default: first at --speed max, else in-time]",
)
@click.option("--no-wait", is_flag=True, help="Do not wait until the articles have vectors.")
@click.option(
    "--window",
    type=click.IntRange(1, 10_000),
    default=4,
    show_default=True,
    help="Impressions scored at the same time, with --score. More is faster, but each is ranked without the "
    "clicks of as many before it: at --speed max, those of minutes of the log's time.",
)
@click.option(
    "--answer-timeout",
    "answer_timeout_s",
    type=FiniteRange(0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Time after which a request counts as unanswered.",
)
@click.option(
    "--max-lag",
    type=click.IntRange(0),
    default=20_000,
    show_default=True,
    help="Most impressions that the stream may be behind; 0: no limit.",
)
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out the first N impressions.")
@click.option("--limit", type=click.IntRange(1), help="Replay at most N impressions.")
@click.option("--resume", is_flag=True, help="Continue where the last replay of this folder stopped.")
@json_option
@connection_options
def command(
    settings: Settings,
    *,
    folder: Path,
    speed: float | Literal["max"],
    no_wait: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Publish a MIND folder (news.tsv, behaviors.tsv) in order of time.

    Ctrl-C stops cleanly; a second run starts again, or continues with --resume.
    """
    from freshet.workers.errors import WorkerError
    from freshet.workers.replay.progress import ReplayBar
    from freshet.workers.replay.report import ReplayOptions
    from freshet.workers.replay.run import replay
    from freshet.workers.replay.text import render

    with refusing(WorkerError):
        options = ReplayOptions(
            speed=None if speed == "max" else speed, wait_for_vectors=not no_wait, **given
        )
    with _stop_on_interrupt() as stop, ReplayBar() as bar:
        report = replay(settings, folder, options, on_progress=bar.show, stop=stop)
    show_result(report.as_json(), lambda: render(report), as_json=as_json)
    if report.stopped:
        sys.exit(INTERRUPTED)


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C; the second one interrupts as usual."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
