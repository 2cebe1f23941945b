"""Article vectors on a Qdrant server, over gRPC.

Guarantees
    - One collection per bundle version, ``articles-<bundle>``, created with its payload indexes where it is
      missing; a collection of another dimension or distance is refused. Its vectors have one coordinate more
      than an article's, 0 in every query (:mod:`freshet.models.articles.inner_product`).
    - The alias ``articles`` names the promoted bundle's collection; :meth:`ServerIndex.promote` moves it
      there in one step, so that whoever reads through it never meets a gap.
    - A write has been applied when the call returns, so that the next read sees it. The trending and the
      newest are at most ``REMEMBERED_S`` behind the writes of other processes.
    - A call that fails transiently (server away, too slow, overloaded) is tried again with growing pauses
      until ``timeout_s`` is spent, then raises :class:`IndexUnavailable`. Every call is idempotent.
    - A search, which somebody waits for, is tried once and given up after ``search_timeout_s``.
    - A server that is back is reached again within some seconds, however long it was away.
    - All methods may be called from several threads.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from freshet.models.ports import ArticleFilter, Hit, IndexedArticle, IndexUnavailable
from freshet.streams.index import qdrant_points
from freshet.streams.index.qdrant_index import QdrantIndex

REMEMBERED_S = 0.25
"""Seconds for which a list of the trending or the newest is given again: two of an answer's three queries."""
ALIAS = "articles"
"""Names the promoted bundle's collection."""

_COLLECTION_PREFIX = f"{ALIAS}-"
_CHUNK = 256
"""Articles in one request."""
_FIRST_PAUSE_S = 0.05
_CHANNEL = {
    # By default up to two minutes pass until a server that is back is connected to again.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.min_reconnect_backoff_ms": 2_000,  # how long an attempt to connect may take, which is 20 s
    # Without, a connection whose other end has vanished, machine and all, is held for a quarter of an hour.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
}
_TRANSIENT_GRPC = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,  # by the server, which knows the time-out and is a moment ahead
}
_TRANSIENT_HTTP = {408, 429, 500, 502, 503, 504}
_SCHEMAS = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
}

Answer = TypeVar("Answer")


