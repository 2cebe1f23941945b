"""Runs one embedding worker as a process of its own, until a signal stops it."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import ExitStack, closing
from types import FrameType

from freshet.streams.index.bundle_index import index_of
from freshet.streams.kafka.group_lag import embedding_group
from freshet.streams.kafka.reachability import wait_for_broker
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.monitoring import endpoint
from freshet.streams.monitoring.watchdog import Watchdog
from freshet.streams.settings import Settings
from freshet.workers.processes.bundle_folders import open_bundle
from freshet.workers.processes.embedding.models import open_models
from freshet.workers.processes.embedding.worker import EmbeddingWorker
from freshet.workers.processes.stop_signals import handling_stop_signals

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 30.0
_UNHEALTHY_S = 300.0
"""Time without a commit after which the worker is unhealthy. The articles of one poll are committed together,
and a large encoder on a CPU takes more than a minute for them."""


def run_embedding(settings: Settings, threads: int | None = None) -> None:
    """Embed until SIGINT or SIGTERM; the batch at hand is finished and committed.

    Only a Qdrant server is written to: an embedded index belongs to the process that serves from it.

    Args:
        settings: Addresses, folders, and the bundle or encoder.
        threads: CPU threads of the encoder.

    Raises:
        PortUnavailable: The metrics cannot be served where they should be.
        KafkaUnreachable: No broker answers.
        BundleUnusable: The bundle given or promoted cannot be used.
        EncoderUnusable: There is no such encoder, or it is not the bundle's.
    """
    ready = threading.Event()
    endpoint.serve(settings.metrics_host, settings.metrics_port, ready=ready.is_set)
    wait_for_broker(settings, _CONNECT_TIMEOUT_S)
    ensure_topics(settings)
    models = open_models(settings, open_bundle(settings), threads)
    # Ready even without partitions: there may be more workers than those.
    ready.set()
    with ExitStack() as stack:
        index = None
        if settings.qdrant_url is not None:
            index = stack.enter_context(closing(index_of(settings, models.tower.d, serves=False)))
            index.open(models.tower.bundle)
        worker = EmbeddingWorker(settings, models.encoder, models.tower, index)
        if settings.metrics_port:  # else nobody would hear of it
            stack.enter_context(embedding_watchdog(settings, worker, models.tower.bundle))
        _run_until_signal(worker)


def embedding_watchdog(settings: Settings, worker: EmbeddingWorker, bundle: str) -> Watchdog:
    """Make the watchdog of an embedding worker."""
    groups = dict([embedding_group(settings, bundle)])
    return Watchdog(settings, lambda: groups, worker.owned, member=worker.member, unhealthy_s=_UNHEALTHY_S)


def _run_until_signal(worker: EmbeddingWorker) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        log.info("%s: finishing the batch at hand", signal.Signals(number).name)
        worker.stop()
        # A second one ends the process at once; what was not committed is embedded again later.
        signal.signal(number, signal.SIG_DFL)

    with handling_stop_signals(stop):
        worker.run()
    log.info("stopped")
