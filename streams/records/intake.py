"""What every agent does with a record before it is handled, or instead: checks, counts, traces, buries.

Guarantee: a record that cannot be handled becomes a dead letter with its topic, partition, offset and reason,
in the same flush that lets its offset be committed. So nothing stops, and nothing is lost. What is logged
meanwhile names the record; keys are in the dead letter and never in the log, because they are users' ids.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from freshet.models.events.events import Event, EventError, to_unix_s
from freshet.streams import metrics
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, topic_name
from freshet.streams.kafka.forwarding import REMEDY, Elsewhere, origin_header, origin_of
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.record_batches import UndecodableBatch
from freshet.streams.records.dead_letters import dead_letter
from freshet.streams.records.log_context import HANDLED
from freshet.streams.records.tracing import RecordTraces
from freshet.streams.settings import Settings

log = logging.getLogger(__name__)

_MAX_DEAD_KEY_BYTES = 1_024
"""Of a dead letter's record key: a bad record may be all key, and the letter beside it must fit a request."""
_MAX_LOGGED_CHARS = 1_000
_ROOM_BYTES = 4_096
"""What a copy's headers may take more than its original's."""

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class WrongKey(EventError):
    """A record's key is not what its event says; the text quotes both, :attr:`loggable` neither."""

    def __init__(self, event: str, field: str, key: bytes | None, subject: str) -> None:
        super().__init__(f"{event}: the record's key is {key!r}, it must be the {field} {subject!r}")
        self.loggable = f"{event}: the record's key is not its {field}"


class Intake:
    """Turns records into events, and the rest into dead letters.

    Args:
        settings: The topics' names, and limits.
        outbox: Takes the dead letters.
        service: The process' name in traces, for an agent that says when its records are done.
    """

    def __init__(self, settings: Settings, outbox: Outbox, service: str | None = None) -> None:
        self.traces = RecordTraces(settings, service)
        self._settings = settings
        self._outbox = outbox
        self._dead = topic_name(settings, topics.DEAD_LETTERS.name)
        self._told_elsewhere: set[str] = set()
        """Topics of which the log says already that records lie elsewhere."""

    def handle(self, message: Any, handler: Callable[[Any], T]) -> T | None:
        """Give ``message`` to ``handler``.

        Returns:
            What the handler makes of it. ``None`` where the handler refuses it or fails, which makes a dead
            letter, and where it belongs elsewhere, to where it is forwarded.
        """
        metrics.EVENTS.labels(message.topic).inc()
        trace = self.traces.begin(message)
        before = HANDLED.set((message, None, trace))
        try:
            if isinstance(message.value, UndecodableBatch):
                metrics.UNDECODABLE_BATCHES.labels(message.topic).inc()
                raise EventError(message.value.reason)
            return handler(message)
        except Elsewhere as error:
            self._forward(message, error.partition)
        except WrongKey as error:
            self.bury(message, str(error), error.loggable)
        except EventError as error:
            self.bury(message, str(error))
        except Exception as error:
            log.exception("%s[%d]@%d", message.topic, message.partition, message.offset)
            self.bury(message, f"cannot be handled: {error!r}")
        finally:
            HANDLED.reset(before)
        return None

    def bury(self, message: Any, reason: str, loggable: str | None = None) -> None:
        """Add the record's dead letter to the outbox.

        Args:
            message: What cannot be handled.
            reason: Why, for the letter.
            loggable: Why, for the log and the trace, where ``reason`` names a user.
        """
        letter = dead_letter(
            message.topic.removeprefix(self._settings.topic_prefix),
            reason,
            datetime.now(UTC),
            partition=message.partition,
            offset=message.offset,
            key=message.key,
            value=message.value,
        )
        partition = message.partition % self._settings.partitions
        key = None if message.key is None else message.key[:_MAX_DEAD_KEY_BYTES]
        self._outbox.add(self._dead, partition, key, letter.to_json(), self.traces.headers(message))
        metrics.DEAD_LETTERS.labels(message.topic).inc()
        why = (loggable or reason)[:_MAX_LOGGED_CHARS]
        log.warning("dead letter %s[%d]@%d: %s", message.topic, message.partition, message.offset, why)
        trace = self.traces.of(message)
        if trace is not None:
            trace.fail(why)

    def keyed(self, message: Any, event: type[E], field: str) -> E:
        """Decode ``message`` and check that its key is the event's ``field``.

        The key decides the partition, so a wrong one would meet another worker's state.

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

    def of_user(self, message: Any, event: type[E]) -> E:
        """As :meth:`keyed`, by the user, on whose partition the record must lie.

        Raises:
            EventError: The value is not the event.
            WrongKey: The key is not the user.
            Elsewhere: The user's state lies in another partition, and the record is not a copy already.
        """
        decoded = self.keyed(message, event, "user_id")
        partition = partition_of(message.key.decode(), self._settings.partitions)
        if partition != message.partition:
            origin = origin_of(message)
            if origin is not None:
                raise EventError(
                    f"{event.__name__}: forwarded from partition {origin[0]} to {message.partition}, and of "
                    f"{self._settings.partitions} partitions its user's is {partition}: FRESHET_PARTITIONS "
                    "must be the topics' number of partitions, the same for all workers"
                )
            raise Elsewhere(partition)
        return decoded

    def _forward(self, message: Any, partition: int) -> None:
        """Add a copy of the record, for the partition of its user, to the outbox."""
        ours = [*self.traces.headers(message), origin_header(message)]
        names = {name for name, _ in ours}
        headers = [*((name, value) for name, value in message.headers if name not in names), *ours]
        size = len(message.key) + len(message.value)
        size += sum(len(name.encode()) + len(value or b"") for name, value in headers)
        if size > MAX_REQUEST_BYTES - _ROOM_BYTES:
            where = f"lies on partition {message.partition} and not on {partition}"
            self.bury(message, f"{where}, and is too large to be forwarded: {REMEDY}")
            return
        self._outbox.add(
            message.topic, partition, message.key, message.value, headers, timestamp_ms=message.timestamp
        )
        metrics.FORWARDED.labels(message.topic).inc()
        if message.topic not in self._told_elsewhere:
            self._told_elsewhere.add(message.topic)
            log.warning(
                "%s has records on other partitions than murmur2 gives their users; forwarding them costs "
                "time: %s",
                message.topic,
                REMEDY,
            )

    def checked_time_s(self, time: datetime, now_s: float) -> float:
        """Event time in Unix seconds; what is ahead of ``now_s`` counts as now.

        A sum that decays must never stand at a time that is yet to come: all that happens until then would
        count for as little as what is old.

        Raises:
            EventError: It is further ahead of ``now_s`` than clocks may differ, or before 1970.
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
