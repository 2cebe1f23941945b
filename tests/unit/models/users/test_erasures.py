"""What an erasure covers, whatever order the instructions are read in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.events.control import Control
from freshet.models.events.events import from_unix_s
from freshet.models.ranking.attribution import Attribution, RankedSlate
from freshet.models.users.erasures import Erasures
from freshet.models.users.state import UserState
from freshet.streams.settings import Settings
from freshet.streams.state.push_users import PushUsers
from freshet.streams.state.serving import pooling

_T = from_unix_s(1_767_000_000.25)


def _control(kind: str, after_s: float, user_id: str = "U1") -> Control:
    return Control.model_validate(
        {"kind": kind, "subject": user_id, "time": _T + timedelta(seconds=after_s)}, strict=False
    )


def _read(controls: Iterable[Control]) -> tuple[Erasures, PushUsers]:
    erasures = Erasures()
    push_users = PushUsers(erasures)
    for control in controls:
        erasures.apply(control)
        push_users.apply(control)
    return erasures, push_users


def test_an_erasure_covers_its_users_events_up_to_its_time_and_nobody_elses() -> None:
    erasures, _ = _read([_control("user-erased", 0.0)])
    at_s = _T.timestamp()
    assert erasures.covers("U1", at_s)
    assert erasures.covers("U1", 0.0)
    assert not erasures.covers("U1", at_s + 0.002)
    assert not erasures.covers("U2", 0.0)
    assert erasures.users() == ("U1",)


def test_the_latest_erasure_counts_and_an_older_one_is_none() -> None:
    erasures, _ = _read([_control("user-erased", 5.0)])
    assert not erasures.apply(_control("user-erased", 0.0))
    assert erasures.apply(_control("user-erased", 6.0))
    assert not erasures.apply(_control("push-on", 7.0))
    assert erasures.covers("U1", _T.timestamp() + 6.0)


@pytest.mark.parametrize(
    ("controls", "wanted"),
    [
        ((("push-on", 0.0), ("user-erased", 1.0)), False),
        ((("push-on", 2.0), ("user-erased", 1.0)), True),
        ((("push-on", 2.0), ("user-erased", 1.0), ("user-erased", 3.0)), False),
    ],
)
def test_push_is_off_by_an_erasure_whatever_is_read_first(
    controls: tuple[tuple[str, float], ...], wanted: bool
) -> None:
    for order in permutations([_control(kind, after_s) for kind, after_s in controls]):
        assert ("U1" in _read(order)[1]) == wanted
    assert 1 not in _read([])[1]


def test_push_is_as_said_last() -> None:
    assert "U1" in _read([_control("push-off", 0.0), _control("push-on", 1.0)])[1]
    assert "U1" not in _read([_control("push-on", 0.0), _control("push-off", 1.0)])[1]


def test_a_state_says_after_which_erasure_it_began_also_when_stored() -> None:
    pool = pooling(Settings(dimension=4))
    catalog = ArticleCatalog(4)
    erasures, _ = _read([_control("user-erased", 0.0)])
    before = UserState.empty(pool)
    before.apply_click(("clicks", 0, 0), 1.0, "N1", catalog, impression_known=False)
    assert erasures.covers_state("U1", before)
    assert not erasures.covers_state("U2", before)
    after = UserState.empty(pool, erasures.latest_ms("U1"))
    assert after.is_blank
    assert not after.seed_history(_T.timestamp(), ["N1"], catalog), "a history may be of before"
    assert after.apply_click(("clicks", 0, 1), _T.timestamp() + 1.0, "N2", catalog, impression_known=False)
    stored = UserState.from_bytes(after.to_bytes(), pool)
    assert not stored.is_blank
    assert not erasures.covers_state("U1", stored)
    assert stored.recent_clicks() == [("N2", _T.timestamp() + 1.0)]
    erasures.apply(_control("user-erased", 9.0))
    assert erasures.covers_state("U1", stored)


def test_attribution_forgets_one_users_slates_and_no_others() -> None:
    attribution = Attribution(1_800.0)
    slate = RankedSlate(("N1", "N2"), np.zeros((2, 3), np.float32), np.zeros(2))
    for user in ("U1", "U10"):
        attribution.answered(f"{user} R", 0.0, slate)
        attribution.shown(f"{user} I", 1.0, ["N1", "N2"], (), request_id=f"{user} R")
        attribution.clicked(2.0, "N9", request_id=f"{user} other")
    attribution.forget("U1 ")
    assert attribution.clicked(3.0, "N1", impression_id="U1 I") is None
    assert attribution.clicked(3.0, "N1", impression_id="U10 I") is not None
    assert attribution.shown("U1 J", 4.0, ["N1"], (), request_id="U1 R") is None
    assert attribution.shown("U10 J", 4.0, ["N1"], (), request_id="U10 R") is not None
