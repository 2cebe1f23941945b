"""Synthetic newspaper of the demo: its articles, its readers' clicks, and the oracle's ranking of them.

Its clock ends less than a day before the real one, so that what the demo leaves behind can be asked for
recommendations now; whole days are shifted, so that the same seed gives the same clicks whatever the day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from freshet.models.datasets.mind import read_behaviors, read_news
from freshet.models.datasets.synthetic.titles import (
    DRAWS,
    FOCI,
    PLACES,
    STYLE_INDEX,
    STYLES,
    TOPICS,
    Vocabulary,
    distinct_text,
)
from freshet.models.datasets.synthetic.truth import oracle_scores
from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.ranking_metrics import RankingReport, RankingScores
from freshet.models.events.events import Article, Impression, from_unix_s, to_unix_s

RECENT_CLICKS = 12
"""Number of latest clicks that describe a reader."""

_DAY_S = 86_400


def until_now(config: SynthConfig, now_s: float) -> SynthConfig:
    """Move ``config`` by whole days to the latest time at which it has ended by ``now_s``."""
    days = int((now_s - config.end_s) // _DAY_S)
    return replace(config, start_s=config.start_s + days * _DAY_S)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reader who mostly reads one category."""

    user_id: str
    category: str
    clicks: tuple[str, ...]
    """Ids of the latest clicked articles, the oldest first, at most ``RECENT_CLICKS``."""
    of_category: int
    """Number of these clicks on ``category``."""


@dataclass(frozen=True, slots=True)
class Newspaper:
    """Articles and impressions of a folder."""

    folder: Path
    articles: Mapping[str, Article]
    impressions: tuple[Impression, ...]
    """Impressions in order of time."""

    @classmethod
    def read(cls, folder: Path) -> Newspaper:
        """Read a newspaper that ``write_synth`` has written."""
        return cls(
            folder,
            {article.news_id: article for article in read_news(folder) if isinstance(article, Article)},
            tuple(line for line in read_behaviors(folder) if isinstance(line, Impression)),
        )

    @property
    def end_s(self) -> float:
        """Time of the last impression, Unix seconds."""
        return to_unix_s(self.impressions[-1].time)

    def readers(self, count: int, recent_s: float) -> list[Reader]:
        """Choose readers of this newspaper: see :func:`pick_readers`."""
        categories = {news_id: article.category for news_id, article in self.articles.items()}
        return pick_readers(self.impressions, categories, count, recent_s)

    def oracle(self, first: int) -> RankingReport:
        """Measure how well the oracle ranks the impressions from position ``first``.

        Raises:
            TruthError: The folder's ground truth cannot be read.
            ValueError: There is no impression to measure.
        """
        scores = RankingScores()
        measured = islice(zip(self.impressions, oracle_scores(self.folder), strict=True), first, None)
        for impression, best in measured:
            clicked = set(impression.clicked)
            scores.add_impression(np.array([news_id in clicked for news_id in impression.candidates]), best)
        return scores.report()

    def write(self, topic: Vocabulary, number: int, time_s: float) -> Article:
        """Write an article on ``topic`` that is not in the newspaper yet, published at ``time_s``."""
        taken = {article.title for article in self.articles.values()}
        style, place = STYLES[STYLE_INDEX["cause"]], PLACES[number % len(PLACES)]
        draws = range(number, number + DRAWS)
        title, abstract = distinct_text(topic, style, number % FOCI, place, draws, taken=taken)
        return Article(
            news_id=f"NEW{number}",
            published_at=from_unix_s(time_s),
            title=title,
            abstract=abstract,
            category=topic.category,
            subcategory=topic.subcategory,
        )

    def breaking(self, category: str, time_s: float) -> Article:
        """Write a breaking story on ``category``, published at ``time_s``."""
        topic = next(topic for topic in TOPICS if topic.category == category)
        article = self.write(topic, len(TOPICS), time_s)
        return article.model_copy(update={"title": f"Breaking: {article.title}"})


def pick_readers(
    impressions: Iterable[Impression], categories: Mapping[str, str], count: int, recent_s: float
) -> list[Reader]:
    """Choose readers of different interests: for each category, the one with the most recent clicks on it.

    Readers seen in the last ``recent_s`` seconds come before all others.

    Args:
        impressions: Impressions in order of time.
        categories: Categories by news id.
        count: Number of readers; at most one per category.
        recent_s: Length of the period before the last impression.
    """
    clicks: dict[str, tuple[str, ...]] = {}
    seen_s: dict[str, float] = {}
    last_s = 0.0
    for impression in impressions:
        known = clicks.get(impression.user_id, impression.history)
        clicks[impression.user_id] = (*known, *impression.clicked)[-RECENT_CLICKS:]
        last_s = seen_s[impression.user_id] = to_unix_s(impression.time)
    readers = []
    for user_id, recent in clicks.items():
        if recent:
            counted = Counter(categories.get(news_id, "") for news_id in recent)
            category, times = min(counted.items(), key=lambda entry: (-entry[1], entry[0]))
            readers.append(Reader(user_id, category, recent, times))
    readers.sort(
        key=lambda reader: (
            last_s - seen_s[reader.user_id] > recent_s,
            -reader.of_category,
            len(reader.clicks),
            reader.user_id,
        )
    )
    first_of: dict[str, Reader] = {}
    for reader in readers:
        first_of.setdefault(reader.category, reader)
    return list(first_of.values())[:count]
