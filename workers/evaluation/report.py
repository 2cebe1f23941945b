"""What an evaluation of a MIND folder found, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from freshet.models.embedding.bundle import Manifest
from freshet.models.evaluation.ablation import AblatedGroup
from freshet.models.evaluation.drift.space import SpaceReport
from freshet.models.evaluation.ranking_metrics import DEFAULT_CONFIDENCE, Estimate
from freshet.models.evaluation.segments import SegmentTable

ORACLE = "oracle"
"""The method that knows what a synthetic folder's clicks were drawn from."""

ProtocolName = Literal["prequential", "frozen"]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an evaluation was, in one process."""

    read_s: float
    """Reading and parsing the folder."""
    texts_s: float
    """Text vectors, encoded or read from the cache, and article vectors."""
    learn_s: float
    """What the training period's impressions, or those of the warm-up, taught."""
    evaluate_s: float
    """Ranking by all methods, measuring and learning, from the first measured impression to the last."""
    impressions: int
    """Evaluated in that time."""
    model_s: float | None = None
    """Of it, the bundle's own part: user vectors and scores (frozen protocol)."""
    dot_products_s: float | None = None
    """A plain loop over the same impressions and tensors that only multiplies."""

    @property
    def impressions_per_s(self) -> float:
        """All of it: ranking by every method, measuring, learning."""
        return self.impressions / self.evaluate_s if self.evaluate_s else 0.0


@dataclass(frozen=True, slots=True)
class ArticleMap:
    """Article vectors on their two principal axes, of a sample."""

    places: NDArray[np.float64]
    """Shape (n, 2)."""
    categories: Sequence[str]
    shares: tuple[float, float]
    """Of the variance, by axis."""
    articles: int
    """From which the sample was drawn."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is reported."""

    folder: str
    data_sha256: str
    protocol: ProtocolName
    manifest: Manifest | None
    """Of the bundle that ranked; ``None``: by ids alone."""
    impressions: int
    """Of the folder."""
    users: int
    articles: int
    unannounced: int
    """Articles without a line in ``news.tsv``."""
    without_vector: int | None
    """Articles that the bundle has no vector for; ``None`` without a bundle."""
    bad_lines: int
    """Left out (``--skip-bad-lines``)."""
    cut: str
    """Where the measuring begins, and why."""
    measured: int
    left_out: int
    """Impressions whose candidates are all clicked or all skipped."""
    main: str
    """The method that the others are compared with."""
    overall: Mapping[str, Mapping[str, Estimate]]
    """By method and metric."""
    differences: Mapping[str, Estimate]
    """Of the main method's AUC, to each other method's."""
    coverage: Mapping[str, float]
    tables: tuple[SegmentTable, ...]
    over_time: SegmentTable
    click_rates: Mapping[str, Sequence[float]]
    """By method, of the candidates at each rank, the best first."""
    slates_at_rank: Sequence[int]
    """How many slates those rest on."""
    space: SpaceReport | None
    speed: Speed
    learner: str | None = None
    """How the ranker's weights were learned; ``None`` in the frozen protocol."""
    weights: Mapping[str, float] | None = None
    """Of the ranker at the end, by feature."""
    ablation: tuple[AblatedGroup, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know to read the figures."""
    map: ArticleMap | None = field(default=None, repr=False)
    """For the HTML report only."""

    def as_json(self) -> dict[str, object]:
        """The report for orjson, which writes the dataclasses in it."""
        return {
            "folder": self.folder,
            "data_sha256": self.data_sha256,
            "protocol": self.protocol,
            "bundle": None if self.manifest is None else self.manifest.id,
            "model": None if self.manifest is None else self.manifest.model,
            "impressions": self.impressions,
            "users": self.users,
            "articles": self.articles,
            "articles_without_news_row": self.unannounced,
            "articles_without_vector": self.without_vector,
            "bad_lines": self.bad_lines,
            "cut": self.cut,
            "measured": self.measured,
            "left_out": self.left_out,
            "confidence": DEFAULT_CONFIDENCE,
            "main": self.main,
            "methods": self.overall,
            "auc_differences": self.differences,
            "coverage@5": self.coverage,
            "segments": self.tables,
            "over_time": self.over_time,
            "click_rate_by_rank": self.click_rates,
            "slates_by_rank": self.slates_at_rank,
            "space": self.space,
            "speed": {**asdict(self.speed), "impressions_per_s": self.speed.impressions_per_s},
            "learner": self.learner,
            "weights": self.weights,
            "ablation": self.ablation,
            "notes": self.notes,
        }