class ServerIndex(QdrantIndex):
    """An :class:`~freshet.models.ports.ArticleIndex` on a Qdrant server.

    Args:
        url: ``http://host:6333`` or ``https://host:6333``; https means TLS for gRPC too.
        d: The vectors' dimension.
        bundle: The bundle's version; one collection each.
        grpc_port: Where the server speaks gRPC, on the same host.
        api_key: Sent with every call; use it with https only.
        timeout_s: The most that one attempt may take (qdrant-client rounds it up to whole seconds), and the
            time after which no further attempt is made.
        search_timeout_s: The most that one search may take, and that the list of the trending or the newest
            may; then none of them is tried again. Unset: as all other calls.
        attempts: The most attempts of one call.
        ef: Candidates kept while searching the HNSW graph.
        client: Used instead of connecting to ``url``; closed with the index.

    Raises:
        IndexUnavailable: The server does not answer, or refuses.
        ValueError: The collection holds vectors of another dimension or distance.
    """

    def __init__(
        self,
        url: str,
        d: int,
        *,
        bundle: str,
        grpc_port: int = 6334,
        api_key: str | None = None,
        timeout_s: float = 2.0,
        search_timeout_s: float | None = None,
        attempts: int = 4,
        ef: int = 512,
        client: QdrantClient | None = None,
    ) -> None:
        super().__init__(d, REMEMBERED_S)
        self._where = url
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._search_timeout_s = search_timeout_s
        self._ef = ef
        self._collection = _COLLECTION_PREFIX + qdrant_points.bundle_name(bundle)
        self._client = client or QdrantClient(
            url=url,
            grpc_port=grpc_port,
            prefer_grpc=True,
            api_key=api_key,
            timeout=timeout_s,  # type: ignore[arg-type]  # annotated int, documented and rounded up as a float
            check_compatibility=False,  # it asks over HTTP, whose port may be closed
            grpc_options={**_CHANNEL},  # which qdrant-client adds to
        )
        try:
            self._open_collection()
        except BaseException:
            self.close()
            raise

    @property
    def collection(self) -> str:
        """The name of the bundle's collection."""
        return self._collection

    def count(self) -> int:
        """Count the articles in the index, withdrawn ones included."""
        return self._ask("count", lambda: self._client.count(self._collection, exact=True)).count

    def promote(self) -> None:
        """Point the alias ``articles`` at this bundle's collection, in one step."""
        operations: list[models.AliasOperations] = []
        if self.promoted() is not None:
            operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=ALIAS)))
        operations.append(
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=self._collection, alias_name=ALIAS)
            )
        )
        self._ask("promote", lambda: self._client.update_collection_aliases(operations))

    def promoted(self) -> str | None:
        """The collection that the alias ``articles`` names."""
        aliases = self._ask("read aliases", self._client.get_aliases).aliases
        return next((alias.collection_name for alias in aliases if alias.alias_name == ALIAS), None)

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _upsert(self, articles: Sequence[IndexedArticle]) -> None:
        self._longest = max(self._longest, qdrant_points.longest([article.vector for article in articles]))
        for start in range(0, len(articles), _CHUNK):
            chunk = articles[start : start + _CHUNK]
            points = [
                models.PointStruct(
                    id=qdrant_points.point_id(article.news_id),
                    vector=vector,
                    payload=qdrant_points.payload(article),
                )
                for article, vector in zip(chunk, qdrant_points.vectors(chunk, self._longest), strict=True)
            ]
            self._write("upsert", partial(self._client.upsert, self._collection, points, wait=True))

    def _delete(self, points: Sequence[str]) -> None:
        selector = models.FilterSelector(filter=models.Filter(must=[_has_id(points)]))
        self._write("delete", lambda: self._client.delete(self._collection, selector, wait=True))

    def _set_popularity(self, groups: Mapping[float, Sequence[str]]) -> None:
        operations = [_set_payload({"popularity": value}, points) for value, points in groups.items()]
        self._update("set popularity", operations)

    def _set_withdrawn(self, points: Sequence[str], withdrawn: bool) -> None:
        self._update("withdraw", [_set_payload({"withdrawn": withdrawn}, points)])

    def _search(self, rows: Sequence[list[float]], k: int, where: ArticleFilter) -> list[list[Hit]]:
        asked = [
            models.QueryRequest(
                query=row,
                limit=k,
                filter=_filter(where),
                params=models.SearchParams(hnsw_ef=max(self._ef, k)),
                with_payload=qdrant_points.HIT_FIELDS,
            )
            for row in rows
        ]
        request = messages.QueryBatchPoints(
            collection_name=self._collection,
            query_points=[RestToGrpc.convert_query_request(query, self._collection) for query in asked],
        )
        answers = self._find("search", lambda timeout_s: self._points.QueryBatch(request, timeout=timeout_s))
        return [
            [qdrant_points.hit(_payload(point), point.score) for point in answer.result]
            for answer in answers.result
        ]

    def _get(self, points: Sequence[str]) -> dict[str, IndexedArticle]:
        records = self._ask(
            "get",
            lambda: self._client.retrieve(self._collection, points, with_payload=True, with_vectors=True),
        )
        return {
            record.payload["news_id"]: qdrant_points.article(record.payload, record.vector)
            for record in records
            if record.payload is not None
        }

    def _open_collection(self) -> None:
        if not self._ask("find the collection", lambda: self._client.collection_exists(self._collection)):
            self._create_collection()
        info = self._ask("read the collection", lambda: self._client.get_collection(self._collection))
        vectors = info.config.params.vectors
        if (
            not isinstance(vectors, models.VectorParams)
            or vectors.size != self._d + 1
            or vectors.distance != models.Distance.DOT
        ):
            raise ValueError(
                f"the collection {self._collection} on {self._where} holds {vectors}, not vectors of "
                f"dimension {self._d} + 1 compared by dot product; another model needs another bundle version"
            )
        sample = self._ask(
            "read a sample",
            lambda: self._client.query_points(
                self._collection, limit=_CHUNK, with_vectors=True, with_payload=False
            ),
        )
        self._longest = qdrant_points.longest([point.vector for point in sample.points])
        for name, kind in qdrant_points.FIELD_TYPES.items():
            if name not in info.payload_schema:
                create = partial(
                    self._client.create_payload_index, self._collection, name, _SCHEMAS[kind], wait=True
                )
                self._ask(f"index {name}", create)

    def _create_collection(self) -> None:
        params = models.VectorParams(size=self._d + 1, distance=models.Distance.DOT)
        try:
            self._ask(
                "create the collection", lambda: self._client.create_collection(self._collection, params)
            )
        except IndexUnavailable:
            # Another process may have created it in the meantime.
            if not self._ask("find the collection", lambda: self._client.collection_exists(self._collection)):
                raise

    def _sorted(self, field: str, k: int, where: ArticleFilter) -> list[Hit]:
        if field == "popularity":
            start, also = None, [models.FieldCondition(key=field, range=models.Range(gt=0.0))]
        else:
            start, also = qdrant_points.kept_bounds(where)[1], []
        order = models.OrderBy(key=field, direction=models.Direction.DESC, start_from=start)
        request = messages.ScrollPoints(
            collection_name=self._collection,
            filter=RestToGrpc.convert_filter(_filter(where, *also)),
            limit=k,
            order_by=RestToGrpc.convert_order_by(order),
            with_payload=RestToGrpc.convert_with_payload_interface([*qdrant_points.HIT_FIELDS, field]),
        )
        answer = self._find("sort", lambda timeout_s: self._points.Scroll(request, timeout=timeout_s))
        payloads = map(_payload, answer.result)
        return [qdrant_points.hit(payload, payload[field]) for payload in payloads]

    def _update(self, verb: str, operations: Sequence[models.UpdateOperation]) -> None:
        self._write(verb, lambda: self._client.batch_update_points(self._collection, operations, wait=True))

    def _write(self, verb: str, call: Callable[[], object]) -> None:
        try:
            self._ask(verb, call)
        finally:  # it may have been applied though nobody said so
            self._lists.forget()

    @property
    def _points(self) -> Any:
        # Below qdrant-client's methods: these know timeouts of whole seconds only.
        return self._client.grpc_points

    def _find(self, verb: str, call: Callable[[float], Any]) -> Any:
        """Call ``call`` with the time that a search may take."""
        if self._search_timeout_s is None:
            return self._ask(verb, partial(call, self._timeout_s))
        return self._ask(verb, partial(call, self._search_timeout_s), attempts=1)

    def _ask(self, verb: str, call: Callable[[], Answer], attempts: int | None = None) -> Answer:
        attempts = attempts or self._attempts
        deadline_s = time.monotonic() + self._timeout_s
        for attempt in range(1, attempts + 1):
            if self._closed:
                raise IndexUnavailable(f"Qdrant at {self._where}: the index is closed")
            try:
                return call()
            except (grpc.RpcError, ApiException, ResourceExhaustedResponse) as error:
                # Half to all of a doubling pause, so that many workers do not come back at the same moment.
                pause_s = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                give_up = attempt == attempts or time.monotonic() + pause_s > deadline_s
                if give_up or not _is_transient(error):
                    raise IndexUnavailable(
                        f"Qdrant at {self._where} could not {verb} in {self._collection} "
                        f"(attempt {attempt}): {_reason(error)}"
                    ) from error
                time.sleep(pause_s)
        raise AssertionError("attempts must be at least 1")


