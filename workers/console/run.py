"""Runs the console until it is stopped: the page's server, and the reader of the stream behind it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from aiohttp import web

from freshet.streams.settings import Settings
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.desk import Desk
from freshet.workers.console.feed import StreamFeed
from freshet.workers.console.guard import LOOPBACK_NAMES
from freshet.workers.console.memory import StreamMemory
from freshet.workers.console.pulse import Pulse
from freshet.workers.console.server import Console, console_app
from freshet.workers.errors import WorkerError
from freshet.workers.processes.stop_signals import handling_stop_signals

_SHUTDOWN_S = 3.0


class ConsoleNotServed(WorkerError):
    """Failure to listen on the console's address."""


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Address of the page, and the processes whose metrics it shows."""

    host: str = "127.0.0.1"
    port: int = 0
    """Port to listen on; 0 takes a free one."""
    allowed_hosts: Sequence[str] = ()
    """Host names accepted besides loopback's and ``host``."""
    metrics_urls: Sequence[str] = ()


def run_console(settings: Settings, options: ConsoleOptions, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``on_ready`` is called with the page's address.

    Kafka and the workers need not be running: the page says what is missing, and connects when it starts.

    Raises:
        ConsoleNotServed: The address cannot be listened on.
    """
    asyncio.run(_serve(settings, options, on_ready))


async def _serve(settings: Settings, options: ConsoleOptions, on_ready: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    memory, clock = StreamMemory(), StreamClock()
    desk = Desk(settings, memory, clock)
    with ExitStack() as stack:
        told = handling_stop_signals(lambda number, frame: loop.call_soon_threadsafe(stopped.set))
        stack.enter_context(told)
        listening = stack.enter_context(_listening(options))
        feed = stack.enter_context(StreamFeed(settings, memory, clock))
        pulse = Pulse(options.metrics_urls, settings)
        described = f"{settings.topic_prefix}* at {settings.bootstrap_servers}"
        console = Console(memory, feed, clock, desk, pulse, described)
        names = {*LOOPBACK_NAMES, options.host, *options.allowed_hosts}
        runner = web.AppRunner(console_app(console, names), access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            on_ready(_url(options.host, listening.getsockname()[1]))
            await stopped.wait()
        finally:
            await runner.cleanup()


def _listening(options: ConsoleOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise ConsoleNotServed(
            f"{options.host}:{options.port} cannot be listened on ({error.strerror or error}). "
            "Is another console running? Choose another --port; without one, a free port is taken."
        ) from error
    return listening


def _url(host: str, port: int) -> str:
    """Return the address that a browser on this machine can open."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}/"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}/" if address.version == 4 else f"http://[::1]:{port}/"  # noqa: PLR2004 - IPv4
    return f"http://[{host}]:{port}/" if address.version == 6 else f"http://{host}:{port}/"  # noqa: PLR2004 - IPv6
