"""Small MIND folders for tests, written line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import format_time

START_S = 1_700_000_000
Line = tuple[str, float, str, str]
"""User, seconds after START_S, history, slate such as ``N1-1 N2-0``."""


def write_log(folder: Path, lines: Sequence[Line], categories: dict[str, str] | None = None) -> Path:
    """A MIND folder; ``categories`` are the articles that have a line in ``news.tsv``."""
    folder.mkdir(parents=True, exist_ok=True)
    behaviors = [
        f"{i}\t{user}\t{format_time(START_S + after_s)}\t{history}\t{slate}\n"
        for i, (user, after_s, history, slate) in enumerate(lines)
    ]
    news = [
        f"{news_id}\t{category}\t\tTitle of {news_id}\tIts abstract.\t\t[]\t[]\n"
        for news_id, category in (categories or {}).items()
    ]
    (folder / "behaviors.tsv").write_text("".join(behaviors))
    (folder / "news.tsv").write_text("".join(news))
    return folder


def log_of(folder: Path, lines: Sequence[Line], categories: dict[str, str] | None = None) -> ImpressionLog:
    """The same, read."""
    return read_impression_log(write_log(folder, lines, categories))
