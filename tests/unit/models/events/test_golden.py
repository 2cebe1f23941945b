"""Golden files of the wire format: what version 1 wrote must be read, and written again byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freshet.models.events.events import Event
from tests.repository import ROOT

V1 = ROOT / "tests" / "golden" / "v1"
EVENTS = Event.__subclasses__()


def golden_file(event: type[Event]) -> Path:
    return V1 / (re.sub(r"(?<!^)(?=[A-Z])", "-", event.__name__).lower() + ".json")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_version_1_is_read_and_written_again_byte_for_byte(event: type[Event]) -> None:
    golden = golden_file(event).read_bytes().removesuffix(b"\n")
    assert event.from_json(golden).to_json() == golden


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_a_golden_file_shows_every_field_of_its_event(event: type[Event]) -> None:
    """Else a field could change unseen. ``candidates`` and filters exclude each other in a request."""
    read = event.from_json(golden_file(event).read_bytes())
    unset = {name for name in event.model_fields if getattr(read, name) is None}
    assert unset <= {"candidates"}


def test_every_event_has_a_golden_file_and_every_golden_file_an_event() -> None:
    assert {path.name for path in V1.iterdir()} == {golden_file(event).name for event in EVENTS}
