"""Errors of running freshet's parts on a machine. Each message says what to do."""

from __future__ import annotations

from freshet.streams.errors import FreshetError


class WorkerError(FreshetError):
    """Failure of a part of freshet that runs on this machine."""


class JavaNotFound(WorkerError):
    """Lack of a Java runtime that is new enough for Kafka."""


class JarsUnavailable(WorkerError):
    """Failure to fetch Kafka's jars, which are not on this machine."""


class BrokerFailed(WorkerError):
    """Failure to start the local Kafka, or a data folder that is in use."""