def _is_transient(error: Exception) -> bool:
    if isinstance(error, grpc.RpcError):
        return isinstance(error, grpc.Call) and error.code() in _TRANSIENT_GRPC
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_HTTP
    return True


def _payload(point: Any) -> dict[str, Any]:
    return GrpcToRest.convert_payload(point.payload)


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__


def _has_id(points: Sequence[str]) -> models.HasIdCondition:
    return models.HasIdCondition(has_id=[*points])


def _set_payload(payload: dict[str, float | bool], points: Sequence[str]) -> models.SetPayloadOperation:
    # Chosen by a filter, because a server refuses the whole operation where one listed point is unknown.
    chosen = models.Filter(must=[_has_id(points)])
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, filter=chosen))


def _any_of(field: str, values: Sequence[str]) -> models.Condition:
    return models.FieldCondition(key=field, match=models.MatchAny(any=[*values]))


def _between(field: str, low: float | None, high: float | None) -> models.Condition:
    return models.FieldCondition(key=field, range=models.Range(gte=low, lte=high))


def _filter(where: ArticleFilter, *also: models.FieldCondition) -> models.Filter:
    must, must_not = qdrant_points.conditions(where, _any_of, _between, _has_id)
    withdrawn = models.FieldCondition(key="withdrawn", match=models.MatchValue(value=True))
    return models.Filter(must=[*also, *must], must_not=[withdrawn, *must_not])
