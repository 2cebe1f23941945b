"""What can go wrong while running freshet's parts on a machine. Each message says what to do about it."""

from __future__ import annotations


class WorkerError(RuntimeError):
    """An expected failure: the command line prints its text, without a traceback, and exits with 1."""


class JavaNotFound(WorkerError):
    """No Java runtime that is new enough for Kafka."""


class JarsUnavailable(WorkerError):
    """Kafka's jars are not here and could not be fetched."""


class BrokerFailed(WorkerError):
    """The local Kafka did not start, or its data folder is in use."""
