"""The frozen protocol: what was learned before the cut ranks what comes after it, and learns nothing there.

Comparable with published tables. Of the evaluation period's impressions a method is given the candidates,
the user, the time, and for a user never seen before the click history of the user's first line, which MIND
repeats in every line and which ends before the line. No click of the period reaches a score: two logs that
differ only in clicks after the cut are scored the same.

The baselines, all of the same run:

- **popular**: clicks in the training period, as they were at the cut; ties and unseen articles in no order;
- **click rate**: the smoothed click-through rate at the cut;
- **newest**: the publication time (``published.tsv``), else when the log first showed the article;
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
"""Impressions at a time: what is worked out for 83 million candidates at once takes a gigabyte."""


class CutError(ValueError):
    """Where the evaluation should begin, nothing can be measured, or the bundle has learned from it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the evaluation begins."""

    position: int
    """The first impression measured."""
    note: str
    """Why there, in one sentence."""


def cut(log: ImpressionLog, manifest: Manifest | None, asked: float | None, default: float) -> Cut:
    """Where to begin, so that a bundle is measured on nothing that it was trained on.

    Args:
        log: The whole log.
        manifest: Of the bundle that ranks, if there is one.
        asked: A share of the impressions from 0 to 1, or Unix seconds; ``None``: after the bundle's training
            period, else ``default``.
        default: A share of the impressions.

    Raises:
        CutError: Nothing comes after the cut, or the bundle was trained on what comes after ``asked``.
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
    """What ranks without a model, from the impressions before a cut.

    Args:
        log: The whole log.
        position: The cut.
        seed: Of the random order.

    Raises:
        MindError: ``published.tsv`` cannot be read.
    """

    def __init__(self, log: ImpressionLog, position: int, seed: int = 0) -> None:
        n = len(log.articles)
        self.shown: NDArray[np.int64] = np.zeros(n, np.int64)
        """Shape (articles,): how often each was shown before the cut."""
        self.clicks: NDArray[np.int64] = np.zeros(n, np.int64)
        """Shape (articles,): how often each was clicked before the cut."""
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
        """By method, scores of all candidates, one after another."""
        articles = slates.candidates
        positions = np.repeat(slates.positions, slates.sizes)
        return {
            POPULAR: self.clicks[articles].astype(np.float64),
            CLICK_RATE: self._rate[articles],
            NEWEST: self.published_at_s[articles],
            RANDOM: random_order(positions, articles, self._seed) / 2.0**64,
        }


def publication_times(log: ImpressionLog) -> NDArray[np.float64]:
    """When each article (articles,) appeared, Unix seconds, as far as the log knows.

    The earlier of the time in ``published.tsv`` and of the article's first impression, which is known to
    whoever is shown it; one that is never shown nor dated appeared when the log begins.

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
