"""What can go wrong while running freshet's parts on a machine. Each message says what to do about it."""

from __future__ import annotations

from freshet.streams.errors import FreshetError


class WorkerError(FreshetError):
    """Something that freshet runs here could not be run."""


class JavaNotFound(WorkerError):
    """No Java runtime that is new enough for Kafka."""


class JarsUnavailable(WorkerError):
    """Kafka's jars are not here and could not be fetched."""


class BrokerFailed(WorkerError):
    """The local Kafka did not start, or its data folder is in use."""
