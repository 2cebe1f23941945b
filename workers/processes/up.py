"""Everything on one machine: a local Kafka, the stream, the embedding worker, the index, the metrics.

Guarantee: the parts are stopped in the reverse order of their start, on Ctrl-C, on SIGTERM and on any
failure; if this process is killed outright, the broker ends by itself. A broker that dies is started again,
and if that fails, everything stops. With :attr:`UpOptions.exit_with_stdin` everything also stops when the
program that started it ends, in whatever way.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from freshet.streams.agents.app import StreamApp
from freshet.streams.index.bundle_index import index_of
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.monitoring import endpoint
from freshet.streams.settings import Settings
from freshet.workers.processes.bundle_folders import open_bundle, other_serving, serving_of
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.kafka.keeper import KafkaKeeper
from freshet.workers.processes.stream import run_app
from freshet.workers.terminal.connection_options import option_name

if TYPE_CHECKING:
    from freshet.models.ports import ArticleIndex
    from freshet.workers.processes.embedding.models import OpenModels

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_STDIN = 0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Parts to start beside the stream worker."""

    local_kafka: bool = True
    """Whether to start a broker; otherwise the settings name a running one."""
    kafka_port: int = 9_092
    kafka_properties: Mapping[str, str] = field(default_factory=dict)
    """Properties of the broker started here, beside freshet's own or in their place."""
    embed: bool = True
    """Whether to embed articles in this process; otherwise ``freshet embed`` does elsewhere."""
    threads: int | None = None
    """CPU threads of the encoder; by default all cores but one, which answers requests."""
    exit_with_stdin: bool = False
    """Whether to stop when standard input ends: the pipe of a parent that has closed it, or is gone."""


def run_up(settings: Settings, options: UpOptions, report: Callable[[str], None]) -> None:
    """Start everything, pass each step to ``report``, and serve until SIGINT or SIGTERM.

    Raises:
        FreshetError: Something could not be started; the text says what to do.
        Exception: What stopped the system, if no signal did.
    """
    parts: list[Future[None]] = []
    with ExitStack() as stack:
        if options.exit_with_stdin:
            threading.Thread(target=_terminate_with_stdin, name="stdin", daemon=True).start()
        ready = threading.Event()
        endpoint.serve(settings.metrics_host, settings.metrics_port, ready=ready.is_set)
        # Loading torch takes as long as starting Kafka: both at once.
        loading = stack.enter_context(ThreadPoolExecutor(1)).submit(_import_torch, settings, options)
        if options.local_kafka:
            report("starting Kafka (the first time, its jars are fetched) ...")
            kafka = stack.enter_context(
                LocalKafka(settings.data_dir, options.kafka_port, properties=options.kafka_properties)
            )
            settings = settings.model_copy(update={"bootstrap_servers": kafka.bootstrap_servers})
            parts.append(stack.enter_context(KafkaKeeper(kafka)).given_up)
        else:
            wait_for_broker(settings, _CONNECT_TIMEOUT_S)
        report(f"Kafka at {settings.bootstrap_servers}")
        created = ensure_topics(settings)
        report(f"topics {settings.topic_prefix}*: {len(created)} created, {settings.partitions} partitions")
        bundle = open_bundle(settings)
        serving = serving_of(bundle, settings)
        index = index_of(settings, serving.d)
        stack.callback(index.close)
        loading.result()
        models = None
        if options.embed:
            from freshet.workers.processes.embedding.models import open_models

            models = open_models(settings, bundle, options.threads or max(1, (os.cpu_count() or 2) - 1))
            serving = replace(serving, bundle=models.tower.bundle)
            index.open(models.tower.bundle)
            report(f"{models.described}, bundle {models.tower.bundle}")
        where = settings.qdrant_url or f"Qdrant Edge in {settings.data_dir / 'index'}"
        report(f"vectors in {where}")
        replicate = models is None and settings.qdrant_url is None
        find_bundle = partial(other_serving, settings)
        app = StreamApp(settings, index, serving, replicate=replicate, find_bundle=find_bundle)
        if models is not None:
            parts.append(_embed_in_background(settings, models, app.index, stack))

        def on_ready() -> None:
            ready.set()
            report(_ready(settings))
            report(f"be a reader of it: {_console(settings)}")

        run_app(app, on_ready=on_ready, parts=parts)


def _terminate_with_stdin() -> None:
    # Unbuffered: a thread that waits in sys.stdin holds a lock that the interpreter needs at its exit.
    with suppress(OSError):
        while os.read(_STDIN, 1 << 16):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _import_torch(settings: Settings, options: UpOptions) -> None:
    """Import torch early: only when Kafka answers is it known whether the promoted bundle reads text."""
    if options.embed and settings.bundle is None:
        # torch is an extra: it is loaded only where articles are embedded, and without it some bundles are.
        with suppress(ImportError):
            import freshet.models.embedding.text.encoder  # noqa: F401


def _embed_in_background(
    settings: Settings, models: OpenModels, index: ArticleIndex, stack: ExitStack
) -> Future[None]:
    """Run an embedding worker in a thread until ``stack`` unwinds; the future ends with it."""
    from freshet.workers.processes.embedding.process import embedding_watchdog
    from freshet.workers.processes.embedding.worker import EmbeddingWorker

    worker = EmbeddingWorker(settings, models.encoder, models.tower, index)
    done: Future[None] = Future()

    def run() -> None:
        try:
            worker.run()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="embedding", daemon=True)
    stack.callback(thread.join, _STOP_TIMEOUT_S)
    stack.callback(worker.stop)
    thread.start()
    if settings.metrics_port:  # else nobody would hear of it
        stack.enter_context(embedding_watchdog(settings, worker, models.tower.bundle))
    return done


def _ready(settings: Settings) -> str:
    at = f"metrics at http://{settings.metrics_host}:{settings.metrics_port}/metrics"
    return f"freshet is up; {at if settings.metrics_port else 'no metrics'}; Ctrl-C stops it"


def _console(settings: Settings) -> str:
    """Build the command that opens the console on this system, from any shell."""
    fields = ("bootstrap_servers", "topic_prefix", "metrics_host", "metrics_port")
    differing = [name for name in fields if getattr(settings, name) != Settings.model_fields[name].default]
    options = [f"{option_name(name)} {getattr(settings, name)}" for name in differing]
    return " ".join(["freshet console --open", *options])
