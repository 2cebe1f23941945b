"""The news ids of Qdrant's points, remembered: reading each hit's payload doubled the time of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

MAX_NAMES = 1 << 17
"""About 25 MB. What is remembered stays true: a point's id is a hash of its news id."""


class PointNames:
    """News ids by point id; safe to use from several threads.

    Args:
        look_up: Gives the news ids of points that are not remembered; of one that is gone, nothing.
    """

    def __init__(self, look_up: Callable[[Sequence[UUID]], Mapping[UUID, str]]) -> None:
        self._look_up = look_up
        self._names: dict[int, str] = {}
        """By the number that a UUID is: its own hash is computed in Python."""

    def of(self, points: Sequence[UUID]) -> list[str | None]:
        """The news id of each point; ``None`` of one that is gone."""
        numbers = [point.int for point in points]
        found = list(map(self._names.get, numbers))
        if None in found:
            missing = [point for point, name in zip(points, found, strict=True) if name is None]
            looked_up = {point.int: name for point, name in self._look_up(missing).items()}
            if len(self._names) + len(looked_up) > MAX_NAMES:
                self._names = {}
            self._names.update(looked_up)
            found = [name or looked_up.get(number) for number, name in zip(numbers, found, strict=True)]
        return found
