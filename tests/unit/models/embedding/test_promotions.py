"""Promotions and rollbacks come to one bundle in service, whatever order they are read in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.embedding.promotions import UNTRAINED, before, promoted, served
from freshet.models.events.events import Control

_START = datetime(2026, 3, 2, tzinfo=UTC)


def records(*steps: str) -> list[Control]:
    """``A`` promotes A, ``<A`` rolls back to A; an hour apart."""
    return [
        Control(
            kind="bundle-promoted",
            subject=step.removeprefix("<"),
            time=_START + timedelta(hours=hour),
            rollback=step.startswith("<") or None,
        )
        for hour, step in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("steps", "stack", "earlier"),
    [
        ((), (), None),
        (("A",), ("A",), UNTRAINED),
        (("A", "B"), ("A", "B"), "A"),
        (("A", "B", "C", "<B"), ("A", "B"), "A"),
        (("A", "B", "C", "<B", "<A", "<untrained"), (), None),
        (("A", "B", "A"), ("A", "B", "A"), "B"),
        (("A", "A"), ("A",), UNTRAINED),
        (("A", UNTRAINED), ("A", UNTRAINED), "A"),
        (("A", "B", "<C"), ("A", "C"), "A"),
        (("<A",), ("A",), UNTRAINED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_rollback_takes_the_latest_promotion_away(
    steps: tuple[str, ...], stack: tuple[str, ...], earlier: str | None
) -> None:
    assert promoted(records(*steps)) == stack
    assert before(stack) == earlier
    assert served(stack) == (stack[-1] if stack else UNTRAINED)


@given(st.permutations(records("A", "B", "C", "<B", "D")))
def test_the_order_of_reading_and_repetitions_change_nothing(read: list[Control]) -> None:
    other = Control(kind="user-erased", subject="D", time=_START + timedelta(days=9))
    assert promoted([*read, other, *read]) == ("A", "B", "D")
