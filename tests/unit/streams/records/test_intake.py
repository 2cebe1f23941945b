"""What an agent asks of a record before it handles it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from freshet.models.events.events import Click, DeadLetter, EventError
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES
from freshet.streams.kafka.headers import Headers
from freshet.streams.kafka.outbox import Outbox, partition_of
from freshet.streams.kafka.record_batches import UndecodableBatch
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.settings import Settings

_SETTINGS = Settings(topic_prefix="t.", partitions=4, max_clock_skew_s=60.0)
_NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
_CLICK = Click(user_id="U1", news_id="N1", time=_NOW)


class Letters(Outbox):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__(_SETTINGS)
        self.sent: list[tuple[str, int, bytes | None, DeadLetter]] = []
        self.copies: list[tuple[Any, ...]] = []

    def add_record(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        timestamp_ms: int | None = None,
    ) -> None:
        if topic == "t.dead-letters":
            self.sent.append((topic, partition, key, DeadLetter.from_json(value)))
        else:
            self.copies.append((topic, partition, key, value, headers, timestamp_ms))


def _record(value: bytes | None, key: bytes | None = b"U1", partition: int = 2, headers: Headers = ()) -> Any:
    return SimpleNamespace(
        topic="t.clicks",
        partition=partition,
        offset=41,
        key=key,
        value=value,
        headers=headers,
        timestamp=1_772_438_400_123,
    )


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def intake(letters: Letters) -> Intake:
    return Intake(_SETTINGS, letters)


def test_what_the_handler_makes_of_a_record_is_given_back(intake: Intake, letters: Letters) -> None:
    record = _record(_CLICK.to_json())
    assert intake.handle(record, lambda message: keyed(message, Click, "user_id")) == _CLICK
    assert letters.sent == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(EventError("Click: no user"), "Click: no user"), (KeyError("x"), "cannot be handled: KeyError('x')")],
)
def test_whatever_the_handler_raises_becomes_a_letter(
    intake: Intake, letters: Letters, error: Exception, reason: str
) -> None:
    def handler(message: Any) -> None:
        raise error

    assert intake.handle(_record(b"x"), handler) is None
    ((topic, partition, key, letter),) = letters.sent
    assert (topic, partition, key) == ("t.dead-letters", 2, b"U1")
    assert (letter.source, letter.partition, letter.offset) == ("clicks", 2, 41)
    assert letter.reason == reason
    assert letter.value is not None
    assert b64decode(letter.value) == b"x"


def test_a_batch_that_cannot_be_decoded_is_a_letter_that_no_handler_sees(
    intake: Intake, letters: Letters
) -> None:
    value = UndecodableBatch.of(memoryview(b"..."), "the batch of offset 41 cannot be decoded")
    assert intake.handle(_record(value, key=None), lambda _: pytest.fail("it was handled")) is None
    assert letters.sent[0][3].reason == value.reason
    assert letters.sent[0][3].value == b64encode(b"...").decode()


def test_a_letter_of_a_topic_with_more_partitions_has_one_of_its_own(
    intake: Intake, letters: Letters
) -> None:
    intake.dead_letter(_record(b"x", partition=9), "wrong")
    assert letters.sent[0][1] == 1
    assert letters.sent[0][3].partition == 9


def test_of_a_huge_key_only_the_start_is_the_letters(intake: Intake, letters: Letters) -> None:
    intake.dead_letter(_record(b"x", key=b"K" * 1_000_000), "wrong")
    assert letters.sent[0][2] == b"K" * 1_024


def test_no_key_stays_no_key(intake: Intake, letters: Letters) -> None:
    intake.dead_letter(_record(None, key=None), "wrong")
    assert letters.sent[0][2] is None
    assert letters.sent[0][3].key is None


@pytest.mark.parametrize("key", [None, b"", b"U2", b"U1 ", b"\xff", b"U1" * 500_000])
def test_a_key_that_is_not_the_users_is_refused(key: bytes | None) -> None:
    with pytest.raises(EventError, match="must be the user_id 'U1'") as refused:
        keyed(_record(_CLICK.to_json(), key), Click, "user_id")
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        (_NOW + timedelta(seconds=61), "more than 60 s in the future: check the producer's clock"),
        (datetime(1969, 12, 31, 23, 59, tzinfo=UTC), "before 1970"),
        (datetime(1, 1, 1, tzinfo=UTC), "before 1970"),
    ],
)
def test_a_time_that_cannot_be_is_refused(intake: Intake, time: datetime, problem: str) -> None:
    with pytest.raises(EventError, match=problem):
        intake.checked_time_s(time, _NOW.timestamp())


@pytest.mark.parametrize(("ahead_s", "counts_as_s"), [(-1e9, -1e9), (0.0, 0.0), (1e-3, 0.0), (60.0, 0.0)])
def test_other_times_are_given_in_seconds_and_count_at_the_latest_as_now(
    intake: Intake, ahead_s: float, counts_as_s: float
) -> None:
    time = (_NOW + timedelta(seconds=ahead_s)).astimezone(timezone(timedelta(hours=5)))
    assert intake.checked_time_s(time, _NOW.timestamp()) == _NOW.timestamp() + counts_as_s


_HOME = partition_of("U1", _SETTINGS.partitions)
_AWAY = (_HOME + 1) % _SETTINGS.partitions


def _of_user(intake: Intake, record: Any) -> Click | None:
    return intake.handle(record, lambda message: intake.of_user(message, Click))


def test_a_record_on_another_partition_is_forwarded_as_it_is_with_where_it_lay(
    intake: Intake, letters: Letters
) -> None:
    record = _record(_CLICK.to_json(), partition=_AWAY, headers=(("traceparent", b"00-a-b-01"), ("x", None)))
    assert _of_user(intake, record) is None
    assert letters.sent == []
    ((topic, partition, key, value, headers, timestamp_ms),) = letters.copies
    assert (topic, partition, key, value) == ("t.clicks", _HOME, b"U1", record.value)
    assert timestamp_ms == record.timestamp
    origin = f"{_AWAY}/41".encode()
    assert headers == [("traceparent", b"00-a-b-01"), ("x", None), ("freshet-origin", origin)]


def test_a_record_that_is_at_home_is_handled(intake: Intake, letters: Letters) -> None:
    for headers in ((), (("freshet-origin", f"{_AWAY}/41".encode()),)):
        assert _of_user(intake, _record(_CLICK.to_json(), partition=_HOME, headers=headers)) == _CLICK
    assert letters.copies == letters.sent == []


def test_a_copy_is_never_forwarded_again(intake: Intake, letters: Letters) -> None:
    record = _record(_CLICK.to_json(), partition=_AWAY, headers=(("freshet-origin", b"0/7"),))
    assert _of_user(intake, record) is None
    assert letters.copies == []
    assert "FRESHET_PARTITIONS must be the topics' number" in letters.sent[0][3].reason


@pytest.mark.parametrize("origin", [None, b"", b"3", b"3/", b"-1/4", b"3/4/5", b"\xff"])
def test_a_header_of_somebody_elses_making_is_a_letter(
    intake: Intake, letters: Letters, origin: bytes | None
) -> None:
    record = _record(_CLICK.to_json(), partition=_AWAY, headers=(("freshet-origin", origin),))
    assert _of_user(intake, record) is None
    assert letters.copies == []
    assert "freshet-origin is not like 3/1234" in letters.sent[0][3].reason


def test_what_is_not_the_users_is_a_letter_wherever_it_lies(intake: Intake, letters: Letters) -> None:
    assert _of_user(intake, _record(_CLICK.to_json(), key=b"U2", partition=_AWAY)) is None
    assert _of_user(intake, _record(b"{}", partition=_AWAY)) is None
    assert letters.copies == []
    assert len(letters.sent) == 2


def test_a_record_too_large_to_take_a_header_more_is_a_letter(intake: Intake, letters: Letters) -> None:
    record = _record(_CLICK.to_json(), partition=_AWAY, headers=(("x", b"x" * (MAX_REQUEST_BYTES - 500)),))
    assert _of_user(intake, record) is None
    assert letters.copies == []
    assert "partitioner=murmur2_random" in letters.sent[0][3].reason
