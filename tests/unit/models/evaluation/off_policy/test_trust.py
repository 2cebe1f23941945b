"""An estimate is called what it is: to be relied on, with care, or not, and the sentence says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freshet.models.evaluation.off_policy.estimate import OffPolicyEstimate
from freshet.models.evaluation.off_policy.trust import trust
from freshet.models.evaluation.ranking_metrics import Estimate

_VALUE = Estimate(0.5, 0.45, 0.55)
GOOD = OffPolicyEstimate(
    depth=None,
    lists=20_000,
    users=2_000,
    confidence=0.95,
    on_policy=_VALUE,
    ips=_VALUE,
    clipped=_VALUE,
    snips=_VALUE,
    doubly_robust=None,
    gain=_VALUE,
    mean_weight=Estimate(1.0, 0.97, 1.03),
    clip=141.4,
    clipped_slots=0,
    largest_weight=10.0,
    effective_sample_size=8_000.0,
    zero_support=0.0,
    deterministic=0.0,
)


def test_what_is_in_order_is_relied_on_and_says_what_it_assumes() -> None:
    assert trust(GOOD).verdict == "yes"
    assert "depends on the article and its position" in trust(GOOD).reasons[0]
    assert "need no model" in trust(replace(GOOD, depth=1)).reasons[0]


@pytest.mark.parametrize(
    ("changed", "verdict", "why"),
    [
        ({"zero_support": 0.2}, "no", "On 20% of the lists"),
        ({"mean_weight": Estimate(0.7, 0.6, 0.8)}, "no", "about 30% of what the ranker shows"),
        ({"mean_weight": Estimate(1.4, 1.2, 1.6)}, "no", "propensities are too small"),
        ({"effective_sample_size": 40.0}, "no", "no more than 40 lists"),
        ({"effective_sample_size": 400.0}, "with care", "400 lists"),
        ({"users": 12}, "with care", "12 users"),
        ({"mean_weight": Estimate(0.97, 0.95, 0.99)}, "with care", "not quite 1"),
        ({"mean_weight": Estimate(1.095, 1.003, 1.198)}, "with care", "not quite 1"),
        ({"mean_weight": Estimate(0.7, 0.3, 1.1)}, "yes", "Within the interval"),
    ],
)
def test_what_is_wrong_is_told(changed: dict[str, Any], verdict: str, why: str) -> None:
    found = trust(replace(GOOD, **changed))
    assert found.verdict == verdict
    assert any(why in reason for reason in found.reasons)


def test_the_gravest_comes_first() -> None:
    found = trust(replace(GOOD, zero_support=0.2, effective_sample_size=40.0, users=12))
    assert found.verdict == "no"
    assert len(found.reasons) == 2
    assert found.reasons[0].startswith("On 20%")
