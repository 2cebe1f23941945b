"""Writes a synthetic newspaper's stream in MIND's format, with the ground truth beside it.

``write_synth`` writes ``news.tsv``, ``behaviors.tsv`` (in the order of time), ``published.tsv``,
``truth.npy`` (:mod:`freshet.models.datasets.synthetic.truth`) and ``truth.json`` (the configuration and the
report). On the same platform and NumPy the same configuration gives byte-identical files. Memory depends on
users and articles, not on impressions. Files appear in the folder only when all are complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import orjson

from freshet.models.datasets.mind import (
    BEHAVIORS_FILE,
    NEWS_FILE,
    PUBLISHED_FILE,
    format_time,
    news_line,
    published_line,
)
from freshet.models.datasets.synthetic.measures import Measures, SynthReport
from freshet.models.datasets.synthetic.stream import ImpressionBatch, impressions
from freshet.models.datasets.synthetic.titles import TOPICS
from freshet.models.datasets.synthetic.truth import TruthWriter
from freshet.models.datasets.synthetic.world import HISTORY, SynthConfig, World, build_world
from freshet.models.events.events import Article, from_unix_s

REPORT_FILE = "truth.json"

_PARTIAL = ".partial"
_WORLD_SHARE = 0.05


def demo_world(seed: int = 7) -> SynthConfig:
    """Configure the stream of `freshet demo`: a day and a half, replayed on two cores in a minute."""
    return SynthConfig(users=1_500, articles=600, impressions=6_000, hours=36.0, seed=seed)


def write_synth(
    folder: Path,
    config: SynthConfig,
    *,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> SynthReport:
    """Generate a stream and write its folder; ``progress`` gets the share done, from 0 to 1.

    Raises:
        FileExistsError: The folder exists and is not empty, and ``overwrite`` is not set.
        OSError: The folder cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"{folder}: the folder is not empty")
    partial = folder / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        report = _write_files(partial, config, progress)
        for path in sorted(partial.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial)
    progress(1.0)
    return report


def _write_files(folder: Path, config: SynthConfig, progress: Callable[[float], None]) -> SynthReport:
    world = build_world(config, lambda share: progress(_WORLD_SHARE * share))
    write_articles(folder, world)
    measures = Measures(world)
    lines = _BehaviorsLines(world)
    done = 0
    with (folder / BEHAVIORS_FILE).open("wb", buffering=1 << 20) as behaviors, TruthWriter(folder) as truth:
        for batch in impressions(world):
            behaviors.write(lines.write(batch))
            truth.write(batch)
            measures.add_batch(batch)
            done += len(batch.users)
            progress(_WORLD_SHARE + (1.0 - _WORLD_SHARE) * done / config.impressions)
    report = measures.report()
    document = {"version": 1, "config": config, "report": report}
    (folder / REPORT_FILE).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return report


def write_articles(folder: Path, world: World) -> None:
    """Write ``news.tsv`` and ``published.tsv``."""
    articles = world.articles
    with (
        (folder / NEWS_FILE).open("w", encoding="utf-8", newline="\n") as news,
        (folder / PUBLISHED_FILE).open("w", encoding="utf-8", newline="\n") as published,
    ):
        for row, news_id in enumerate(articles.ids):
            topic = TOPICS[articles.topic[row]]
            published_s = int(articles.published_s[row])
            article = Article(
                news_id=news_id,
                published_at=from_unix_s(published_s),
                title=articles.titles[row],
                abstract=articles.abstracts[row],
                category=topic.category,
                subcategory=topic.subcategory,
                url=f"https://news.example/{topic.category}/{news_id}.html",
            )
            news.write(news_line(article))
            published.write(published_line(news_id, published_s))


class _BehaviorsLines:
    """Formats batches as lines of ``behaviors.tsv``; keeps every reader's history as text."""

    def __init__(self, world: World) -> None:
        self._news_ids = world.articles.ids
        self._slots = (
            [f"{news_id}-0" for news_id in self._news_ids],
            [f"{news_id}-1" for news_id in self._news_ids],
        )
        self._user_ids = world.readers.ids
        readers = world.readers
        self._lengths = readers.clicks.tolist()
        self._histories = [
            " ".join([self._news_ids[article] for article in ring[:length]])
            for ring, length in zip(readers.clicked, self._lengths, strict=True)
        ]
        self._written = 0

    def write(self, batch: ImpressionBatch) -> bytes:
        """Format the lines of a batch, and add its clicks to the histories of later lines."""
        skipped_slots, clicked_slots = self._slots
        candidates = batch.articles.tolist()
        slots = [skipped_slots[article] for article in candidates]
        for place in batch.clicked.nonzero()[0].tolist():
            slots[place] = clicked_slots[candidates[place]]
        starts = batch.starts.tolist()
        users = batch.users.tolist()
        lines = []
        for row, (user, time_s) in enumerate(zip(users, batch.times_s.tolist(), strict=True)):
            self._written += 1
            slate = " ".join(slots[starts[row] : starts[row + 1]])
            history = self._histories[user]
            lines.append(
                f"{self._written}\t{self._user_ids[user]}\t{format_time(time_s)}\t{history}\t{slate}\n"
            )
        clicked_users = batch.users[batch.rows[batch.clicked]].tolist()
        for user, article in zip(clicked_users, batch.articles[batch.clicked].tolist(), strict=True):
            self._click(user, self._news_ids[article])
        return "".join(lines).encode()

    def _click(self, user: int, news_id: str) -> None:
        history = self._histories[user]
        if self._lengths[user] < HISTORY:
            self._lengths[user] += 1
        else:
            history = history[history.index(" ") + 1 :]
        self._histories[user] = f"{history} {news_id}" if history else news_id
