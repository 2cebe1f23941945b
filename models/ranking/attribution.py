"""Attribution of impressions to answers, and of clicks to impressions.

An answer's features and scores are remembered by its request's id, an impression's by its own id. An
impression that names an answer gives an :class:`Example`: the features at ranking time, and the clicks. A
late click gives a :class:`Correction`: the same features, with the labels before and after.

Guarantees:

- Each impression gives at most one example, each click at most one change of a label, in any order of
  arrival: a click that arrives first is part of its impression's example.
- The labels of an example and its corrections chain: each correction begins with the labels at which the
  previous one ended. So their changes to a sum over labelled impressions (a loss, a gradient at given
  weights) add up to the sum over the final labels.
- Records are joined only if their event times are at most the window apart.
- Memory is bounded by the number of candidates remembered; the oldest are dropped first. A slate that is
  dropped, or lost with the process, gives no further correction, never a wrong one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_CANDIDATES_HELD: Final = 200_000
"""Candidates remembered of answers, and as many of impressions: each takes some 250 bytes."""
MAX_EARLY_CLICKS: Final = 20_000
"""Names of impressions and requests whose early clicks are kept."""

_MAX_EARLY_OF_ONE: Final = 200
"""Early clicks kept for one impression or request."""
_EXPIRED_AT_ONCE: Final = 2
"""Slates expired per event: one event whose clock is far ahead must not expire all others."""


@dataclass(frozen=True, slots=True)
class RankedSlate:
    """Candidates with the features and scores by which they were ranked."""

    ids: tuple[str, ...]
    """n distinct news ids."""
    features: NDArray[np.float32]
    """Shape (n, features)."""
    scores: NDArray[np.float64]
    """Shape (n,)."""
    model: str = ""
    """Name of the ranker's model."""

    def among(self, shown: Collection[str]) -> RankedSlate:
        """The candidates that were ``shown``, in the same order."""
        kept = [i for i, news_id in enumerate(self.ids) if news_id in shown]
        if len(kept) == len(self.ids):
            return self
        ids = tuple(self.ids[i] for i in kept)
        return RankedSlate(ids, self.features[kept], self.scores[kept], self.model)


@dataclass(frozen=True, slots=True)
class Example:
    """An impression with the clicks known so far."""

    slate: RankedSlate
    """Ranked candidates that were shown."""
    clicked: NDArray[np.bool_]
    """Shape (n,)."""
    answered: bool
    """Whether the slate was ranked for an answer; else it was ranked when the impression arrived."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Change of an example's labels by a late click."""

    slate: RankedSlate
    before: NDArray[np.bool_]
    """Shape (n,)."""
    after: NDArray[np.bool_]
    """Shape (n,)."""
    answered: bool
    """``answered`` of the example."""


@dataclass(slots=True)
class _Held:
    time_s: float
    slate: RankedSlate
    clicked: NDArray[np.bool_]
    request_id: str | None = None
    answered: bool = False


