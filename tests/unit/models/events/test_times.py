"""The one parser of times reads what a text says, or refuses it; it guesses nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.datasets.mind import format_time
from freshet.models.datasets.mind import parse_time as parse_mind_time
from freshet.models.events.events import Click, EventError
from freshet.models.events.times import END_S, checked_unix_s, parse_time

TIMELIKE = st.from_regex(
    r"[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}([T_ ][0-9]{1,2}(:[0-9]{1,2}){0,2}([.,][0-9]{1,10})?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    fullmatch=True,
)
MINDLIKE = st.from_regex(
    r"[01]?[0-9]/[0-3]?[0-9]/[0-9]{1,5} [0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2})?( [AP]M)?", fullmatch=True
)
NUMBERS = st.integers(-(10**18), 10**18).map(str) | st.floats().map(str)
WRITTEN = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-02T08:00:05Z", datetime(2026, 3, 2, 8, 0, 5, tzinfo=UTC)),
        ("2026-03-02t08:00:05.25z", datetime(2026, 3, 2, 8, 0, 5, 250_000, tzinfo=UTC)),
        ("2026-03-02 08:00+0130", datetime(2026, 3, 2, 6, 30, tzinfo=UTC)),
        ("2026-03-01T23:00:05.123456789-09:00", datetime(2026, 3, 2, 8, 0, 5, 123_456, tzinfo=UTC)),
    ],
)
def test_a_time_with_an_offset_is_read(text: str, time: datetime) -> None:
    assert parse_time(text) == time
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "now", "20260302080005", "20260302", "1772438405", "1772438405000", "1.5e9", "-1", "2026-03-02",
     "2026-03-02T08:00:05", "26-03-02T08:00:05Z", "0026-03-02T08:00:05Z", "2026-02-30T08:00:05Z",
     "2026-03-02T24:00:05Z", "2026-03-02T08:00:05Z\n", "2026-W10-1T08:00:05Z", "٢٠٢٦-03-02T08:00:05Z"],
)  # fmt: skip
def test_what_would_have_to_be_guessed_is_refused_here_and_on_the_wire(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        try:
            parse_time(text)
        except ValueError as error:
            raise ValueError(f"must: {error}") from error
    with pytest.raises(EventError, match="time"):
        Click.from_json(json.dumps({"user_id": "U1", "news_id": "N1", "time": text}).encode())


def test_an_option_may_leave_the_offset_or_the_time_of_day_out() -> None:
    assert parse_time("2026-03-02T08:00", default_zone=UTC) == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert parse_time("2026-03-02", default_zone=UTC) == datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="must be a time like"):
        parse_time("20260302", default_zone=UTC)


@given(TIMELIKE | NUMBERS | st.text())
def test_a_text_is_refused_or_read_as_the_date_and_time_that_stand_in_it(text: str) -> None:
    try:
        time = parse_time(text, default_zone=UTC)
    except ValueError:
        return
    assert parse_time(time.isoformat()) == time
    offset = re.search(r"([+-])(\d\d):?(\d\d)$", text[10:])
    sign = -1 if offset and offset[1] == "-" else 1
    ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3])) if offset else timedelta()
    # Without a time zone, because an offset may lead out of the calendar.
    written = time.replace(tzinfo=None) + sign * ahead
    numbers = [int(number) for number in re.findall(r"\d+", text)][:6]
    assert list(written.timetuple()[: min(len(numbers), 5)]) == numbers[:5]


@given(TIMELIKE | NUMBERS | st.text())
def test_the_wire_reads_what_the_parser_reads(text: str) -> None:
    value = json.dumps({"user_id": "U1", "news_id": "N1", "time": text}).encode()
    try:
        expected = parse_time(text)
    except ValueError:
        with pytest.raises(EventError, match="time"):
            Click.from_json(value)
    else:
        assert Click.from_json(value).time == expected


@given(WRITTEN)
def test_a_time_written_is_the_time_read(time: datetime) -> None:
    assert parse_time(time.isoformat()) == time
    assert Click.from_json(Click(user_id="U1", news_id="N1", time=time).to_json()).time == time


@given(MINDLIKE | NUMBERS | st.text())
def test_a_time_of_mind_is_refused_or_written_as_it_was_read(text: str) -> None:
    try:
        time_s = parse_mind_time(text)
    except ValueError:
        return
    assert 0 <= time_s < END_S

    def numbers(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)]

    assert numbers(format_time(time_s)) == numbers(text)
    assert format_time(time_s)[-2:] == text[-2:]


@pytest.mark.parametrize("seconds", [-1.0, END_S, 874_965_758_000.0, float("nan"), float("inf")])
def test_unix_seconds_of_no_file_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="between 1970 and 2100"):
        checked_unix_s(seconds)
