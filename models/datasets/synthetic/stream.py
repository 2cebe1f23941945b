r"""Generates the impressions of a synthetic newspaper's readers, window by window.

Time runs in windows of a few minutes. A reader gets at most one slate in a window, so everything in a window
is computed at once, and memory depends on users and articles, not on impressions.

The publisher composes each slate from recent, popular and random articles that the reader has not clicked.
Articles with a larger weight tend to have higher positions. The click probability of a candidate is

.. math:: p_i = e(i) \, a_i, \qquad e(i) = (1 + i)^{-0.35}

where :math:`a_i` is the candidate's attraction (:mod:`freshet.models.datasets.synthetic.world`) and :math:`e`
the examination probability of position :math:`i` (from 0): a position-based click model. As in MIND, every
impression has a click. The labels are drawn from the model given at least one click, exactly, by inversion of
the distribution function of the first click.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.synthetic.world import (
    DRIFT,
    HISTORY,
    HOUR_S,
    INTERCEPT,
    Articles,
    D,
    Floats,
    Indices,
    Readers,
    World,
    visit_rate,
)

WINDOW_S = 300.0
MIN_SLATE, MAX_SLATE = 5, 40
EXAMINATION_EXPONENT = 0.35

CONTINUES = 0.6
"""Probability that a visit continues in the next window."""
FIRST_VISITS = 0.1
"""Largest share of the impressions that are first visits; other readers first visit by their activity."""
MOOD_HALF_LIFE_S = 2 * HOUR_S
MOOD_AT_VISIT, MOOD_PER_CLICK, MAX_MOOD = 0.8, 0.4, 2.0
DRIFT_TIME_S = 10 * 24 * HOUR_S
"""Time constant of the drift, an Ornstein-Uhlenbeck process."""

SEEN_BEFORE = -0.3
"""Log-odds for each exposure of the article among the reader's last ``SHOWN`` candidates."""
SHOWN = 48

SHELF_S = 60 * HOUR_S
"""Age at which an article leaves the slates, unless it is evergreen."""
POPULARITY_HALF_LIFE_S = 2 * HOUR_S
RECENT, POPULAR, RANDOM = 0.5, 0.25, 0.25

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImpressionBatch:
    """Impressions of a window in the order of time, with the candidates of all slates in one array."""

    times_s: NDArray[np.int64]
    """Shape (b,), Unix seconds, ascending."""
    users: NDArray[np.int64]
    """Shape (b,): rows of the world's readers, distinct."""
    newcomers: Bools
    """Shape (b,): whether the reader's history is empty."""
    starts: NDArray[np.int64]
    """Shape (b + 1,): slate ``i`` is ``[starts[i], starts[i + 1])``."""
    rows: NDArray[np.int64]
    """Shape (c,): impression of each candidate."""
    articles: NDArray[np.int64]
    """Shape (c,): rows of the world's articles."""
    positions: NDArray[np.int64]
    """Shape (c,), from 0."""
    interest: Floats
    """Shape (c,), log-odds, like the next three; ``INTERCEPT`` and all four add up to the attraction's."""
    quality: Floats
    timeliness: Floats
    fatigue: Floats
    clicked: Bools
    """Shape (c,): whether each candidate was clicked."""


def examination(positions: NDArray[np.integer]) -> NDArray[np.float64]:
    """Compute the examination probability of each position (from 0)."""
    return np.asarray((1.0 + positions) ** -EXAMINATION_EXPONENT)


