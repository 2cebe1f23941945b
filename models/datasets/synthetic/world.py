r"""Draws the articles, the readers and the click model of a synthetic newspaper.

NumPy Generators draw everything from one seed.

An article has a unit topic vector, which decides its words (category, subcategory and subject each add their
own direction), a quality (its headline's style, its category and noise) and a life cycle: attention rises
within the hour of publication and halves every few hours; some articles are evergreen. Articles of a
storyline share subject and place, come within hours of each other, and all gain while the story breaks.

A reader has an interest vector, which drifts slowly around two or three favourite topics, and a mood, the
topic of the current visit, which every click moves and which lasts for hours. The log-odds of a click on a
candidate that the reader looks at are:

.. math:: \operatorname{logit} a = b + \text{interest} + \text{quality} + \text{timeliness} + \text{fatigue}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.synthetic.titles import (
    CATEGORIES,
    DRAWS,
    FOCI,
    PLACES,
    STYLE_INDEX,
    STYLES,
    TOPICS,
    distinct_text,
)
from freshet.models.kernels.unit_norm import to_unit_norm

START_S = 1_767_592_800
"""Default start of a synthetic stream: 2026-01-05T06:00:00Z, a Monday morning."""

HOUR_S = 3_600.0
D = 32
"""Dimensions of the latent space; large enough for every category to have an axis of its own."""

INTERCEPT = -3.3
"""Log-odds of a click on a new article of average quality and of no particular interest."""

HISTORY = 50
"""Clicks in a history column."""

BACK_CATALOGUE = 0.2
"""Share of the articles published before the stream starts."""
EVERGREEN = 0.06
IN_STORYLINES = 0.3
LIFE_WEIGHT = 0.6
"""Weight of the logarithm of attention in the log-odds of a click."""
PRESENT_AT_START = 0.6
"""Share of the readers who have a history when the stream starts; the others arrive during it."""
FAVOURITES = 4
INTEREST = 9.0
"""Sum over a reader's favourite topics of the log-odds that a topic adds to its own articles."""
DRIFT = 0.15
"""Standard deviation of the drift in each dimension, log-odds."""

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

_RHYTHM = np.array(
    [
        *(0.20, 0.14, 0.10, 0.09, 0.12, 0.30, 0.70, 1.10, 1.25, 1.15, 1.05, 1.05),
        *(1.20, 1.20, 1.00, 0.95, 1.00, 1.10, 1.25, 1.45, 1.55, 1.35, 0.90, 0.45),
    ]
)
"""Visits by hour of the day, UTC."""


