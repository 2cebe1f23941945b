"""Report of a demo: what was measured and shown, for the screen and for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from freshet.models.datasets.synthetic.world import SynthConfig
from freshet.models.evaluation.ranking_metrics import RankingReport
from freshet.models.events.events import Article, Recommendation
from freshet.workers.demo.newspaper import Reader
from freshet.workers.demo.story import MOVES_SHOWN, SHOWN, BreakingStory, ClickStory
from freshet.workers.replay.ranking import RANDOM, SYSTEM
from freshet.workers.replay.report import ScoreReport

ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of a latency in seconds; ``None`` where nothing was measured."""

    p50_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class Streamed:
    """Impressions published as fast as the system accepts them."""

    impressions: int
    seconds: float
    """Time from publishing the first impression until the last one had changed its reader's vector."""

    @property
    def per_s(self) -> float:
        """Impressions a second."""
        return self.impressions / self.seconds


@dataclass(frozen=True, slots=True)
class Scored:
    """Impressions that the system ranked before it was given their clicks."""

    impressions: int
    per_s: float
    click_to_vector: Spread
    score: ScoreReport
    oracle: RankingReport
    """Metrics of the oracle on the same impressions."""

    @property
    def rankings(self) -> Mapping[str, RankingReport]:
        """Metrics by method: freshet, the click-through rate, random order, the oracle."""
        return {**self.score.rankings, ORACLE: self.oracle}

    @property
    def share_of_possible(self) -> float:
        """Position of freshet's AUC between that of random order (0) and that of the oracle (1)."""
        random = self.rankings[RANDOM].auc
        return (self.rankings[SYSTEM].auc - random) / (self.oracle.auc - random)


@dataclass(frozen=True, slots=True)
class ReaderStory:
    """A reader, what they read recently, and what they are recommended."""

    reader: Reader
    lately: Sequence[Article]
    """Articles read, the latest first."""
    recommended: Recommendation


@dataclass(slots=True)
class DemoReport:
    """Results of a demo, filled in step by step."""

    config: SynthConfig
    folder: Path
    """Folder of the newspaper."""
    data_dir: Path
    """Folder of the system's data."""
    log_file: Path
    phases_s: dict[str, float] = field(default_factory=dict)
    embedded: int = 0
    embedding_s: float = 0.0
    """Time from publishing the first article until the last one could be recommended."""
    streamed: Streamed = Streamed(0, 1.0)
    scored: Scored | None = None
    readers: list[ReaderStory] = field(default_factory=list)
    click: ClickStory | None = None
    breaking: BreakingStory | None = None
    published: int = 0
    published_to_recommendable: Spread = Spread()
    """Latency of ``published`` articles, one after the other, as a client measures it."""
    requests: int = 0
    request: Spread = Spread()
    """Latency of ``requests`` lists of ten articles, one after the other."""
    memory_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Duration of the demo."""
        return sum(self.phases_s.values())

    def as_json(self) -> dict[str, object]:
        """Name what ``--json`` prints."""
        config, streamed = self.config, self.streamed
        sizes = ("seed", "users", "articles", "impressions", "hours")
        return {
            "newspaper": {"folder": self.folder} | {name: getattr(config, name) for name in sizes},
            "data_dir": self.data_dir,
            "log_file": self.log_file,
            "total_s": self.total_s,
            "phases_s": self.phases_s,
            "embedding": {"articles": self.embedded, "seconds": self.embedding_s},
            "streamed": asdict(streamed) | {"impressions_per_s": streamed.per_s},
            "scored": self.scored and _scored(self.scored),
            "request": {"questions": self.requests} | asdict(self.request),
            "readers": [_reader(story) for story in self.readers],
            "click": self.click and _click(self.click),
            "breaking": self.breaking and _breaking(self.breaking),
            "published_to_recommendable": {"articles": self.published}
            | asdict(self.published_to_recommendable),
            "memory_bytes": self.memory_bytes,
        }


def _scored(scored: Scored) -> dict[str, object]:
    return {
        "impressions": scored.impressions,
        "impressions_per_s": scored.per_s,
        "unanswered": scored.score.unanswered,
        "degraded": scored.score.degraded,
        "request": Spread(scored.score.latency_p50_s, scored.score.latency_p99_s),
        "click_to_vector": scored.click_to_vector,
        "share_of_possible": scored.share_of_possible,
        "rankings": scored.rankings,
    }


def _reader(story: ReaderStory) -> dict[str, object]:
    return {
        "user_id": story.reader.user_id,
        "category": story.reader.category,
        "recent_clicks": len(story.reader.clicks),
        "of_category": story.reader.of_category,
        "lately": [article.title for article in story.lately],
        "recommended": story.recommended.items[:SHOWN],
    }


def _click(story: ClickStory) -> dict[str, object]:
    return {
        "user_id": story.reader.user_id,
        "clicked": story.article.model_dump(mode="json", include={"news_id", "title", "category"}),
        **asdict(story.effect),
        "before": story.before.items[:MOVES_SHOWN],
        "after": story.after.items[:MOVES_SHOWN],
        "ranks_before": story.moves()[:MOVES_SHOWN],
    }


def _breaking(story: BreakingStory) -> dict[str, object]:
    return {
        "news_id": story.article.news_id,
        "title": story.article.title,
        "category": story.article.category,
        **asdict(story.effect),
        "ranks": {reader.user_id: rank for reader, rank in story.ranks},
    }
