"""A Qdrant server for tests: the calls that the server's index makes, over real gRPC.

Qdrant's server does not come from PyPI, so its Python client's local mode answers behind the client's own
servicers. What a green test does not prove is that Qdrant answers alike: ``tests/contract`` runs on a real
server too, where ``FRESHET_QDRANT_URL`` names one. As a program, which can be stopped, continued and killed,
it is ``python -m tests.qdrant_stand_in PORT FOLDER``: what was written outlives it, and the file ``fault`` in
the folder makes it ``slow`` or has it fail with ``errors``.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
from qdrant_client import QdrantClient
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc.collections_service_pb2_grpc import (
    CollectionsServicer,
    add_CollectionsServicer_to_server,
)
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server

SLOW_S = 0.3
"""How long a call takes that is slow."""


class Points(PointsServicer):  # type: ignore[misc]  # ships no types
    """Reads and writes points."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    def Upsert(self, request: Any, _: Any) -> Any:
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        self._client.upsert(request.collection_name, points)
        return messages.PointsOperationResponse(result=_DONE)

    def Delete(self, request: Any, _: Any) -> Any:
        self._client.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points))
        return messages.PointsOperationResponse(result=_DONE)

    def UpdateBatch(self, request: Any, _: Any) -> Any:
        operations = [
            GrpcToRest.convert_points_update_operation(operation) for operation in request.operations
        ]
        self._client.batch_update_points(request.collection_name, operations)
        return messages.UpdateBatchResponse(result=[_DONE for _ in operations])

    def CreateFieldIndex(self, *_: Any) -> Any:
        return messages.PointsOperationResponse(result=_DONE)

    def QueryBatch(self, request: Any, _: Any) -> Any:
        queries = [GrpcToRest.convert_query_points(query) for query in request.query_points]
        answers = self._client.query_batch_points(request.collection_name, queries)
        return messages.QueryBatchResponse(result=[_batch(answer.points) for answer in answers])

    def Query(self, request: Any, _: Any) -> Any:
        query = GrpcToRest.convert_query_points(request)
        (answer,) = self._client.query_batch_points(request.collection_name, [query])
        return messages.QueryResponse(result=_batch(answer.points).result)

    def Scroll(self, request: Any, _: Any) -> Any:
        records, _next = self._client.scroll(
            request.collection_name,
            scroll_filter=GrpcToRest.convert_filter(request.filter),
            limit=request.limit,
            order_by=GrpcToRest.convert_order_by(request.order_by),
            with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        )
        return messages.ScrollResponse(result=map(RestToGrpc.convert_record, records))

    def Get(self, request: Any, _: Any) -> Any:
        ids = [GrpcToRest.convert_point_id(point) for point in request.ids]
        records = self._client.retrieve(request.collection_name, ids, with_vectors=True)
        return messages.GetResponse(result=map(RestToGrpc.convert_record, records))

    def Count(self, request: Any, _: Any) -> Any:
        return messages.CountResponse(
            result=RestToGrpc.convert_count_result(self._client.count(request.collection_name))
        )


class Collections(CollectionsServicer):  # type: ignore[misc]  # ships no types
    """Creates and describes collections."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    def CollectionExists(self, request: Any, _: Any) -> Any:
        exists = self._client.collection_exists(request.collection_name)
        return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))

    def Create(self, request: Any, _: Any) -> Any:
        params = GrpcToRest.convert_vectors_config(request.vectors_config)
        self._client.create_collection(request.collection_name, params)
        return messages.CollectionOperationResponse(result=True)

    def Get(self, request: Any, _: Any) -> Any:
        info = self._client.get_collection(request.collection_name)
        return messages.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    def List(self, *_: Any) -> Any:
        found = self._client.get_collections().collections
        return messages.ListCollectionsResponse(
            collections=map(RestToGrpc.convert_collection_description, found)
        )

    def UpdateAliases(self, request: Any, _: Any) -> Any:
        operations = [GrpcToRest.convert_alias_operations(operation) for operation in request.actions]
        self._client.update_collection_aliases(operations)
        return messages.CollectionOperationResponse(result=True)

    def ListAliases(self, *_: Any) -> Any:
        found = self._client.get_aliases().aliases
        return messages.ListAliasesResponse(aliases=map(RestToGrpc.convert_alias_description, found))


class InTurn(grpc.ServerInterceptor):  # type: ignore[misc]  # ships no types
    """Handles one call after the other, as the local mode needs it, with the fault of the moment."""

    def __init__(self, fault: Callable[[], str]) -> None:
        self._fault = fault
        self._lock = threading.Lock()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)

        def handle(request: Any, context: Any) -> Any:
            fault = self._fault()
            if fault == "errors":
                context.abort(grpc.StatusCode.INTERNAL, "as the test wants")
            if fault == "slow":
                time.sleep(SLOW_S)
            with self._lock:
                return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            handle, handler.request_deserializer, handler.response_serializer
        )


_DONE = messages.UpdateResult(operation_id=0, status=messages.UpdateStatus.Completed)


def _batch(points: Any) -> Any:
    return messages.BatchResult(result=map(RestToGrpc.convert_scored_point, points))


def serve(client: QdrantClient, port: int = 0, fault: Callable[[], str] = str) -> tuple[grpc.Server, int]:
    """Start to answer from ``client``; gives the server and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), interceptors=[InTurn(fault)])
    add_PointsServicer_to_server(Points(client), server)
    add_CollectionsServicer_to_server(Collections(client), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main(port: int, folder: Path) -> None:
    """Answer until killed."""
    warnings.simplefilter("ignore")
    file = folder / "fault"

    def fault() -> str:
        return file.read_text() if file.exists() else ""

    server, _ = serve(QdrantClient(path=str(folder / "points")), port, fault)
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