@dataclass(frozen=True, slots=True)
class SynthConfig:
    """Size and seed of a synthetic stream.

    Raises:
        ValueError: A figure is out of range.
    """

    users: int
    articles: int
    impressions: int
    seed: int = 7
    hours: float = 0.0
    """Length of the stream; 0 gives a reader about five impressions a day."""
    start_s: int = START_S
    """Unix seconds."""

    def __post_init__(self) -> None:
        for name, least in (("users", 20), ("articles", 100), ("impressions", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.articles > MAX_ARTICLES:
            raise ValueError(f"articles must be at most {MAX_ARTICLES}, got {self.articles}")
        if not self.hours:
            days = self.impressions / self.users / 5
            object.__setattr__(self, "hours", round(24 * min(max(days, 1.0), 7.0), 1))
        if not 1 <= self.hours <= MAX_HOURS:
            raise ValueError(f"hours must be from 1 to {MAX_HOURS}, got {self.hours:g}")

    @property
    def end_s(self) -> float:
        """Unix seconds."""
        return self.start_s + self.hours * HOUR_S


MAX_ARTICLES = 1_000_000
MAX_HOURS = 24 * 366


@dataclass(frozen=True, slots=True)
class Topics:
    """Latent space; rows are those of ``TOPICS``."""

    vectors: Floats
    """Shape (t, D), unit length."""
    foci: Floats
    """Shape (t, FOCI, D), unit length: directions of the topic's foci."""
    shares: NDArray[np.float64]
    """Shape (t,): share of each topic among articles and favourites; sums to 1."""
    appeal: Floats
    """Shape (t,): log-odds that the topic's category adds."""


@dataclass(frozen=True, slots=True)
class Articles:
    """Articles in the order of publication, one row each."""

    ids: list[str]
    titles: list[str]
    abstracts: list[str]
    topic: Indices
    """Shape (n,), indices into ``TOPICS``."""
    published_s: NDArray[np.int64]
    """Shape (n,), Unix seconds, ascending."""
    vectors: Floats
    """Shape (n, D), unit length."""
    quality: Floats
    """Shape (n,), log-odds."""
    half_life_s: Floats
    evergreen: NDArray[np.bool_]
    storyline: Indices
    """Shape (n,): storyline number, -1 for none."""
    story_start_s: NDArray[np.float64]
    """Shape (n,), Unix seconds; NaN outside storylines."""
    story_heat: Floats
    """Shape (n,), log-odds at the story's first moment; 0 outside storylines."""

    def timeliness(self, rows: NDArray[np.int64], time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the log-odds (n,) that age and a breaking story add at ``time_s`` (n,), Unix seconds."""
        age_s = np.maximum(time_s - self.published_s[rows], 0.0)
        rise = 1.0 - 0.6 * np.exp(-age_s / 1_200.0)
        decay = np.maximum(np.exp2(-age_s / self.half_life_s[rows]), 0.03)
        story_age_s = np.maximum(time_s - self.story_start_s[rows], 0.0)
        heat = np.where(
            self.storyline[rows] >= 0, self.story_heat[rows] * np.exp2(-story_age_s / (5 * HOUR_S)), 0.0
        )
        return np.asarray(LIFE_WEIGHT * np.log(rise * decay) + heat)


@dataclass(slots=True)
class Readers:
    """Readers in the order of arrival, one row each; the stream changes their mood and interests."""

    ids: list[str]
    arrival_s: NDArray[np.float64]
    """Shape (n,), Unix seconds, ascending; readers present at the start have the start's time."""
    activity: Floats
    """Shape (n,): relative frequency of visits, heavy-tailed."""
    base: Floats
    """Shape (n, D): mean interests, around which they drift."""
    drift: Floats
    """Shape (n, D): drift of the interests, relative to ``base``."""
    mood: Floats
    """Shape (n, D): short-lived interests of the current visit."""
    updated_s: NDArray[np.float64]
    """Shape (n,): time of the last update of drift and mood, Unix seconds."""
    clicked: Indices
    """Shape (n, HISTORY): ring buffer of clicked articles, -1 if empty."""
    clicks: Indices
    """Shape (n,): number of clicks; the ring's next place is ``clicks % HISTORY``."""


@dataclass(frozen=True, slots=True)
class World:
    """A newspaper and its readers at the start of the stream."""

    config: SynthConfig
    articles: Articles
    readers: Readers
    topics: Topics
    stream_seed: np.random.SeedSequence


def build_world(config: SynthConfig, progress: Callable[[float], None] = lambda share: None) -> World:
    """Draw articles and readers; the same ``config`` gives the same world.

    ``progress`` gets the share done, from 0 to 1.
    """
    seeds = np.random.SeedSequence(config.seed).spawn(5)
    space, article_rng, text_rng, reader_rng = (np.random.Generator(np.random.PCG64(s)) for s in seeds[:4])
    topics = _topics(space)
    articles = _articles(config, article_rng, text_rng, topics)
    progress(0.5)
    readers = _readers(config, reader_rng, articles, topics)
    progress(1.0)
    return World(config, articles, readers, topics, seeds[4])


def visit_rate(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative frequency (n,) of visits at ``time_s`` (n,) by the hour of the day."""
    return np.asarray(np.interp((time_s / HOUR_S) % 24, np.arange(25), np.append(_RHYTHM, _RHYTHM[0])))


def _topics(rng: np.random.Generator) -> Topics:
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0][: len(CATEGORIES)]  # (categories, D), orthonormal
    category = np.array([CATEGORIES.index(topic.category) for topic in TOPICS])
    vectors = 0.75 * axes[category] + 0.65 * to_unit_norm(rng.standard_normal((len(TOPICS), D)))
    foci = vectors[:, None, :] + 0.35 * to_unit_norm(rng.standard_normal((len(TOPICS), FOCI, D)))
    appeal = rng.normal(0.0, 0.25, len(CATEGORIES))[category]
    return Topics(
        vectors=to_unit_norm(vectors).astype(np.float32),
        foci=to_unit_norm(foci).astype(np.float32),
        shares=rng.dirichlet(np.full(len(TOPICS), 1.2)),
        appeal=appeal.astype(np.float32),
    )


def _articles(
    config: SynthConfig,
    rng: np.random.Generator,
    text_rng: np.random.Generator,
    topics: Topics,
) -> Articles:
    n = config.articles
    topic = rng.choice(len(TOPICS), n, p=topics.shares).astype(np.int32)
    focus = rng.integers(0, FOCI, n)
    place = rng.integers(0, len(PLACES), n)
    style = rng.choice(len(STYLES), n, p=_STYLE_SHARES)
    published_s = _publication_times(config, rng, n)
    evergreen = rng.random(n) < EVERGREEN
    old = evergreen & (published_s < config.start_s)
    published_s[old] = config.start_s - rng.uniform(0.0, 30 * 24 * HOUR_S, int(old.sum()))
    half_life_s = np.where(evergreen, 15 * 24 * HOUR_S, HOUR_S * rng.lognormal(math.log(6.0), 0.4, n))

    storyline = np.full(n, -1, np.int32)
    story_start_s = np.full(n, np.nan)
    story_heat = np.zeros(n)
    free = np.flatnonzero(~evergreen)
    first, story = 0, 0
    while first < IN_STORYLINES * n:
        size = int(min(3 + rng.geometric(0.35), 12))
        rows = free[first : first + size]
        lead = rows[0]
        start_s = published_s[lead]
        follow_s = start_s + np.sort(rng.exponential(2.5 * HOUR_S, len(rows) - 1))
        published_s[rows[1:]] = np.minimum(follow_s, config.end_s - 60.0)
        topic[rows], focus[rows], place[rows] = topic[lead], focus[lead], place[lead]
        style[lead] = STYLE_INDEX["breaking"]
        style[rows[1:]] = rng.choice(_STORY_STYLES, len(rows) - 1)
        storyline[rows], story_start_s[rows] = story, start_s
        story_heat[rows] = min(0.3 + rng.exponential(0.7), 2.0)
        first, story = first + size, story + 1

    appeal = np.array([s.appeal for s in STYLES])[style]
    quality = topics.appeal[topic] + appeal + rng.normal(0.0, 0.45, n) - 0.8 * evergreen

    order = np.argsort(published_s, kind="stable")
    draws = text_rng.integers(0, 1 << 30, (n, DRAWS))
    taken: set[str] = set()
    texts = [
        distinct_text(
            TOPICS[topic[row]], STYLES[style[row]], int(focus[row]), PLACES[place[row]], line, taken=taken
        )
        for row, line in zip(order.tolist(), draws.tolist(), strict=True)
    ]
    return Articles(
        ids=[f"N{number}" for number in (10_001 + rng.permutation(n)).tolist()],
        titles=[title for title, _ in texts],
        abstracts=[abstract for _, abstract in texts],
        topic=topic[order],
        published_s=published_s[order].astype(np.int64),
        vectors=topics.foci[topic[order], focus[order]],
        quality=quality[order].astype(np.float32),
        half_life_s=half_life_s[order].astype(np.float32),
        evergreen=evergreen[order],
        storyline=storyline[order],
        story_start_s=story_start_s[order],
        story_heat=story_heat[order].astype(np.float32),
    )


_STYLE_SHARES = np.array([0.2, 0.14, 0.16, 0.12, 0.08, 0.08, 0.1, 0.12, 0.0, 0.0])
_STORY_STYLES = np.array(
    [STYLE_INDEX[name] for name in ("follow-up", "follow-up", "local", "cause", "breaking", "explainer")]
)


def _publication_times(config: SynthConfig, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw Unix seconds (n,): a fifth in the three days before the start, the others by the day's rhythm."""
    before = round(BACK_CATALOGUE * n)
    ages_s = np.minimum(rng.exponential(16 * HOUR_S, before), 72 * HOUR_S)
    # Nobody would see an article of the last minutes.
    during_s = by_rhythm(config.start_s, config.end_s - 0.02 * config.hours * HOUR_S, rng, n - before)
    return np.concatenate((config.start_s - 60.0 - ages_s, during_s))[rng.permutation(n)]


def by_rhythm(start_s: float, end_s: float, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw ``n`` times from ``start_s`` to ``end_s`` (Unix seconds), distributed like visits over the day."""
    grid = np.linspace(start_s, end_s, 24 * 8 + 1 + int((end_s - start_s) / 600))
    mass = np.append(0.0, np.cumsum(visit_rate((grid[1:] + grid[:-1]) / 2)))
    return np.asarray(np.interp(rng.random(n) * mass[-1], mass, grid))


def _readers(config: SynthConfig, rng: np.random.Generator, articles: Articles, topics: Topics) -> Readers:
    n = config.users
    present = max(round(PRESENT_AT_START * n), 1)
    arrival_s = np.full(n, float(config.start_s))
    arrival_s[present:] = np.sort(by_rhythm(config.start_s, config.end_s, rng, n - present))
    favourites = rng.choice(len(TOPICS), (n, FAVOURITES), p=topics.shares)
    strengths = rng.dirichlet(np.full(FAVOURITES, 3.0), n) * rng.lognormal(math.log(INTEREST), 0.3, (n, 1))
    base = np.einsum("uk,ukd->ud", strengths, topics.vectors[favourites])  # (n, FAVOURITES) to (n, D)
    readers = Readers(
        ids=[f"U{number}" for number in (1 + rng.permutation(n)).tolist()],
        arrival_s=arrival_s,
        activity=(rng.pareto(1.6, n) + 0.15).clip(max=25.0).astype(np.float32),
        base=base.astype(np.float32),
        drift=rng.normal(0.0, DRIFT, (n, D)).astype(np.float32),
        mood=np.zeros((n, D), np.float32),
        updated_s=arrival_s.copy(),
        clicked=np.full((n, HISTORY), -1, np.int32),
        clicks=np.zeros(n, np.int32),
    )
    _seed_histories(rng, articles, readers, config.start_s, present)
    return readers


def _seed_histories(
    rng: np.random.Generator, articles: Articles, readers: Readers, start_s: int, present: int
) -> None:
    """Draw the earlier clicks of the readers present at the start, by their interests (Gumbel top-k)."""
    old = int(np.searchsorted(articles.published_s, start_s))
    lengths = np.minimum(rng.poisson(5.0 + 8.0 * readers.activity[:present]), min(30, old // 2))
    for start in range(0, present, 2_000):
        rows = np.arange(start, min(start + 2_000, present))
        shelf = np.sort(rng.choice(old, min(old, 200), replace=False))
        # Not `@`: the order in which BLAS adds may change with its threads, and with it the files.
        interest = np.einsum("ud,ad->ua", readers.base[rows] + readers.drift[rows], articles.vectors[shelf])
        appeal = interest + articles.quality[shelf]  # (readers, shelf)
        ranked = np.argsort(-(appeal + rng.gumbel(size=appeal.shape)), axis=1, kind="stable")
        for row, best in zip(rows.tolist(), ranked, strict=True):
            length = int(lengths[row])
            readers.clicked[row, :length] = shelf[np.sort(best[:length])]
            readers.clicks[row] = length