def attraction(log_odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the click probability of an examined candidate from the sum of its four contributions."""
    return np.asarray(1.0 / (1.0 + np.exp(-(INTERCEPT + log_odds.astype(np.float64)))))


def impressions(world: World) -> Iterator[ImpressionBatch]:
    """Generate ``world.config.impressions`` impressions in the order of time; changes ``world.readers``.

    A world can generate its impressions once.
    """
    rng = np.random.Generator(np.random.PCG64(world.stream_seed))
    publisher = _Publisher(world.articles)
    readers = world.readers
    shown = np.full((len(readers.ids), SHOWN), -1, np.int32)
    shown_count = np.zeros(len(readers.ids), np.int64)
    edges, counts = window_plan(world, rng)
    before = np.empty(0, np.int64)
    for start_s, end_s, count in zip(edges[:-1], edges[1:], counts, strict=True):
        publisher.advance(float(start_s))
        if not count:
            before = before[:0]
            continue
        users = visitors(world, before, int(count), (float(start_s), float(end_s)), rng)
        times_s = np.sort(rng.integers(int(start_s), max(int(end_s), int(start_s) + 1), len(users)))
        feel(world, users, before, times_s, rng)
        rows, articles = publisher.slates(users, readers, rng)
        starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(users)))))
        positions = np.arange(len(rows)) - starts[rows]

        of_user = users[rows]
        mind = (readers.base[users] + readers.drift[users] + readers.mood[users])[rows]  # (c, D)
        interest = np.einsum("cd,cd->c", mind, world.articles.vectors[articles])
        quality = world.articles.quality[articles]
        timeliness = world.articles.timeliness(articles, times_s[rows].astype(np.float64)).astype(np.float32)
        fatigue = np.float32(SEEN_BEFORE) * (shown[of_user] == articles[:, None]).sum(
            axis=1, dtype=np.float32
        )
        chance = examination(positions) * attraction(interest + quality + timeliness + fatigue)
        clicked = _clicks_given_one(chance, rows, starts, rng)
        yield ImpressionBatch(
            times_s=times_s,
            users=users,
            newcomers=readers.clicks[users] == 0,
            starts=starts,
            rows=rows,
            articles=articles,
            positions=positions,
            interest=interest,
            quality=quality,
            timeliness=timeliness,
            fatigue=fatigue,
            clicked=clicked,
        )
        publisher.observe(articles, clicked)
        shown[of_user, (shown_count[of_user] + positions) % SHOWN] = articles
        shown_count[users] += np.diff(starts)
        remember(readers, of_user[clicked], articles[clicked], world.articles.vectors)
        before = users


def window_plan(world: World, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Plan the edges (w + 1,) of the windows, and the impressions (w,) in each, at most one a reader."""
    config = world.config
    length_s = config.hours * HOUR_S
    # If an average window has a tenth of the readers, the busiest window has enough.
    windows = max(int(np.ceil(length_s / WINDOW_S)), int(np.ceil(10 * config.impressions / config.users)))
    edges = np.linspace(config.start_s, config.end_s, windows + 1)
    rate = visit_rate((edges[1:] + edges[:-1]) / 2)
    counts = rng.multinomial(config.impressions, rate / rate.sum())
    room = np.searchsorted(world.readers.arrival_s, edges[:-1], side="right")
    excess = int(np.maximum(counts - room, 0).sum())
    counts = np.minimum(counts, room)
    while excess:
        free = np.flatnonzero(counts < room)[:excess]
        counts[free] += 1
        excess -= len(free)
    return edges, counts


def visitors(
    world: World,
    before: NDArray[np.int64],
    count: int,
    between_s: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw the readers (count,) who visit ``between_s``: arrivals, continued visits, and others by activity.

    The others are a weighted sample without replacement (Efraimidis and Spirakis, 2006).
    """
    readers = world.readers
    known = int(np.searchsorted(readers.arrival_s, between_s[0], side="right"))
    arrived = max(int(np.searchsorted(readers.arrival_s, between_s[1], side="left")), known)
    keys = rng.standard_exponential(arrived, dtype=np.float32) / readers.activity[:arrived]
    arrivals = int((readers.arrival_s > world.config.start_s).sum())
    welcome = FIRST_VISITS * world.config.impressions / max(arrivals, 1)
    keys[before[rng.random(len(before)) < CONTINUES]] = -1.0
    keys[known:][rng.random(arrived - known) < welcome] = -2.0
    chosen = np.argpartition(keys, count - 1)[:count] if count < arrived else np.arange(arrived)
    return rng.permutation(np.sort(chosen))


def feel(
    world: World,
    users: NDArray[np.int64],
    before: NDArray[np.int64],
    times_s: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Update drift and mood of ``users`` to ``times_s``; the start of a visit adds a topic to the mood."""
    readers = world.readers
    passed_s = np.maximum(times_s - readers.updated_s[users], 0.0)
    keep = np.exp(-passed_s / DRIFT_TIME_S)
    noise = rng.standard_normal((len(users), D), dtype=np.float32)
    fresh = np.sqrt(1.0 - keep**2) * DRIFT
    readers.drift[users] = readers.drift[users] * keep[:, None] + noise * fresh[:, None]
    mood = readers.mood[users] * np.exp2(-passed_s / MOOD_HALF_LIFE_S)[:, None].astype(np.float32)
    begins = ~np.isin(users, before)
    topics = rng.choice(len(world.topics.shares), len(users), p=world.topics.shares)
    mood[begins] += np.float32(MOOD_AT_VISIT) * world.topics.vectors[topics[begins]]
    readers.mood[users] = mood
    readers.updated_s[users] = times_s


def _clicks_given_one(
    chance: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    rng: np.random.Generator,
) -> Bools:
    """Draw independent clicks (c,) with probability ``chance`` (c,), given at least one in each slate.

    The first click is at the first candidate whose distribution function ``1 - prod(1 - p)`` exceeds a
    uniform draw scaled to the slate's last value. The clicks after it are unconditional.
    """
    none_yet = np.cumsum(np.log1p(-chance))  # (c,): log of the product of 1 - p over all slates so far
    offset = np.concatenate(([0.0], none_yet[starts[1:-1] - 1]))  # (b,): its value before each slate
    reached = -np.expm1(none_yet - offset[rows])  # (c,): 1 - prod(1 - p) within the slate
    draw = rng.random(len(starts) - 1) * reached[starts[1:] - 1]  # (b,)
    after_first = reached > draw[rows]
    first = after_first.copy()
    first[1:] &= ~(after_first[:-1] & (rows[1:] == rows[:-1]))
    again = rng.random(len(chance)) < chance
    return np.asarray(first | (after_first & again))


def remember(
    readers: Readers, users: NDArray[np.int64], articles: NDArray[np.int64], vectors: Floats
) -> None:
    """Add clicks (n,), sorted by user, to histories and moods."""
    first = np.concatenate(([True], users[1:] != users[:-1]))
    nth = np.arange(len(users)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    readers.clicked[users, (readers.clicks[users] + nth) % HISTORY] = articles
    np.add.at(readers.clicks, users, 1)
    np.add.at(readers.mood, users, np.float32(MOOD_PER_CLICK) * vectors[articles])
    who = users[first]
    size = np.linalg.norm(readers.mood[who], axis=1, keepdims=True)
    readers.mood[who] *= np.minimum(1.0, MAX_MOOD / np.maximum(size, 1e-6))


class _Publisher:
    """Composes slates from what a publisher observes: ages, impressions and clicks."""

    def __init__(self, articles: Articles) -> None:
        self._articles = articles
        n = len(articles.ids)
        self._clicks = np.zeros(n)
        self._shown = np.zeros(n)
        self._time_s = float(articles.published_s[0])
        self._shelf: Indices = np.empty(0, np.int32)
        self._mass: NDArray[np.float64] = np.empty(0)

    def advance(self, time_s: float) -> None:
        """Decay the counts, and update the available articles to ``time_s`` (Unix seconds)."""
        fade = 2.0 ** (-(time_s - self._time_s) / POPULARITY_HALF_LIFE_S)
        self._time_s = time_s
        self._clicks *= fade
        self._shown *= fade
        articles = self._articles
        published = int(np.searchsorted(articles.published_s, time_s))
        age_s = time_s - articles.published_s[:published]
        shelf = np.flatnonzero((age_s < SHELF_S) | articles.evergreen[:published])
        age_s = age_s[shelf]
        rate = (self._clicks[shelf] + 1.0) / (self._shown[shelf] + 15.0)
        parts = (
            (RECENT, np.exp2(-age_s / (4 * HOUR_S))),
            (POPULAR, self._clicks[shelf] ** 0.8 * rate),
            (RANDOM, np.ones(len(shelf))),
        )
        weight = sum((share * part / max(part.sum(), 1e-9) for share, part in parts), np.zeros(len(shelf)))
        self._shelf = shelf.astype(np.int32)
        self._mass = np.cumsum(weight)

    def slates(
        self, users: NDArray[np.int64], readers: Readers, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw rows of ``users`` (c,) and articles (c,), distinct for each user and not clicked before."""
        wanted = np.clip(rng.lognormal(np.log(13.0), 0.6, len(users)), MIN_SLATE, MAX_SLATE).astype(np.int64)
        tries = 6 + wanted + wanted // 2
        rows = np.repeat(np.arange(len(users)), tries)
        # (draws,): sampled by weight, with replacement; duplicates are dropped below.
        drawn = np.searchsorted(self._mass, rng.random(len(rows)) * self._mass[-1], side="right")
        articles = self._shelf[np.minimum(drawn, len(self._shelf) - 1)].astype(np.int64)
        keep = np.zeros(len(rows), np.bool_)
        keep[np.unique(rows * len(self._articles.ids) + articles, return_index=True)[1]] = True
        unread = keep & ~(readers.clicked[users[rows]] == articles[:, None]).any(axis=1)
        # A reader who has clicked every article gets clicked ones again.
        enough = np.bincount(rows[unread], minlength=len(users)) > 1
        keep = np.where(enough[rows], unread, keep)
        taken = np.cumsum(keep)
        first = np.cumsum(tries) - tries
        keep &= taken - (taken[first] - keep[first])[rows] <= wanted[rows]
        return rows[keep], articles[keep]

    def observe(self, articles: NDArray[np.int64], clicked: Bools) -> None:
        """Count a window's candidates (c,) and clicks (c,)."""
        n = len(self._shown)
        self._shown += np.bincount(articles, minlength=n)
        self._clicks += np.bincount(articles[clicked], minlength=n)
