"""What a pooling refuses, and how it is told from another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freshet.models.users.pooling import Pooling

HOUR_S = 3_600.0
DAY_S = 86_400.0
POOLING = Pooling(
    d=4,
    half_lives_s=(2 * HOUR_S, 7 * DAY_S),
    negative_half_life_s=DAY_S,
    prior_weight=1.0,
    max_recent_clicks=50,
    max_exposures=200,
    bundle="one",
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("d", 0),
        ("half_lives_s", ()),
        ("half_lives_s", (0.0,)),
        ("half_lives_s", (1.0,) * 16),
        ("negative_half_life_s", float("inf")),
        ("prior_weight", 0.0),
        ("max_exposures", 0),
    ],
)
def test_pooling_refuses_values_out_of_range(field: str, value: object) -> None:
    with pytest.raises(ValueError):
        replace(POOLING, **{field: value})


def test_heads_are_named_by_half_life() -> None:
    pooling = replace(POOLING, half_lives_s=(90.0, 300.0, 2 * HOUR_S, 7 * DAY_S))
    assert pooling.head_names == ("90s", "5m", "2h", "7d", "skips")
    assert pooling.heads == 5


def test_fingerprint_differs_where_the_sums_mean_something_else() -> None:
    same = replace(POOLING, prior_weight=2.0, max_exposures=3, max_recent_clicks=4, max_parked=5)
    assert same.fingerprint == POOLING.fingerprint
    others = [
        replace(POOLING, d=5),
        replace(POOLING, half_lives_s=(HOUR_S,)),
        replace(POOLING, half_lives_s=(2 * HOUR_S,), negative_half_life_s=7 * DAY_S),
        replace(POOLING, negative_half_life_s=HOUR_S),
        replace(POOLING, bundle="two"),
    ]
    assert len({POOLING.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