class Attribution:
    """Joins answers, impressions and clicks.

    Args:
        window_s: Greatest difference of event times, in seconds, of records that are joined.
        max_candidates: Candidates remembered of answers, and as many of impressions.

    >>> attribution = Attribution(window_s=3_600.0)
    >>> slate = RankedSlate(("N1", "N2"), np.zeros((2, 1), np.float32), np.zeros(2))
    >>> attribution.answered("R1", 0.0, slate)
    >>> attribution.shown("I1", 1.0, ["N1", "N2"], ["N2"], request_id="R1").clicked
    array([False,  True])
    >>> attribution.clicked(2.0, "N1", impression_id="I1").after
    array([ True,  True])
    """

    def __init__(self, window_s: float, max_candidates: int = MAX_CANDIDATES_HELD) -> None:
        if not window_s > 0.0:
            raise ValueError(f"window_s is {window_s}, must be more than 0")
        self._window_s = window_s
        self._answers = _Memory(window_s, max_candidates)
        self._impressions = _Memory(window_s, max_candidates)
        self._of_request: dict[str, list[str]] = {}
        """Impressions remembered of each request, the oldest first."""
        self._early: OrderedDict[tuple[str, str], list[tuple[float, str]]] = OrderedDict()
        """Clicks (time, news id) that arrived before the impression or request that they name."""

    def answered(self, request_id: str, time_s: float, slate: RankedSlate) -> None:
        """Remembers the slate of a request's answer; a repeated answer replaces the earlier one.

        ``time_s`` is the request's event time, in Unix seconds.
        """
        self._answers.put(request_id, _Held(time_s, slate, np.zeros(0, np.bool_)))

    def shown(
        self,
        impression_id: str,
        time_s: float,
        candidates: Sequence[str],
        clicked: Collection[str],
        *,
        request_id: str | None = None,
        otherwise: Callable[[], RankedSlate] | None = None,
    ) -> Example | None:
        """The example that an impression gives; ``None`` if it is a duplicate or its slate is unknown.

        Args:
            impression_id: Id of the impression.
            time_s: Event time, Unix seconds.
            candidates: News ids shown.
            clicked: News ids known to be clicked.
            request_id: The request that was answered with the slate.
            otherwise: Ranks the candidates now, where no answer is known; without it such an impression gives
                no example.
        """
        if impression_id in self._impressions:
            return None
        answer = None if request_id is None else self._answers.near(request_id, time_s)
        if answer is not None:
            slate = answer.slate.among(set(candidates))
        elif otherwise is not None:
            slate = otherwise()
        else:
            return None
        if not slate.ids:
            return None
        clicks = {*clicked, *self._early_clicks(impression_id, request_id, time_s, slate)}
        labels = np.fromiter((news_id in clicks for news_id in slate.ids), np.bool_, len(slate.ids))
        held = _Held(time_s, slate, labels, request_id, answer is not None)
        for gone_id, gone in self._impressions.put(impression_id, held):
            self._forget(gone_id, gone)
        if request_id is not None:
            self._of_request.setdefault(request_id, []).append(impression_id)
        return Example(slate, labels, answer is not None)

    def clicked(
        self, time_s: float, news_id: str, *, impression_id: str | None = None, request_id: str | None = None
    ) -> Correction | None:
        """The correction that a click gives; ``None`` if it changes no label.

        A click changes no label if it names nothing, or if its impression is not known yet, did not show the
        article, or has the click already.

        Args:
            time_s: Event time, Unix seconds.
            news_id: The article clicked.
            impression_id: The impression that showed it.
            request_id: The request that was answered with it; used if no impression is named.
        """
        if impression_id is not None:
            names, key = [impression_id], ("impression", impression_id)
        elif request_id is not None:
            names, key = self._of_request.get(request_id, [])[::-1], ("request", request_id)
        else:
            return None
        known = False
        for name in names:
            held = self._impressions.near(name, time_s)
            if held is None:
                continue
            known = known or impression_id is not None
            if news_id in held.slate.ids:
                position = held.slate.ids.index(news_id)
                before = held.clicked
                if before[position]:
                    return None
                held.clicked = before.copy()
                held.clicked[position] = True
                return Correction(held.slate, before, held.clicked, held.answered)
        if not known:
            waiting = self._early.setdefault(key, [])
            if len(waiting) < _MAX_EARLY_OF_ONE:
                waiting.append((time_s, news_id))
            if len(self._early) > MAX_EARLY_CLICKS:
                self._early.popitem(last=False)
        return None

    def forget(self, prefix: str) -> None:
        """Drops all requests and impressions whose ids begin with ``prefix``."""
        self._answers.drop(prefix)
        for name, held in self._impressions.drop(prefix):
            self._forget(name, held)
        for key in [key for key in self._early if key[1].startswith(prefix)]:
            del self._early[key]

    def _early_clicks(
        self, impression_id: str, request_id: str | None, time_s: float, slate: RankedSlate
    ) -> set[str]:
        """Takes the clicks that arrived before their impression; those on other articles keep waiting."""
        waiting = self._early.pop(("impression", impression_id), [])
        if request_id is not None:
            of_request = self._early.pop(("request", request_id), [])
            waiting = waiting + of_request
            if others := [click for click in of_request if click[1] not in slate.ids]:
                self._early["request", request_id] = others
        return {
            news_id
            for click_s, news_id in waiting
            if news_id in slate.ids and abs(click_s - time_s) <= self._window_s
        }

    def _forget(self, impression_id: str, held: _Held) -> None:
        if held.request_id is not None:
            names = self._of_request[held.request_id]
            names.remove(impression_id)
            if not names:
                del self._of_request[held.request_id]


class _Memory:
    """The latest slates by name, bounded by their candidates and by the window."""

    def __init__(self, window_s: float, max_candidates: int) -> None:
        self._window_s = window_s
        self._max_candidates = max_candidates
        self._candidates = 0
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def near(self, name: str, time_s: float) -> _Held | None:
        """The slate called ``name``, if its time is within the window of ``time_s``."""
        held = self._held.get(name)
        return held if held is not None and abs(held.time_s - time_s) <= self._window_s else None

    def drop(self, prefix: str) -> list[tuple[str, _Held]]:
        """Drops and returns the slates whose names begin with ``prefix``."""
        gone = [(name, held) for name, held in self._held.items() if name.startswith(prefix)]
        for name, held in gone:
            del self._held[name]
            self._candidates -= len(held.slate.ids)
        return gone

    def put(self, name: str, held: _Held) -> list[tuple[str, _Held]]:
        """Remembers a slate; returns the slates dropped to make room."""
        gone: list[tuple[str, _Held]] = []
        if name in self._held:
            self._candidates -= len(self._held.pop(name).slate.ids)
        self._held[name] = held
        self._candidates += len(held.slate.ids)
        expired = 0
        while len(self._held) > 1:
            oldest = next(iter(self._held.values()))
            if self._candidates <= self._max_candidates:
                if expired == _EXPIRED_AT_ONCE or oldest.time_s >= held.time_s - self._window_s:
                    break
                expired += 1
            gone.append(self._held.popitem(last=False))
            self._candidates -= len(oldest.slate.ids)
        return gone
