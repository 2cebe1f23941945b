"""What can go wrong for a client, as one small tree. Every message says what to do about it."""

from __future__ import annotations


class FreshetError(RuntimeError):
    """Something outside this program does not answer as it must."""


class KafkaUnreachable(FreshetError):
    """No broker answered, or the topic does not exist there."""


class PartitionsDiffer(FreshetError):
    """Topics have another number of partitions than this process is told."""


class PartitionsLost(FreshetError):
    """Others have been given this worker's partitions while it hung, and may have gone on with them."""


class PublishFailed(FreshetError):
    """Kafka did not acknowledge an event; whether it holds the event is then unknown."""


class RecommendationTimeout(FreshetError, TimeoutError):
    """No answer to a request arrived in time; it may still come, and is then ignored."""


class ClientClosed(FreshetError):
    """The client was closed while an answer was awaited, or used after that."""


class PortUnavailable(FreshetError):
    """The port for metrics and probes cannot be listened on."""


class TracingUnavailable(FreshetError):
    """Traces are asked for, and what makes them is not installed."""
