"""What the server's index promises beyond the port: bundles, the alias, and a server that fails."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from qdrant_client import QdrantClient

from freshet.models.ports import IndexedArticle, IndexUnavailable
from freshet.streams.index.server_index import ALIAS, ServerIndex
from tests.waiting import HANG_S

D = 4

pytestmark = [
    # qdrant-client's local mode has neither payload indexes nor search parameters, and says so.
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


class FailingServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server that answers every call with one status, and keeps what it was sent."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self.status = status
        self.calls: list[tuple[str, dict[str, str]]] = []

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        metadata = {item.key: item.value for item in handler_call_details.invocation_metadata}
        self.calls.append((handler_call_details.method, metadata))

        def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(self.status, "as the test wants")
            return b""

        return grpc.unary_unary_rpc_method_handler(fail)


@pytest.fixture
def serve() -> Iterator[Callable[[grpc.StatusCode], tuple[FailingServer, int]]]:
    servers = []

    def start(status: grpc.StatusCode) -> tuple[FailingServer, int]:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        handler = FailingServer(status)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return handler, port

    yield start
    for server in servers:
        server.stop(grace=None).wait()


def test_promotion_moves_the_alias_in_one_step() -> None:
    client = QdrantClient(":memory:")
    first = ServerIndex("local mode", D, bundle="b1", client=client)
    second = ServerIndex("local mode", D + 3, bundle="b2", client=client)
    assert first.promoted() is None
    first.promote()
    assert second.promoted() == first.collection == "articles-b1"
    second.promote()
    second.promote()
    assert first.promoted() == second.collection == "articles-b2"
    second.upsert([IndexedArticle("N1", np.ones(D + 3, np.float32), 0.0)])
    assert client.count(ALIAS).count == 1
    assert first.count() == 0
    second.close()


def test_a_collection_of_another_dimension_is_refused() -> None:
    client = QdrantClient(":memory:")
    ServerIndex("local mode", D, bundle="b1", client=client)
    with pytest.raises(ValueError, match="articles-b1 on local mode holds"):
        ServerIndex("local mode", D + 1, bundle="b1", client=client)


def test_what_was_written_is_there_for_the_next_who_opens_it() -> None:
    client = QdrantClient(":memory:")
    ServerIndex("local mode", D, bundle="b/1", client=client).upsert(
        [IndexedArticle("N1", np.arange(D, dtype=np.float32), 0.0)]
    )
    again = ServerIndex("local mode", D, bundle="b/1", client=client)
    assert again.get(["N1"])["N1"].vector.tolist() == [0.0, 1.0, 2.0, 3.0]
    again.close()
    again.close()
    with pytest.raises(IndexUnavailable, match="closed"):
        again.count()


def test_nobody_listening_is_an_index_that_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(IndexUnavailable, match=f"Qdrant at http://127.0.0.1:{port} could not"):
        ServerIndex(f"http://127.0.0.1:{port}", D, bundle="b1", grpc_port=port, timeout_s=1)


def test_what_fails_in_passing_is_tried_again(
    serve: Callable[[grpc.StatusCode], tuple[FailingServer, int]],
) -> None:
    server, port = serve(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(IndexUnavailable, match=r"attempt 3.*UNAVAILABLE: as the test wants"):
        ServerIndex("http://127.0.0.1", D, bundle="b1", grpc_port=port, attempts=3, timeout_s=HANG_S)
    assert len(server.calls) == 3


def test_a_refusal_is_not_repeated(
    serve: Callable[[grpc.StatusCode], tuple[FailingServer, int]],
) -> None:
    server, port = serve(grpc.StatusCode.UNAUTHENTICATED)
    with (
        pytest.warns(UserWarning, match="insecure connection"),
        pytest.raises(IndexUnavailable, match="UNAUTHENTICATED"),
    ):
        ServerIndex("http://127.0.0.1", D, bundle="b1", grpc_port=port, api_key="secret")
    ((_, metadata),) = server.calls
    assert metadata["api-key"] == "secret"


def test_the_key_never_leaves_in_plain_text_where_the_url_says_https(
    serve: Callable[[grpc.StatusCode], tuple[FailingServer, int]],
) -> None:
    server, port = serve(grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(IndexUnavailable):
        ServerIndex("https://127.0.0.1", D, bundle="b1", grpc_port=port, api_key="secret", timeout_s=1)
    assert server.calls == []
