"""Intake of records: decoding, checks, counts and traces; dead letters for what cannot be handled.

Guarantee: a record that cannot be handled becomes a dead letter with its topic, partition, offset and reason,
in the same flush that lets its offset be committed. So nothing stops, and nothing is lost. Log lines name
the record by its place; keys appear only in the dead letter, because they are users' ids.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from freshet.models.events.events import Event, EventError, to_unix_s
from freshet.streams import metrics
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, topic_name
from freshet.streams.kafka.forwarding import REMEDY, Elsewhere, origin_header, origin_of
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.record_batches import UndecodableBatch
from freshet.streams.records.dead_letters import dead_record, report_dead_letter
from freshet.streams.records.log_context import HANDLED
from freshet.streams.records.tracing import RecordTraces
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

_ROOM_BYTES = 4_096
"""Room for the headers that a forwarded copy adds."""

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class WrongKey(EventError):
    """Error of a record whose key differs from its event's; only :attr:`loggable` quotes no user."""

    def __init__(self, event: str, field: str, key: bytes | None, subject: str) -> None:
        super().__init__(f"{event}: the record's key is {key!r}, it must be the {field} {subject!r}")
        self.loggable = f"{event}: the record's key is not its {field}"


class Intake:
    """Turns records into events, or into dead letters.

    Args:
        settings: Topic names and limits.
        outbox: Receives dead letters and forwarded records.
        service: The process' name in traces; ``None``: records are not traced.
    """

    def __init__(self, settings: Settings, outbox: Outbox, service: str | None = None) -> None:
        self.traces = RecordTraces(settings, service)
        self._settings = settings
        self._outbox = outbox
        self._dead = topic_name(settings, topics.DEAD_LETTERS.name)
        self._warned: set[str] = set()
        """Topics whose misplaced records have been logged."""

    def handle(self, message: Any, handler: Callable[[Any], T]) -> T | None:
        """Pass ``message`` to ``handler``.

        Returns:
            The handler's result; ``None`` if the record became a dead letter or was forwarded to another
            partition.
        """
        metrics.EVENTS.labels(message.topic).inc()
        trace = self.traces.begin(message)
        before = HANDLED.set((message, None, trace))
        try:
            if isinstance(message.value, UndecodableBatch):
                raise undecodable(message)
            return handler(message)
        except Elsewhere as error:
            self._forward(message, error.partition)
        except WrongKey as error:
            self.dead_letter(message, str(error), error.loggable)
        except EventError as error:
            self.dead_letter(message, str(error))
        except Exception as error:
            log.exception("%s[%d]@%d", message.topic, message.partition, message.offset)
            self.dead_letter(message, f"cannot be handled: {error!r}")
        finally:
            HANDLED.reset(before)
        return None

    def dead_letter(self, message: Any, reason: str, loggable: str | None = None) -> None:
        """Add the record's dead letter to the outbox.

        Args:
            message: The record that cannot be handled.
            reason: The reason, for the letter.
            loggable: The reason, for the log and the trace, where ``reason`` names a user.
        """
        key, value = dead_record(message, reason, self._settings.topic_prefix)
        partition = message.partition % self._settings.partitions
        self._outbox.add_record(self._dead, partition, key, value, self.traces.headers(message))
        report_dead_letter(message, loggable or reason, self.traces.of(message))

    def of_user(self, message: Any, event: type[E]) -> E:
        """Decode ``message`` and check that its key is the user and its partition is the user's.

        Raises:
            EventError: The value is not the event.
            WrongKey: The key is not the user.
            Elsewhere: The user's state lies in another partition, and the record was not forwarded before.
        """
        decoded = keyed(message, event, "user_id")
        partition = partition_of(message.key.decode(), self._settings.partitions)
        if partition != message.partition:
            origin = origin_of(message)
            if origin is not None:
                raise EventError(
                    f"{event.__name__}: forwarded from partition {origin[0]} to {message.partition}, but of "
                    f"{self._settings.partitions} partitions its user's is {partition}: FRESHET_PARTITIONS "
                    "must be the topics' number of partitions, the same for all workers"
                )
            raise Elsewhere(partition)
        return decoded

    def _forward(self, message: Any, partition: int) -> None:
        """Add a copy of the record to the outbox, for the partition of its user."""
        ours = [*self.traces.headers(message), origin_header(message)]
        names = {name for name, _ in ours}
        headers = [*((name, value) for name, value in message.headers if name not in names), *ours]
        size = len(message.key) + len(message.value)
        size += sum(len(name.encode()) + len(value or b"") for name, value in headers)
        if size > MAX_REQUEST_BYTES - _ROOM_BYTES:
            where = f"lies on partition {message.partition} and not on {partition}"
            self.dead_letter(message, f"{where}, and is too large to be forwarded: {REMEDY}")
            return
        self._outbox.add_record(
            message.topic, partition, message.key, message.value, headers, timestamp_ms=message.timestamp
        )
        metrics.FORWARDED.labels(message.topic).inc()
        if message.topic not in self._warned:
            self._warned.add(message.topic)
            log.warning(
                "%s has records that are not on the partition of their user's murmur2 hash; forwarding them "
                "costs time: %s",
                message.topic,
                REMEDY,
            )

    def checked_time_s(self, time: datetime, now_s: float) -> float:
        """Event time in Unix seconds, at most ``now_s``.

        A decayed sum must never be dated in the future: everything until then would count as little as old
        events.

        Raises:
            EventError: The time is further ahead of ``now_s`` than clocks may differ, or before 1970.
        """
        time_s = to_unix_s(time)
        if time_s < 0.0:
            raise EventError(f"time {time.isoformat()} is before 1970: check the producer's clock")
        if time_s > now_s + self._settings.max_clock_skew_s:
            raise EventError(
                f"time {time.isoformat()} is more than {self._settings.max_clock_skew_s:g} s in the future: "
                "check the producer's clock"
            )
        return min(time_s, now_s)


def keyed(message: Any, event: type[E], field: str) -> E:
    """Decode ``message`` and check that its key is the event's ``field``.

    The key decides the partition, so a wrong one would meet another worker's state, and compaction would keep
    the wrong record.

    Raises:
        EventError: The value is not the event.
        WrongKey: The key is not the field.
    """
    decoded = event.from_json(message.value)
    subject: str = getattr(decoded, field)
    if message.key != subject.encode():
        key = None if message.key is None else message.key[:128]
        raise WrongKey(event.__name__, field, key, subject)
    return decoded


def undecodable(message: Any) -> EventError:
    """Count a batch of records that could not be decoded; the error to raise for it."""
    metrics.UNDECODABLE_BATCHES.labels(message.topic).inc()
    return EventError(message.value.reason)
