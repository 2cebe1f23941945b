"""Errors of freshet's processes and clients. Every message says what to do about it."""

from __future__ import annotations


class FreshetError(RuntimeError):
    """Base of all errors whose cause lies outside this program."""


class KafkaUnreachable(FreshetError):
    """No broker answered, or the topic does not exist there."""


class PartitionsDiffer(FreshetError):
    """A topic's number of partitions differs from the settings."""


class PartitionsLost(FreshetError):
    """This worker's partitions were given to others while it hung."""


class PublishFailed(FreshetError):
    """Kafka did not acknowledge an event; whether it holds the event is then unknown."""


class RecommendationTimeout(FreshetError, TimeoutError):
    """No answer to a request arrived in time; a late one is ignored."""


class ClientClosed(FreshetError):
    """The client was closed while an answer was awaited, or used after that."""


class PortUnavailable(FreshetError):
    """The port for metrics and probes cannot be listened on."""


class TracingUnavailable(FreshetError):
    """Traces are enabled, and OpenTelemetry is not installed."""
