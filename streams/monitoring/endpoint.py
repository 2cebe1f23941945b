"""What a process serves over HTTP: its metrics, whether it is healthy, whether it is ready.

- ``/metrics``: Prometheus' metrics.
- ``/healthz``: 200 while nothing is known against the process; 503 with the reason when it should be
  restarted, as one whose consumer hangs (:mod:`freshet.streams.monitoring.watchdog`).
- ``/readyz``: 503 until the process has read what it needs and can do its work, when it has been without its
  partitions for longer than sharing them out takes, when it is not healthy, and while the broker has not
  answered for a while; ``/healthz`` says so too, with 200: no restart would help. A spare worker, to which
  the group gives no partitions, is ready.

Probes and Prometheus are answered from threads of their own, so that a busy worker still answers.
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
"""A broker that is restarted in an orderly way hands its partitions over sooner."""

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
        host: The address to listen on, IPv4 or IPv6.
        port: The port.
        ready: Whether the process can do its work; from any thread.
        unhealthy: Why it should be restarted, or ``None``; from any thread.
        unready: Why it can do no work now though it is :attr:`ready`, or ``None``; from any thread.
        silent_s: For how long the broker has not answered; from any thread.

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
    """A client that connects and says nothing holds its thread no longer."""

    def log_message(self, format: str, *args: object) -> None:
        """A probe every few seconds is no news."""
