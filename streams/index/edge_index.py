"""Article vectors in Qdrant Edge: in this process, on this disk, found by dot product.

Guarantees
    - Every write is in Edge's write-ahead log before the call returns: a killed process loses none, a power
      cut what came after the last flush.
    - One folder per bundle, opened by one process at a time, for one dimension. Anything else is refused.
    - A search is exact until ``index_from_articles`` articles wait to be indexed; then HNSW finds them.
    - All methods may be called from several threads.

Two shards per bundle, because a payload update moves its point out of the HNSW graph (Qdrant changes points
in appendable segments only): ``listing`` holds payloads, its popularity changes hundreds of times a second
and it is never rebuilt; ``vectors`` holds vectors and what searches filter by, and changes with its articles.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from qdrant_edge import (
    CountRequest,
    Direction,
    EdgeShard,
    FieldCondition,
    Filter,
    OrderBy,
    Point,
    Query,
    QueryBatchRequest,
    QueryRequest,
    RangeFloat,
    ScrollRequest,
    UpdateOperation,
)

from freshet.models.ports import ArticleFilter, Hit, IndexedArticle, IndexUnavailable
from freshet.streams.index import qdrant_points
from freshet.streams.index.edge_folder import EdgeFolder
from freshet.streams.index.edge_optimizer import Optimization, OptimizationError, copy_points
from freshet.streams.index.edge_shards import (
    SEARCHED_FIELDS,
    WITHDRAWN,
    HnswTuning,
    edge_filter,
    known_points,
    open_listing,
    open_vectors,
    search_params,
    set_payload,
)
from freshet.streams.index.point_names import PointNames
from freshet.streams.index.qdrant_index import QdrantIndex

POPULARITY_FLUSH_S = 15.0
"""Short, because what is not flushed is replayed at the next start: 500 changes every 0.3 s add up."""

_CHUNK = 500
_TICK_S = 0.2
_RETRY_S = 60.0
_log = logging.getLogger(__name__)


class EdgeIndex(QdrantIndex):
    """An :class:`~freshet.models.ports.ArticleIndex` on Qdrant Edge.

    Args:
        path: The folder of all bundles' indexes.
        d: The vectors' dimension.
        bundle: The bundle's version; one folder each.
        flush_interval_s: How much of the changed vectors a power cut can take; of popularities it takes
            ``POPULARITY_FLUSH_S`` at most. A flush stalls every thread of this process: 0.4 s for 100,000
            vectors, 0.01 s for popularities.
        index_from_articles: How many unindexed articles are worth a rebuild of the graph.
        hnsw: The graph's parameters; they apply to folders not yet created.

    Raises:
        IndexUnavailable: Another process has the folder open, or Edge cannot read it.
        ValueError: The folder holds vectors of another dimension.
    """

    def __init__(
        self,
        path: Path,
        d: int,
        *,
        bundle: str,
        flush_interval_s: float = 300.0,
        index_from_articles: int = 20_000,
        hnsw: HnswTuning | None = None,
    ) -> None:
        super().__init__(d)
        self._hnsw = hnsw or HnswTuning()
        self._flush_interval_s = {"listing": POPULARITY_FLUSH_S, "vectors": flush_interval_s}
        self.index_from_articles = index_from_articles
        self._lock = threading.RLock()
        self._folder = EdgeFolder(path, bundle, d)
        try:
            with self._asking():
                self._listing = open_listing(self._folder.listing)
                self._vectors = open_vectors(self._folder.vectors, d, self._hnsw)
                info = self._vectors.info()
                sample, _ = self._vectors.scroll(ScrollRequest(limit=_CHUNK, with_vector=True))
                self._longest = qdrant_points.longest([record.vector for record in sample])
                hidden = CountRequest(filter=Filter(must=[WITHDRAWN]))
                self._any_withdrawn = self._listing.count(hidden) > 0
        except BaseException:
            self._folder.close()
            raise
        self._unindexed_at_start = max(0, info.points_count - info.indexed_vectors_count)
        self._changed: set[str] = set()
        """Points of ``vectors`` changed since the graph was last built, or since its build began."""
        self._indexing: set[str] = set()
        """Points changed before the build that now runs, and so part of it."""
        self._dirty = {"listing": False, "vectors": False}
        self._flushed_at = dict.fromkeys(self._dirty, time.monotonic())
        self._optimization: Optimization | None = None
        self._optimize_from = time.monotonic()
        self._asked = 0
        """Calls of :meth:`optimize` so far."""
        self._building_for = 0
        """Calls that the running build answers, or the last one did."""
        self._answered = 0
        self._failure: Exception | None = None
        """Why the last build failed."""
        self._names = PointNames(self._look_up)
        self._progress = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="edge-index-keeper", daemon=True)
        self._keeper.start()

    def count(self) -> int:
        """Count the articles in the index, withdrawn ones included."""
        with self._asking():
            return self._listing.count(CountRequest())

    def unindexed(self) -> int:
        """Estimate how many articles a search scores one by one, beside those that the graph finds."""
        with self._lock:
            return self._unindexed_at_start + len(self._indexing) + len(self._changed)

    def optimize(self, timeout_s: float) -> None:
        """Build the graph over what is unindexed now, however little, and wait for it.

        Nobody has to call this: a background thread does once ``index_from_articles`` are waiting.

        Raises:
            IndexUnavailable: It failed, took longer than ``timeout_s``, or the index is closed.
        """
        with self._progress:
            self._optimize_from = time.monotonic()
            self._asked += 1
            call = self._asked
            self._wake.set()
            if not self._progress.wait_for(lambda: self._closed or self._answered >= call, timeout_s):
                raise IndexUnavailable(f"the index was not optimized within {timeout_s:g} s")
            if self._closed:
                raise IndexUnavailable("the index was closed while it was being optimized")
            if self._failure is not None:
                raise IndexUnavailable(f"the index could not be optimized: {self._failure}")

    def flush(self) -> None:
        """Write everything to disk, so that a power cut takes nothing of it."""
        for name in self._dirty:
            self._flush(name)

    def close(self) -> None:
        """Flush and let go; the folder can be opened again. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lists.forget()
            self._progress.notify_all()
        self._wake.set()
        self._keeper.join()
        with self._lock:
            try:
                self.flush()
            finally:
                self._listing.close()
                self._vectors.close()
                self._folder.close()

    def _upsert(self, articles: Sequence[IndexedArticle]) -> None:
        for start in range(0, len(articles), _CHUNK):
            chunk = articles[start : start + _CHUNK]
            points = qdrant_points.point_ids(article.news_id for article in chunk)
            payloads = [
                qdrant_points.payload(article) | {"withdrawn": int(article.withdrawn)} for article in chunk
            ]
            with self._writing("vectors", "listing"):
                self._longest = max(self._longest, qdrant_points.longest([one.vector for one in chunk]))
                vectors = [
                    Point(point, vector, {name: payload[name] for name in SEARCHED_FIELDS})
                    for point, vector, payload in zip(
                        points, qdrant_points.vectors(chunk, self._longest), payloads, strict=True
                    )
                ]
                listing = [Point(point, {}, payload) for point, payload in zip(points, payloads, strict=True)]
                self._any_withdrawn |= any(article.withdrawn for article in chunk)
                self._changed.update(points)
                self._vectors.update(UpdateOperation.upsert_points(vectors))
                self._listing.update(UpdateOperation.upsert_points(listing))

    def _delete(self, points: Sequence[str]) -> None:
        with self._writing("vectors", "listing"):
            self._changed.update(points)
            for shard in (self._listing, self._vectors):
                shard.update(UpdateOperation.delete_points([*points]))

    def _set_popularity(self, groups: Mapping[float, Sequence[str]]) -> None:
        with self._writing("listing"):
            known = known_points(self._listing, [point for points in groups.values() for point in points])
            for value, points in groups.items():
                set_payload(self._listing, known.intersection(points), {"popularity": value})

    def _set_withdrawn(self, points: Sequence[str], withdrawn: bool) -> None:
        with self._writing("vectors", "listing"):
            known = known_points(self._listing, points)
            self._any_withdrawn |= withdrawn and bool(known)
            self._changed.update(known)
            for shard in (self._vectors, self._listing):
                set_payload(shard, known, {"withdrawn": int(withdrawn)})

    def _search(self, rows: Sequence[list[float]], k: int, where: ArticleFilter) -> list[list[Hit]]:
        with self._asking():
            asked = [
                QueryRequest(
                    limit=k,
                    query=Query.Nearest(row),
                    filter=edge_filter(where, hide_withdrawn=self._any_withdrawn),
                    params=search_params(max(self._hnsw.ef, k), where),
                )
                for row in rows
            ]
            found = self._vectors.query_batch(QueryBatchRequest(asked))
            names = iter(self._names.of([_uuid(point.id) for points in found for point in points]))
        # An article deleted since it was found has no name any more.
        return [
            [Hit(news_id, point.score) for point in points if (news_id := next(names)) is not None]
            for points in found
        ]

    def _get(self, points: Sequence[str]) -> dict[str, IndexedArticle]:
        with self._asking():
            held = self._vectors.retrieve([*points], False, True)
            payloads = self._listing.retrieve([*points], True, False)
        vectors = {record.id: record.vector for record in held}
        return {
            record.payload["news_id"]: qdrant_points.article(record.payload, vectors[record.id])
            for record in payloads
            if record.payload is not None and record.id in vectors
        }

    def _look_up(self, points: Sequence[UUID]) -> dict[UUID, str]:
        records = self._vectors.retrieve([*points], qdrant_points.HIT_FIELDS, False)
        return {
            _uuid(record.id): record.payload["news_id"] for record in records if record.payload is not None
        }

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the plain ``Exception`` that Qdrant Edge raises (closed shard, full disk) into our own."""
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexUnavailable):
            raise
        except Exception as error:
            raise IndexUnavailable(f"Qdrant Edge at {self._folder.vectors.parent}: {error}") from error

    @contextmanager
    def _writing(self, *shards: str) -> Iterator[None]:
        with self._lock, self._asking():
            if self._closed:
                raise IndexUnavailable(f"the index at {self._folder.vectors.parent} is closed")
            self._dirty.update(dict.fromkeys(shards, True))
            try:
                yield
            finally:
                if "listing" in shards:
                    self._lists.forget()

    def _sorted(self, field: str, k: int, where: ArticleFilter) -> list[Hit]:
        if field == "popularity":
            start, also = None, [FieldCondition(field, range=RangeFloat(gt=0.0))]
        else:
            # Without start_from, Edge walks through everything newer first: 9 ms, not 0.4 ms, of 100,000.
            start, also = qdrant_points.kept_bounds(where)[1], []
        with self._asking():
            records, _ = self._listing.scroll(
                ScrollRequest(
                    limit=k,
                    filter=edge_filter(where, *also, hide_withdrawn=self._any_withdrawn),
                    order_by=OrderBy(field, Direction.Desc, start),
                    with_payload=qdrant_points.HIT_FIELDS,
                )
            )
        return [qdrant_points.hit(record.payload, float(record.order_value or 0)) for record in records]

    def _flush(self, name: str) -> None:
        with self._lock, self._asking():
            self._flushed_at[name] = time.monotonic()
            if self._dirty[name]:
                (self._listing if name == "listing" else self._vectors).flush()
                self._dirty[name] = False

    def _keep(self) -> None:
        """Flush, start rebuilds of the graph and adopt them, in the background thread."""
        while True:
            self._wake.wait(_TICK_S)
            self._wake.clear()
            if self._closed:
                if self._optimization is not None:
                    self._optimization.cancel()
                return
            try:
                for name, interval_s in self._flush_interval_s.items():
                    if time.monotonic() - self._flushed_at[name] >= interval_s:
                        self._flush(name)
                self._advance_optimization()
            except (IndexUnavailable, OptimizationError, OSError):
                _log.exception("the embedded index could not flush or optimize; retrying in %g s", _RETRY_S)
                self._optimize_from = time.monotonic() + _RETRY_S

    def _advance_optimization(self) -> None:
        if self._optimization is not None:
            try:
                if self._optimization.finished():
                    self._adopt()
            except Exception as error:
                self._end_optimization(self._indexing | self._changed, error)
                raise
            return
        wanted = self._asked > self._answered or self.unindexed() >= self.index_from_articles
        if not wanted or time.monotonic() < self._optimize_from:
            return
        self._folder.remove_stale()
        with self._lock:
            self._optimization = Optimization(self._folder.vectors, self._folder.next_vectors)
            self._indexing, self._changed = self._changed, set()
            self._building_for = self._asked

    def _adopt(self) -> None:
        """Bring the optimized copy up to date, chunk by chunk between other writers, and search in it."""
        with self._asking():
            optimized = EdgeShard.load(str(self._folder.next_vectors))
            caught_up: set[str] = set()
            while True:
                with self._lock:
                    todo = [*self._changed][:_CHUNK]
                    copy_points(todo, self._vectors, optimized)
                    self._changed.difference_update(todo)
                    caught_up.update(todo)
                    if self._changed:
                        continue
                    optimized.flush()
                    self._folder.promote_next()
                    # The old shard goes with its last reader, its files with the next rebuild.
                    self._vectors = optimized
                    self._unindexed_at_start = 0
                    self._end_optimization(caught_up)
                    return

    def _end_optimization(self, unindexed: set[str], failure: Exception | None = None) -> None:
        with self._progress:
            self._optimization = None
            self._indexing, self._changed = set(), unindexed
            self._answered, self._failure = self._building_for, failure
            self._progress.notify_all()


def _uuid(point: object) -> UUID:
    if not isinstance(point, UUID):
        raise ValueError(f"the point {point!r} was not written by freshet: its id is no UUID")
    return point
