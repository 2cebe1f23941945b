"""Names of points are looked up once, in any number, and never another's."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from freshet.streams.index import point_names
from freshet.streams.index.point_names import PointNames


class Points:
    """The points 0, 1, ... named N0, N1, ..., and which of them were looked up."""

    def __init__(self, count: int) -> None:
        self.ids = [UUID(int=number) for number in range(count)]
        self.gone: set[UUID] = set()
        self.looked_up: list[int] = []

    def __call__(self, points: Sequence[UUID]) -> dict[UUID, str]:
        self.looked_up += [point.int for point in points]
        return {point: f"N{point.int}" for point in points if point not in self.gone}


def test_a_name_is_looked_up_once() -> None:
    points = Points(9)
    names = PointNames(points)
    assert names.of(points.ids[:3]) == ["N0", "N1", "N2"]
    assert names.of([points.ids[i] for i in (5, 2, 0)]) == ["N5", "N2", "N0"]
    assert names.of([]) == []
    assert points.looked_up == [0, 1, 2, 5]


def test_a_point_that_is_gone_has_no_name_until_it_is_back() -> None:
    points = Points(2)
    points.gone = {points.ids[1]}
    names = PointNames(points)
    assert names.of(points.ids) == ["N0", None]
    points.gone = set()
    assert names.of(points.ids) == ["N0", "N1"]


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_names, "MAX_NAMES", 4)
    points = Points(9)
    names = PointNames(points)
    for at in range(0, 9, 3):
        assert names.of(points.ids[at : at + 3]) == [f"N{i}" for i in range(at, at + 3)]
    assert len(names._names) == 3
    assert names.of(points.ids) == [f"N{i}" for i in range(9)]
