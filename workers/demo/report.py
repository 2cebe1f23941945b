"""What the demo measured, as one value that both the screen and ``--json`` are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.ranking_metrics import RankingReport
from freshet.models.events.events import Article, Recommendation
from freshet.workers.demo.newspaper import Reader
from freshet.workers.demo.story import MOVES_SHOWN, SHOWN, BreakingStory, ClickStory, Effect
from freshet.workers.replay.ranking import RANDOM, SYSTEM
from freshet.workers.replay.report import ScoreReport

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took; ``None`` where it never happened."""

    p50_s: float | None
    p99_s: float | None

    def as_json(self) -> dict[str, object]:
        """The spread as plain JSON values."""
        return {"p50_s": self.p50_s, "p99_s": self.p99_s}


@dataclass(frozen=True, slots=True)
class Streamed:
    """Impressions published as fast as the system accepts them."""

    impressions: int
    seconds: float
    """From the first one published until the last one had changed its reader's vector."""

    @property
    def per_s(self) -> float:
        """Impressions a second."""
        return self.impressions / self.seconds


@dataclass(frozen=True, slots=True)
class Scored:
    """Impressions that the system ranked before it saw their clicks."""

    impressions: int
    per_s: float
    click_to_vector: Spread
    score: ScoreReport
    oracle: RankingReport
    """On the same impressions."""

    @property
    def rankings(self) -> Mapping[str, RankingReport]:
        """By method: freshet, the click-through rate, random order, the oracle."""
        return {**self.score.rankings, ORACLE: self.oracle}

    @property
    def share_of_possible(self) -> float:
        """How far freshet is on the way from random order (0) to the oracle (1), by AUC."""
        random = self.rankings[RANDOM].auc
        return (self.rankings[SYSTEM].auc - random) / (self.oracle.auc - random)


@dataclass(frozen=True, slots=True)
class ReaderStory:
    """A reader, what they read lately, and what they are recommended."""

    reader: Reader
    lately: Sequence[Article]
    """The latest first."""
    recommended: Recommendation


@dataclass(slots=True)
class DemoReport:
    """What came of a demo. Fields are filled as it goes on; a finished one has them all."""

    config: SynthConfig
    folder: Path
    """Of the newspaper."""
    data_dir: Path
    """Of the system."""
    log_file: Path
    phases_s: dict[str, float] = field(default_factory=dict)
    embedded: int = 0
    embedding_s: float = 0.0
    """From publishing the first until the last could be recommended."""
    streamed: Streamed = field(default=Streamed(0, 1.0))
    scored: Scored | None = None
    readers: list[ReaderStory] = field(default_factory=list)
    click: ClickStory | None = None
    breaking: BreakingStory | None = None
    published: int = 0
    published_to_recommendable: Spread = field(default=Spread(None, None))
    """Of so many articles, one after the other; a client's measurement."""
    requests: int = 0
    request: Spread = field(default=Spread(None, None))
    """Of a list of ten, asked for one after the other."""
    memory_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """How long the demo took."""
        return sum(self.phases_s.values())

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        config = self.config
        return {
            "newspaper": {
                "folder": str(self.folder),
                "seed": config.seed,
                "users": config.users,
                "articles": config.articles,
                "impressions": config.impressions,
                "hours": config.hours,
            },
            "data_dir": str(self.data_dir),
            "log_file": str(self.log_file),
            "total_s": self.total_s,
            "phases_s": self.phases_s,
            "embedding": {
                "articles": self.embedded,
                "seconds": self.embedding_s,
            },
            "streamed": {
                "impressions": self.streamed.impressions,
                "seconds": self.streamed.seconds,
                "impressions_per_s": self.streamed.per_s,
            },
            "scored": None if self.scored is None else _scored(self.scored),
            "request": {"questions": self.requests, **self.request.as_json()},
            "readers": [_reader(story) for story in self.readers],
            "click": None if self.click is None else _click(self.click),
            "breaking": None if self.breaking is None else _breaking(self.breaking),
            "published_to_recommendable": {
                "articles": self.published,
                **self.published_to_recommendable.as_json(),
            },
            "memory_bytes": self.memory_bytes,
        }


def _scored(scored: Scored) -> dict[str, object]:
    return {
        "impressions": scored.impressions,
        "impressions_per_s": scored.per_s,
        "unanswered": scored.score.unanswered,
        "degraded": scored.score.degraded,
        "request": Spread(scored.score.latency_p50_s, scored.score.latency_p99_s).as_json(),
        "click_to_vector": scored.click_to_vector.as_json(),
        "share_of_possible": scored.share_of_possible,
        "rankings": dict(scored.rankings),
    }


def _reader(story: ReaderStory) -> dict[str, object]:
    return {
        "user_id": story.reader.user_id,
        "category": story.reader.category,
        "recent_clicks": len(story.reader.clicks),
        "of_category": story.reader.of_category,
        "lately": [article.title for article in story.lately],
        "recommended": _items(story.recommended, SHOWN),
    }


def _click(story: ClickStory) -> dict[str, object]:
    return {
        "user_id": story.reader.user_id,
        "clicked": story.article.model_dump(mode="json", include={"news_id", "title", "category"}),
        **_effect(story.effect),
        "before": _items(story.before, MOVES_SHOWN),
        "after": _items(story.after, MOVES_SHOWN),
        "ranks_before": story.moves()[:MOVES_SHOWN],
    }


def _breaking(story: BreakingStory) -> dict[str, object]:
    return {
        "news_id": story.article.news_id,
        "title": story.article.title,
        "category": story.article.category,
        **_effect(story.effect),
        "ranks": {reader.user_id: rank for reader, rank in story.ranks},
    }


def _effect(effect: Effect) -> dict[str, object]:
    return {"seconds": effect.seconds, "questions": effect.questions}


def _items(answer: Recommendation, count: int) -> list[object]:
    return [item.model_dump(mode="json") for item in answer.items[:count]]
