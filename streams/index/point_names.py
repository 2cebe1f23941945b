"""The news ids of Qdrant's points, remembered: reading each hit's payload doubled the time of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

MAX_NAMES = 1 << 17
"""The limit, about 25 MB. A name remembered stays right: a point's id is a hash of its news id."""


class PointNames:
    """News ids by point id; safe to use from several threads.

    Args:
        look_up: Returns the news ids of points that are not remembered, without those that are gone.
    """

    def __init__(self, look_up: Callable[[Sequence[UUID]], Mapping[UUID, str]]) -> None:
        self._look_up = look_up
        self._names: dict[int, str] = {}
        """Names by the integer of a UUID, whose own hash is computed in Python."""

    def of(self, points: Sequence[UUID]) -> list[str | None]:
        """Return the news id of each point; ``None`` for one that is gone."""
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
