"""Findings of an evaluation of a MIND folder."""

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
"""Method that ranks by the true attraction of a synthetic folder."""

ProtocolName = Literal["prequential", "frozen"]


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of an evaluation, in one process."""

    read_s: float
    """Time to read and parse the folder."""
    texts_s: float
    """Time for the text vectors, encoded or read from the cache, and the article vectors."""
    learn_s: float
    """Time to learn from the impressions of the training period or of the warm-up."""
    evaluate_s: float
    """Time to rank by all methods, measure and learn, over the measured impressions."""
    impressions: int
    """Number of impressions ranked in ``evaluate_s``."""
    model_s: float | None = None
    """Part of ``evaluate_s`` for the bundle: user vectors and scores (frozen protocol)."""
    dot_products_s: float | None = None
    """Time of a plain loop that only computes the dot products of the same impressions."""

    @property
    def impressions_per_s(self) -> float:
        """Impressions per second, with ranking by every method, measuring and learning."""
        return self.impressions / self.evaluate_s if self.evaluate_s else 0.0


@dataclass(frozen=True, slots=True)
class ArticleMap:
    """Projection of a sample of article vectors on their two principal axes."""

    places: NDArray[np.float64]
    """Coordinates, shape (n, 2)."""
    categories: Sequence[str]
    shares: tuple[float, float]
    """Share of the variance of each axis."""
    articles: int
    """Number of articles that the sample was drawn from."""


@dataclass(frozen=True)
class Evaluation:
    """Report of an evaluation."""

    folder: str
    data_sha256: str
    protocol: ProtocolName
    manifest: Manifest | None
    """Manifest of the evaluated bundle; ``None`` if articles are known by id only."""
    impressions: int
    """Number of impressions in the folder."""
    users: int
    articles: int
    unannounced: int
    """Number of articles without a line in ``news.tsv``."""
    without_vector: int | None
    """Number of articles without a vector; ``None`` without a bundle."""
    bad_lines: int
    """Number of skipped lines (``--skip-bad-lines``)."""
    cut: str
    """Text on where the measuring begins, and why."""
    measured: int
    left_out: int
    """Number of impressions without a metric: all candidates clicked, or all skipped."""
    main: str
    """Method that the others are compared with."""
    overall: Mapping[str, Mapping[str, Estimate]]
    """Estimates by method and metric."""
    differences: Mapping[str, Estimate]
    """AUC of the main method less that of each other method, by paired bootstrap."""
    coverage: Mapping[str, float]
    tables: tuple[SegmentTable, ...]
    over_time: SegmentTable
    click_rates: Mapping[str, Sequence[float]]
    """Click-through rate at each rank, the first rank first, by method."""
    slates_at_rank: Sequence[int]
    """Number of slates with a candidate at each rank."""
    space: SpaceReport | None
    speed: Speed
    learner: str | None = None
    """Learning rule of the ranker's weights; ``None`` in the frozen protocol."""
    weights: Mapping[str, float] | None = None
    """Final weights of the ranker, by feature."""
    ablation: tuple[AblatedGroup, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks for interpreting the figures."""
    map: ArticleMap | None = field(default=None, repr=False)
    """Map of the articles, for the HTML report only."""

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of the report, for orjson."""
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
