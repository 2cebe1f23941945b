"""The two shards of an embedded index: their configuration, opening and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qdrant_edge import (
    AcornSearchParams,
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
    RangeFloat,
    SearchParams,
    UpdateOperation,
)

from freshet.models.ports import EVERYTHING, ArticleFilter
from freshet.streams.index import qdrant_points

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
"""Payload fields that the shard of vectors keeps of an article."""
_NO_VECTORS = {"none": EdgeSparseVectorParams()}
"""Edge wants some vector in its configuration; a point need not have it."""
_NEVER_KB = 1 << 40
_SEARCH_THREADS = 1
"""One segment holds nearly everything, so a pool only adds hand-overs: a search of 100,000 articles takes
0.76 ms (0.78 ms of processor time) with one thread, 0.90 ms (1.42 ms) with Edge's default on two cores."""


@dataclass(frozen=True, slots=True)
class HnswTuning:
    """Qdrant's knobs; the defaults are those that ``freshet bench index`` was tuned with."""

    m: int = 24
    """Edges of a node in the graph."""
    ef_construct: int = 150
    """Candidates kept while a node is linked."""
    ef: int = 512
    """Candidates kept while searching."""
    threads: int = 1
    """Threads of the process that builds the graph."""
    full_scan_kb: int = 12_500
    """Size of vectors up to which all that a filter allows are scored: 50,000 articles of 64
    dimensions, for which that takes 2 to 3 ms. The graph loses what a narrow filter's articles are linked by:
    recall@100 of 50,000 articles is 0.999 where 95 % pass, 0.99 where half do, 0.9 where a fifth does."""


def open_listing(path: Path) -> EdgeShard:
    """The shard of payloads, without vectors; never optimized."""
    config = EdgeConfig(
        sparse_vectors=_NO_VECTORS,
        optimizers=EdgeOptimizersConfig(indexing_threshold=_NEVER_KB),
        max_search_threads=_SEARCH_THREADS,
    )
    return _open(path, config, [*qdrant_points.FIELD_TYPES])


def open_vectors(path: Path, d: int, hnsw: HnswTuning) -> EdgeShard:
    """The shard of lifted vectors of dimension ``d`` and of the payload fields that a search needs."""
    config = EdgeConfig(
        vectors=EdgeVectorParams(d + 1, Distance.Dot),
        hnsw_config=HnswIndexConfig(hnsw.m, hnsw.ef_construct, hnsw.full_scan_kb, hnsw.threads),
        optimizers=EdgeOptimizersConfig(indexing_threshold=1),
        max_search_threads=_SEARCH_THREADS,
    )
    return _open(path, config, SEARCHED_FIELDS)


def search_params(ef: int, where: ArticleFilter) -> SearchParams:
    """Parameters of a walk of the graph; a narrow filter uses ACORN, which passes through filtered nodes."""
    narrow = where != replace(EVERYTHING, exclude_ids=where.exclude_ids)
    return SearchParams(hnsw_ef=ef, acorn=AcornSearchParams(True, 1.0) if narrow else None)


def known_points(shard: EdgeShard, points: Sequence[str]) -> set[str]:
    """Select those of ``points`` that ``shard`` holds: it refuses a payload for any other."""
    return {str(record.id) for record in shard.retrieve([*points], False, False)}


def set_payload(shard: EdgeShard, points: Set[str], payload: dict[str, Any]) -> None:
    """Change the fields of ``payload`` at ``points``, which exist."""
    if points:
        shard.update(UpdateOperation.set_payload([*points], payload))


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
    return shard


def _any_of(field: str, values: Sequence[str]) -> FieldCondition | HasIdCondition:
    return FieldCondition(field, match=MatchAny([*values]))


def _between(field: str, low: float | None, high: float | None) -> FieldCondition | HasIdCondition:
    return FieldCondition(field, range=RangeFloat(gte=low, lte=high))


def _has_id(points: Sequence[str]) -> FieldCondition | HasIdCondition:
    return HasIdCondition({*points})


def edge_filter(where: ArticleFilter, *also: FieldCondition, hide_withdrawn: bool) -> Filter | None:
    """Translate ``where`` and ``also`` for Edge; ``None`` allows everything, which is faster."""
    must, must_not = qdrant_points.conditions(where, _any_of, _between, _has_id)
    if hide_withdrawn:
        must_not.append(WITHDRAWN)
    return Filter(must=[*also, *must], must_not=[*must_not]) if also or must or must_not else None
