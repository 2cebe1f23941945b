"""A whole system outlives what runs into its limit within the hour, all of it shortened."""

from __future__ import annotations

import pytest

from freshet.workers.soak.run import SoakOptions, soak

pytestmark = pytest.mark.broker

SECONDS = 75.0
"""Nearly twice the longest of the shortened intervals."""


def test_a_system_outlives_every_interval_in_it() -> None:
    report = soak(SoakOptions(SECONDS, impressions_per_s=10.0, short_intervals=True, embed=False))
    missed = [figure for figure in report.figures if figure.reached is False]
    assert not missed
    requests = next(figure for figure in report.figures if figure.what == "requests")
    assert requests.value > SECONDS
