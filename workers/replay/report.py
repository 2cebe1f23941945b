"""Options, progress and report of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from freshet.models.evaluation.ranking_metrics import RankingReport
from freshet.workers.errors import WorkerError


class ReplayError(WorkerError):
    """The replay cannot begin or go on."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Options of a replay.

    Raises:
        ReplayError: Two options exclude each other, or one is out of range.
    """

    speed: float | None = None
    """Times real time; ``None``: as fast as the stream accepts."""
    score: bool = False
    """Ask the live system to rank each impression before its clicks are revealed."""
    shift_to_now: bool = False
    """Move all times so that the first event replayed happens now; by default they stay those of the log."""
    articles: Literal["first", "in-time"] | None = None
    """Publish all articles before the first impression, or each at its own time; ``None``: ``first`` at full
    speed, else ``in-time``."""
    wait_for_vectors: bool = True
    """Reveal no impression before the articles published so far have vectors."""
    vectors_timeout_s: float = 120.0
    """Go on without the missing vectors when no new one has come for this long."""
    window: int = 4
    """Impressions scored at the same time, from the request to the reveal of the clicks; with ``score``."""
    answer_timeout_s: float = 30.0
    max_lag: int = 20_000
    """Impressions published but not yet read by the stream, at most; 0: no bound."""
    lag_timeout_s: float = 60.0
    """Give up when the stream has read nothing for this long while the lag is at its bound."""
    skip: int = 0
    """Leave out this many impressions at the log's beginning."""
    limit: int | None = None
    """Replay at most this many."""
    resume: bool = False
    """Go on where the last replay of the same folder stopped; by default start again."""

    def __post_init__(self) -> None:
        if self.speed is not None and not 0 < self.speed < float("inf"):
            raise ReplayError(f"the speed must be above 0, got {self.speed}")
        if self.skip and self.resume:
            raise ReplayError("--skip and --resume exclude each other: both say where to begin")
        if self.window < 1 or self.max_lag < 0 or self.skip < 0 or (self.limit or 0) < 0:
            raise ReplayError("window must be at least 1; lag, skip and limit at least 0")

    @property
    def articles_first(self) -> bool:
        """Whether all articles are published before the first impression."""
        return self.articles == "first" or (self.articles is None and self.speed is None)


Stage = Literal["reading", "articles", "vectors", "impressions"]


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """Progress of a replay."""

    stage: Stage
    done: int
    total: int
    time_s: float | None = None
    """The replay's clock: the event time reached, Unix seconds."""


@dataclass(slots=True)
class Published:
    """Counts of what was published."""

    articles: int = 0
    impressions: int = 0
    clicks: int = 0
    bad_lines: int = 0
    """Lines that went to ``dead-letters``, with file and line number."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Ranking metrics of the live system, which ranked each impression before its clicks were published."""

    asked: int
    unanswered: int
    """Impressions without a usable answer in time; left out of every ranking below."""
    degraded: int
    """Answers given without the index."""
    latency_p50_s: float | None
    latency_p99_s: float | None
    """Seconds from handing the request to Kafka to reading its answer, under the replay's own load."""
    rankings: Mapping[str, RankingReport]
    """Metrics by method (``freshet``, ``click-through rate``, ``random``), over all impressions."""
    rankings_last: Mapping[str, RankingReport]
    """Metrics by method over the last 80 % in time."""

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            "asked": self.asked,
            "unanswered": self.unanswered,
            "degraded": self.degraded,
            "latency_p50_s": self.latency_p50_s,
            "latency_p99_s": self.latency_p99_s,
            "all": dict(self.rankings),
            "last_80_percent": dict(self.rankings_last),
        }


@dataclass(slots=True)
class ReplayReport:
    """Outcome of a replay."""

    folder: str
    started_at: int
    """Impressions (lines in the order of time) left out or published earlier, when this replay began."""
    resumed: bool
    reached: int = 0
    """The position in time that the replay reached; resuming begins here."""
    total: int = 0
    """Impressions in the folder."""
    published: Published = field(default_factory=Published)
    cut_texts: int = 0
    """Articles with a text cut to what an event may hold."""
    broken_entities: int = 0
    """Articles published without entities, because that column was missing or broken."""
    articles_without_vector: int | None = None
    """Articles without a vector when the first impression was revealed; ``None`` if they were not counted."""
    peak_lag: int | None = None
    """The largest lag measured; ``None``: not measured."""
    impressions_s: float = 0.0
    """Seconds that publishing the impressions took."""
    stopped: bool = False
    """Whether Ctrl-C stopped it before its end."""
    score: ScoreReport | None = None

    @property
    def impressions_per_s(self) -> float:
        """Impressions published per second, from the first to the last."""
        return self.published.impressions / self.impressions_s if self.impressions_s else 0.0

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(replace(self, score=None)) | {
            "impressions_per_s": self.impressions_per_s,
            "score": self.score.as_json() if self.score else None,
        }
