"""Runs one Faust worker until a signal stops it, or until it cannot go on."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import ExitStack, closing
from functools import partial

from mode.utils.tracebacks import format_task_stack

from freshet.streams import metrics
from freshet.streams.agents.app import StreamApp
from freshet.streams.index.bundle_index import index_of
from freshet.streams.kafka.group_lag import embedding_group, stream_group
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.monitoring import endpoint
from freshet.streams.monitoring.watchdog import Watchdog
from freshet.streams.settings import Settings
from freshet.streams.state.serving import NO_BUNDLE
from freshet.workers.processes.bundle_folders import open_bundle, other_serving, serving_of
from freshet.workers.processes.stop_signals import STOP_TIMEOUT_S, handling_stop_signals

log = logging.getLogger(__name__)

_STOPS_WITHIN_S = STOP_TIMEOUT_S / 2
"""Time after which a stop most likely hangs, and will be ended by force."""


def run_stream(settings: Settings, on_ready: Callable[[], None] | None = None) -> None:
    """Run a stream worker in a process of its own, until SIGINT or SIGTERM.

    Raises:
        PortUnavailable: The metrics cannot be served where they should be.
        BundleUnusable: The bundle given or promoted cannot be used.
        Exception: What stopped the worker, if no signal did.
    """
    ready = threading.Event()
    endpoint.serve(settings.metrics_host, settings.metrics_port, ready=ready.is_set)
    ensure_topics(settings)
    serving = serving_of(open_bundle(settings), settings)
    index = index_of(settings, serving.d)
    # A server's index is filled by the embedding workers; an embedded one is this worker's own.
    app = StreamApp(
        settings,
        index,
        serving,
        replicate=settings.qdrant_url is None,
        find_bundle=partial(other_serving, settings),
    )

    def now_ready() -> None:
        ready.set()
        if on_ready is not None:
            on_ready()

    with closing(index):
        run_app(app, on_ready=now_ready)


def run_app(
    app: StreamApp, on_ready: Callable[[], None] | None = None, parts: Collection[Future[None]] = ()
) -> None:
    """Run ``app`` in this thread, the main one, until SIGINT, SIGTERM or a failure, with a watchdog.

    Args:
        app: The worker.
        on_ready: Called when the worker answers requests.
        parts: Other parts of the system in this process; the failure of one stops the worker.

    Raises:
        Exception: What stopped the worker, if no signal did.
    """
    started_s = time.monotonic()
    metrics.CATCHING_UP_SECONDS.set_function(
        lambda: 0.0 if app.follower.caught_up.is_set() else time.monotonic() - started_s
    )
    with ExitStack() as stack:
        if app.settings.metrics_port:  # else nobody would hear of it
            stack.enter_context(
                Watchdog(
                    app.settings,
                    partial(_groups, app),
                    app.progress.owned,
                    app.followed,
                    member=app.member,
                )
            )
        asyncio.run(_serve(app, on_ready, parts))


def _groups(app: StreamApp) -> dict[str, list[str]]:
    """List the groups whose lag is watched: the stream workers', and that which embeds for their bundle."""
    groups = dict([stream_group(app.settings)])
    bundle = app.states.pooling.bundle
    if bundle != NO_BUNDLE:
        groups |= [embedding_group(app.settings, bundle)]
    return groups


async def _serve(
    app: StreamApp, on_ready: Callable[[], None] | None, parts: Collection[Future[None]]
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    with handling_stop_signals(lambda number, frame: loop.call_soon_threadsafe(stopped.set)):
        waiting = asyncio.create_task(stopped.wait())
        starting = asyncio.create_task(app.start())
        failing = asyncio.create_task(_first_failure(parts))
        try:
            await asyncio.wait({waiting, starting, failing}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                _collect_seldom()
                if on_ready is not None and app.failure is None:
                    on_ready()
                crashed = asyncio.create_task(app.crashed())
                await asyncio.wait({waiting, crashed, failing}, return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
            if failing.done() and not waiting.done():
                await app.fail(failing.result())
        finally:
            waiting.cancel()
            starting.cancel()
            failing.cancel()
            log.info("stopping")
            late = loop.call_later(_STOPS_WITHIN_S, _say_what_runs)
            await app.stop()
            late.cancel()
    if app.failure is not None:
        raise app.failure


def _say_what_runs() -> None:
    stacks = "\n".join(format_task_stack(task) for task in asyncio.all_tasks())
    log.error("not stopped within %.0f s; tasks still waiting:\n%s", _STOPS_WITHIN_S, stacks)


async def _first_failure(parts: Collection[Future[None]]) -> Exception:
    """Wait until one of ``parts`` fails; one that ends without an error was asked to."""
    # Shielded: cancelling this wait must not cancel the parts.
    running = [asyncio.shield(asyncio.wrap_future(part)) for part in parts]
    try:
        await asyncio.gather(*running)
    except Exception as error:
        return error
    never: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    return await never


def _collect_seldom() -> None:
    """Exempt loaded objects from garbage collection, and look for cycles less often.

    Events are many small objects that no cycle holds; each full collection walks through all users' states.
    """
    gc.collect()
    gc.freeze()
    # What the youngest generation may hold bounds how long a collection of it stops all answers: some 3 ms.
    gc.set_threshold(5_000, 50, 100)
