"""The two shards of an embedded index: how they are configured, opened and filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    FloatIndexParams,
    HasIdCondition,
    HnswIndexConfig,
    IntegerIndexParams,
    KeywordIndexParams,
    MatchAny,
    MatchValue,
    Memory,
    RangeFloat,
    UpdateOperation,
)

from freshet.models.ports import ArticleFilter
from freshet.streams import qdrant_points

# No links inside each payload value: they make the graph's build longer, and a filter that lets few articles
# through is answered without the graph.
_FIELD_INDEXES: Mapping[str, KeywordIndexParams | FloatIndexParams | IntegerIndexParams] = {
    "keyword": KeywordIndexParams(enable_hnsw=False),
    "float": FloatIndexParams(enable_hnsw=False),
    "bool": IntegerIndexParams(enable_hnsw=False),
}
WITHDRAWN = FieldCondition("withdrawn", match=MatchValue(1))
"""Kept as 0 or 1: qdrant-edge-py 0.9.0 turns a bool to be matched into an int, which matches no bool."""
SEARCHED_FIELDS = ("news_id", "category", "language", "published_at_s", "withdrawn")
"""What the shard of vectors knows of an article."""
_SEARCHED_FIELDS = ("news_id", "category", "language", "published_at_s", "withdrawn")
_NO_VECTORS = {"none": EdgeSparseVectorParams()}
"""Edge wants some vector in its configuration; a point need not have it."""
_NO_VECTORS = {"none": EdgeSparseVectorParams()}
"""Edge wants some vector in its configuration; a point need not have it."""
_NEVER_KB = 1 << 40


@dataclass(frozen=True, slots=True)
class HnswTuning:
    """Qdrant's knobs; the defaults are those that ``freshet bench index`` was tuned with."""

    m: int = 16
    """Edges of a node."""
    ef_construct: int = 100
    """Candidates kept while a node is linked."""
    ef: int = 256
    """Candidates kept while searching."""
    threads: int = 1
    """Of the process that builds the graph."""


def open_listing(path: Path) -> EdgeShard:
    """The shard of payloads, without vectors; never optimized."""
    config = EdgeConfig(
        sparse_vectors=_NO_VECTORS,
        optimizers=EdgeOptimizersConfig(indexing_threshold=_NEVER_KB),
        payload_memory=Memory.Cached,
    )
    return _open(path, config, [*qdrant_points.FIELD_TYPES])


def open_vectors(path: Path, d: int, hnsw: HnswTuning, exact_below: int) -> EdgeShard:
    """The shard of vectors of dimension ``d`` and of the payload fields that a search needs.

    A filter that lets fewer than ``exact_below`` articles through is answered exactly.
    """
    exact_below_kb = max(1, exact_below * d * 4 // 1024)
    config = EdgeConfig(
        vectors=EdgeVectorParams(d, Distance.Dot),
        hnsw_config=HnswIndexConfig(hnsw.m, hnsw.ef_construct, exact_below_kb, hnsw.threads),
        optimizers=EdgeOptimizersConfig(indexing_threshold=1),
        payload_memory=Memory.Cached,
    )
    return _open(path, config, SEARCHED_FIELDS)


def _open(path: Path, config: EdgeConfig, fields: Sequence[str]) -> EdgeShard:
    if (path / "edge_config.json").exists():
        return EdgeShard.load(str(path))
    path.mkdir(exist_ok=True)
    shard = EdgeShard.create(str(path), config)
    for name in fields:
        if name in qdrant_points.FIELD_TYPES:
            shard.update(
                UpdateOperation.create_field_index(name, _FIELD_INDEXES[qdrant_points.FIELD_TYPES[name]])
            )
    shard.flush()
    return shard


def _matches(field: str, *values: str) -> FieldCondition:
    return FieldCondition(field, match=MatchAny([*values]))


def edge_filter(where: ArticleFilter, *also: FieldCondition, hide_withdrawn: bool) -> Filter | None:
    """``where`` and ``also`` as Edge understands them; ``None`` allows everything, which is faster."""
    must: list[FieldCondition] = [*also]
    must_not: list[FieldCondition | HasIdCondition] = []
    if where.categories:
        must.append(_matches("category", *where.categories))
    if where.exclude_categories:
        must_not.append(_matches("category", *where.exclude_categories))
    if where.languages:
        must.append(_matches("language", *where.languages))
    if where.published_after_s is not None or where.published_before_s is not None:
        published = RangeFloat(gte=where.published_after_s, lte=where.published_before_s)
        must.append(FieldCondition("published_at_s", range=published))
    if where.exclude_ids:
        must_not.append(HasIdCondition({qdrant_points.point_id(news_id) for news_id in where.exclude_ids}))
    if hide_withdrawn:
        must_not.append(WITHDRAWN)
    return Filter(must=[*must], must_not=[*must_not]) if must or must_not else None
