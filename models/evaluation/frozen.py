"""Temporal hold-out: fit before the cutoff, freeze, rank the rest.

Its figures are comparable with published tables. A method knows the candidates, the user and the time of each
impression after the cutoff, and for a new user the click history of the user's first line, which MIND repeats
in every line and which ends before the line. No click after the cutoff affects a score.

Baselines of the same run:

- **popular**: clicks before the cutoff; ties and unseen articles are in random order;
- **click rate**: the smoothed click-through rate at the cutoff;
- **newest**: the publication time (``published.tsv``), or the article's first impression if it is earlier;
- **random**: a hash of impression and article.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.datasets.mind import BadLine, format_time, read_published
from freshet.models.embedding.bundle import Manifest
from freshet.models.evaluation.baselines import random_order, smoothed_click_rate
from freshet.models.evaluation.list_metrics import self_information
from freshet.models.evaluation.slate_scores import Slates

POPULAR, CLICK_RATE, NEWEST, RANDOM = "popular", "click rate", "newest", "random"
BASELINES = (POPULAR, CLICK_RATE, NEWEST, RANDOM)
_CHUNK = 1 << 16
"""Impressions counted at once: 83 million candidates at once would take a gigabyte."""


class CutError(ValueError):
    """Nothing can be measured from the requested cut on, or the bundle was trained on it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Beginning of the measured impressions."""

    position: int
    """Position of the first measured impression."""
    note: str
    """Reason for the position, in one sentence."""


def cut(log: ImpressionLog, manifest: Manifest | None, asked: float | None, default: float) -> Cut:
    """Choose the cut so that a bundle is not measured on impressions that it was trained on.

    Args:
        log: The whole log.
        manifest: Manifest of the bundle that ranks, if there is one.
        asked: A share of the impressions from 0 to 1, or Unix seconds; ``None``: the end of the bundle's
            training period, or ``default``.
        default: A share of the impressions.

    Raises:
        CutError: No impression is after the cut, or the bundle was trained on impressions after ``asked``.
    """
    training = None if manifest is None or not manifest.training.examples else manifest.training
    start_s, end_s = float(log.time_s[0]), float(log.time_s[-1])
    limit, why = 0, ""
    if manifest is not None and training is not None and training.end_s is not None:
        until = format_time(training.end_s)
        same = training.data_sha256 == log.sha256
        if not same and training.start_s is not None and end_s < training.start_s:
            why = f"bundle {manifest.id} was trained on data from after this folder's"
        elif training.end_s >= end_s:
            raise CutError(
                f"{log.folder}: bundle {manifest.id} was trained on {training.folder} until {until}, and no "
                f"impression is later (the last: {format_time(end_s)}): measure on later data, or train "
                "with a smaller --until"
            )
        else:
            limit = int(np.searchsorted(log.time_s, training.end_s, side="right"))
            why = f"bundle {manifest.id} was trained on {training.folder} until {until}"
            if training.end_s < start_s:
                why += ", before this folder begins"
    if asked is None:
        position = limit if limit else log.position_at(default)
        if not limit:
            why = f"{why}; " if why else ""
            why += f"the evaluation begins after {default:.0%} of the impressions"
    else:
        position = log.position_at(asked) if 0.0 <= asked <= 1.0 else log.before(asked)
        if position < limit:
            raise CutError(
                f"{why}: an evaluation from {_time_at(log, position)} on would measure what it has seen. "
                f"--from must be later than that, or be left out"
            )
        why = f"{why}; the evaluation begins where --from says" if why else "as --from says"
    if position >= len(log):
        raise CutError(f"{log.folder}: no impression is left to measure: begin earlier with --from")
    return Cut(position, f"{why}: {len(log) - position:,} impressions from {_time_at(log, position)} on")


def _time_at(log: ImpressionLog, position: int) -> str:
    return format_time(float(log.time_s[min(position, len(log) - 1)]))


class Baselines:
    """Rankings without a model, from the impressions before a cut.

    Args:
        log: The whole log.
        position: The cut.
        seed: Seed of the random order.

    Raises:
        MindError: ``published.tsv`` cannot be read.
    """

    def __init__(self, log: ImpressionLog, position: int, seed: int = 0) -> None:
        n = len(log.articles)
        self.shown: NDArray[np.int64] = np.zeros(n, np.int64)
        """Shape (articles,): impressions before the cut."""
        self.clicks: NDArray[np.int64] = np.zeros(n, np.int64)
        """Shape (articles,): clicks before the cut."""
        for start in range(0, position, _CHUNK):
            part = log.slice(start, min(start + _CHUNK, position))
            self.shown += np.bincount(part.candidates, minlength=n)
            self.clicks += np.bincount(part.candidates[part.clicked], minlength=n)
        self._rate = smoothed_click_rate(self.clicks, self.shown)
        self.published_at_s = publication_times(log)
        self._seed = seed

    @property
    def information(self) -> NDArray[np.float64]:
        """Self-information (articles,) in bits, see :mod:`~freshet.models.evaluation.list_metrics`."""
        return self_information(self.clicks)

    def scores(self, slates: Slates) -> Mapping[str, NDArray[np.float64]]:
        """Score all candidates (sum of sizes,) by each method."""
        articles = slates.candidates
        positions = np.repeat(slates.positions, slates.sizes)
        return {
            POPULAR: self.clicks[articles].astype(np.float64),
            CLICK_RATE: self._rate[articles],
            NEWEST: self.published_at_s[articles],
            RANDOM: random_order(positions, articles, self._seed) / 2.0**64,
        }


def publication_times(log: ImpressionLog) -> NDArray[np.float64]:
    """Publication times (articles,) in Unix seconds, as far as the log knows.

    An article's time is that in ``published.tsv`` or of its first impression, whichever is earlier, and the
    log's first time where there is neither.

    Raises:
        MindError: ``published.tsv`` cannot be read.
    """
    times_s = np.full(len(log.articles), np.inf)
    number_of = {news_id: number for number, news_id in enumerate(log.articles.ids)}
    for entry in read_published(log.folder):
        if not isinstance(entry, BadLine) and entry[0] in number_of:
            times_s[number_of[entry[0]]] = entry[1]
    for start in range(0, len(log), _CHUNK):
        part = log.slice(start, min(start + _CHUNK, len(log)))
        np.minimum.at(times_s, part.candidates, np.repeat(part.time_s, np.diff(part.slate_start)))
    times_s[np.isinf(times_s)] = log.time_s[0]
    return times_s
