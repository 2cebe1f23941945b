"""A dead letter can be made of anything that could not be handled, and published."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.events.events import MAX_EVENT_BYTES, DeadLetter
from freshet.streams.records.dead_letters import dead_letter

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)

anything = st.characters(exclude_categories=())
"""Lone surrogates too, as Python makes of a file name that is not UTF-8."""


@given(st.text(anything), st.text(anything), st.none() | st.binary(), st.none() | st.binary())
def test_whatever_a_record_holds_its_letter_can_be_written_and_read(
    source: str, reason: str, key: bytes | None, value: bytes | None
) -> None:
    letter = dead_letter(source, reason, NOW, partition=3, offset=7, key=key, value=value)
    read = DeadLetter.from_json(letter.to_json())
    assert read == letter
    assert (None if read.key is None else b64decode(read.key)) == key
    assert (None if read.value is None else b64decode(read.value)) == value


def test_the_longest_record_gives_a_letter_that_a_record_can_hold() -> None:
    value = bytes(MAX_EVENT_BYTES)
    letter = dead_letter("s" * 200, "界" * 5_000, NOW, line=1, key=value, value=value)
    assert letter.value_bytes == len(value)
    assert letter.value is not None
    assert len(b64decode(letter.value)) == DeadLetter.MAX_DEAD_VALUE_BYTES
    assert len(letter.reason) == 2_000
    assert len(letter.to_json()) < MAX_EVENT_BYTES


def test_a_long_path_keeps_its_end() -> None:
    assert dead_letter("folder/" * 40 + "behaviors.tsv", "", NOW).source.endswith("behaviors.tsv")


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time"):
        dead_letter("clicks", "", datetime(2026, 3, 2))
