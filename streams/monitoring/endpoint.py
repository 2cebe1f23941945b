"""HTTP endpoint of a process: metrics, health and readiness.

- ``/metrics``: Prometheus metrics.
- ``/healthz``: 503 with the reason when the process should be restarted, such as when its consumer hangs
  (:mod:`freshet.streams.monitoring.watchdog`); else 200.
- ``/readyz``: 503 until the process has started, when it has been without its partitions for longer than a
  rebalance takes, when it is not healthy, and while the broker has not answered for a while. ``/healthz``
  reports the last with 200: no restart would help. A spare worker, to which the group gives no partitions,
  is ready.

Threads of their own answer probes and Prometheus, so that a busy worker still answers.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from freshet.streams.errors import PortUnavailable
from freshet.streams.monitoring.watchdog import broker_silent_s, unhealthy_reason, unready_reason

_OK = "200 OK"
_UNAVAILABLE = "503 Service Unavailable"
_CLIENT_TIMEOUT_S = 10.0
_UNREADY_S = 10.0
"""Silence of the broker that makes a process unready; an orderly restart is shorter."""

StartResponse = Callable[[str, list[tuple[str, str]]], object]


def serve(
    host: str,
    port: int,
    *,
    ready: Callable[[], bool],
    unhealthy: Callable[[], str | None] = unhealthy_reason,
    unready: Callable[[], str | None] = unready_reason,
    silent_s: Callable[[], float] = broker_silent_s,
) -> None:
    """Serve the three pages at ``http://host:port`` from daemon threads; port 0 serves nothing.

    Args:
        host: Address to listen on, IPv4 or IPv6.
        port: Port to listen on.
        ready: Whether the process has started. Thread-safe, as are the next three.
        unhealthy: Reason to restart the process, or ``None``.
        unready: Reason why a started process cannot work now, or ``None``.
        silent_s: Seconds for which the broker has not answered.

    Raises:
        PortUnavailable: The address cannot be listened on.
    """
    if not port:
        return
    pages = _pages(ready, unhealthy, unready, silent_s)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        server_class = _IPv6Server if family == socket.AF_INET6 else _Server
        server = make_server(host, port, pages, server_class=server_class, handler_class=_Handler)
    except OSError as error:
        raise PortUnavailable(
            f"Metrics and probes cannot be served at {host}, port {port}: {error.strerror or error}. "
            "Choose another with --metrics-port and --metrics-host (FRESHET_METRICS_PORT and "
            "FRESHET_METRICS_HOST); port 0 serves none."
        ) from error
    threading.Thread(target=server.serve_forever, name="endpoint", daemon=True).start()


def _pages(
    ready: Callable[[], bool],
    unhealthy: Callable[[], str | None],
    unready: Callable[[], str | None],
    silent_s: Callable[[], float],
) -> Callable[..., Iterable[bytes]]:
    metrics_page: Callable[..., Iterable[bytes]] = make_wsgi_app()

    def health(wait_until_ready: bool) -> tuple[str, str]:
        reason = unhealthy()
        if reason is not None:
            return _UNAVAILABLE, reason
        if wait_until_ready and not ready():
            return _UNAVAILABLE, "starting"
        if wait_until_ready and (lost := unready()) is not None:
            return _UNAVAILABLE, lost
        silence_s = silent_s()
        if silence_s:
            status = _UNAVAILABLE if wait_until_ready and silence_s >= _UNREADY_S else _OK
            return status, f"Kafka has not answered for {silence_s:.0f} s"
        return _OK, "ok"

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics_page(environ, start_response)
        if path in {"/healthz", "/readyz"}:
            status, text = health(wait_until_ready=path == "/readyz")
        else:
            status, text = "404 Not Found", "here are /metrics, /healthz and /readyz"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [f"{text}\n".encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout: ClassVar[float] = _CLIENT_TIMEOUT_S
    """Time after which a silent client is disconnected, which frees its thread."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: probes come every few seconds."""
