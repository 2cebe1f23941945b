"""Measures drift between two bundles on a folder's articles, or between two periods of a folder.

Periods are compared by the shares of the categories among shown and clicked slots and, given a bundle, by the
vectors of the articles first shown in the later period and of all articles shown in the earlier one. Slots of
articles without a category are left out of the shares, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import ImpressionLog, read_impression_log
from freshet.models.datasets.mind import BadLine, MindError
from freshet.models.embedding.bundle import Bundle, BundleError, load_bundle
from freshet.models.evaluation.drift.categories import CategoryShift, category_shift
from freshet.models.evaluation.drift.vectors import BundleDrift, PeriodDrift, compare_bundles, compare_periods
from freshet.models.events.events import from_unix_s
from freshet.models.events.times import parse_time
from freshet.models.ports import FloatMatrix
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.training.bundle_vectors import bundle_vectors

Progress = Callable[[str, int, int], None]
"""Callback with a stage, how much of it is done, and of how much."""
OnBadLine = Callable[[BadLine], None]
"""Callback for each skipped line."""


class DriftUnmeasurable(WorkerError):
    """The folder or a bundle cannot be read, or has nothing to compare."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of one kind, shown or clicked, in two periods."""

    shift: CategoryShift | None
    """Shift of the categories; ``None`` if a period has no slot of a known category."""
    before: int
    """Number of slots, including those of unknown categories."""
    after: int
    unknown_before: int
    """Number of slots of articles without a category."""
    unknown_after: int


@dataclass(frozen=True, slots=True)
class FolderDrift:
    """Drift between two periods of a folder."""

    split_s: float
    """Start of the later period, Unix seconds."""
    before: int
    """Number of impressions."""
    after: int
    shown: Slots
    clicked: Slots
    bundle: str | None
    vectors: PeriodDrift | None


@dataclass(frozen=True, slots=True)
class Split:
    """Start of the later period: a time, or a fraction of the impressions."""

    time_s: float | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Split:
        """Parse a fraction between 0 and 1, or a time, which is UTC without an offset.

        Raises:
            ValueError: The text is neither.
        """
        try:
            number = float(text)
        except ValueError:
            try:
                return cls(time_s=parse_time(text, default_zone=UTC).timestamp())
            except ValueError as error:
                raise ValueError(f"{text!r} must be a fraction such as 0.8, or {error}") from None
        if not 0.0 < number < 1.0:
            raise ValueError(f"a fraction lies between 0 and 1, {text} does not")
        return cls(fraction=number)

    def position(self, log: ImpressionLog) -> int:
        """Find the first impression of the later period."""
        if self.fraction is not None:
            return log.position_at(self.fraction)
        assert self.time_s is not None
        return log.before(self.time_s)


def bundle_drift(
    folder: Path,
    before: Path,
    after: Path,
    settings: Settings,
    progress: Progress,
    *,
    k: int = 10,
    on_bad_line: OnBadLine | None = None,
) -> tuple[Bundle, Bundle, BundleDrift]:
    """Compare the vectors of two bundles on a MIND folder's articles, with ``k`` neighbours of each.

    With ``on_bad_line``, lines that cannot be read are skipped and reported; without it they are errors.

    Raises:
        DriftUnmeasurable: The folder or a bundle cannot be read, or there is nothing to compare.
        TextVectorsUnavailable: A bundle's text encoder is not available.
    """
    log = _log(folder, progress, on_bad_line)
    try:
        bundles = load_bundle(before), load_bundle(after)
        first, second = (_vectors(bundle, log, settings, progress) for bundle in bundles)
        return *bundles, compare_bundles(first, second, k)
    except (BundleError, ValueError) as error:
        raise DriftUnmeasurable(f"{before} against {after} on {folder}: {error}") from error


def folder_drift(
    folder: Path,
    split: Split,
    bundle: Path | None,
    settings: Settings,
    progress: Progress,
    *,
    on_bad_line: OnBadLine | None = None,
) -> FolderDrift:
    """Compare two periods of a MIND folder; ``on_bad_line`` is that of :func:`bundle_drift`.

    Raises:
        DriftUnmeasurable: The folder or the bundle cannot be read, or a period has no impression.
        TextVectorsUnavailable: The bundle's text encoder is not available.
    """
    log = _log(folder, progress, on_bad_line)
    position = split.position(log)
    if not 0 < position < len(log):
        raise DriftUnmeasurable(
            f"{folder}: all {len(log)} impressions lie on one side of the split; they are from "
            f"{from_unix_s(float(log.time_s[0])):%Y-%m-%dT%H:%M:%S} to "
            f"{from_unix_s(float(log.time_s[-1])):%Y-%m-%dT%H:%M:%S} UTC"
        )
    cut = int(log.slate_start[position])
    loaded, vectors = None, None
    if bundle is not None:
        try:
            loaded = load_bundle(bundle)
            made = _vectors(loaded, log, settings, progress)
            earlier = np.unique(log.candidates[:cut])
            later = np.setdiff1d(log.candidates[cut:], earlier)
            vectors = compare_periods(made[earlier], made[later])
        except (BundleError, ValueError) as error:
            raise DriftUnmeasurable(f"{bundle} on {folder}: {error}") from error
    clicked = log.clicked
    return FolderDrift(
        float(log.time_s[position]),
        position,
        len(log) - position,
        _slots(log, log.candidates[:cut], log.candidates[cut:]),
        _slots(log, log.candidates[:cut][clicked[:cut]], log.candidates[cut:][clicked[cut:]]),
        None if loaded is None else loaded.id,
        vectors,
    )


def bundle_drift_json(before: Bundle, after: Bundle, drift: BundleDrift) -> dict[str, Any]:
    """Return the JSON object of ``freshet drift --json`` for two bundles."""
    described = asdict(drift)
    described["norms"]["relative"] = drift.norms.relative
    return {"version": 1, "bundle": before.id, "against": after.id, **described}


def folder_drift_json(folder: Path, drift: FolderDrift) -> dict[str, Any]:
    """Return the JSON object of ``freshet drift --json`` for two periods."""
    described = asdict(drift)
    for name, slots in (("shown", drift.shown), ("clicked", drift.clicked)):
        if slots.shift is not None:
            described[name]["shift"]["reading"] = slots.shift.reading
    if drift.vectors is not None:
        described["vectors"]["norms"]["relative"] = drift.vectors.norms.relative
    return {"version": 1, "folder": folder.name, "split": from_unix_s(drift.split_s), **described}


def _log(folder: Path, progress: Progress, on_bad_line: OnBadLine | None) -> ImpressionLog:
    try:
        return read_impression_log(
            folder,
            skip_bad_lines=on_bad_line is not None,
            on_bad_line=on_bad_line,
            progress=lambda done, total: progress("reading", done, total),
        )
    except MindError as error:
        raise DriftUnmeasurable(str(error)) from error


def _vectors(bundle: Bundle, log: ImpressionLog, settings: Settings, progress: Progress) -> FloatMatrix:
    def encoded(done: int, total: int) -> None:
        progress(f"texts for {bundle.id}", done, total)

    return bundle_vectors(bundle, log.articles, settings, encoded)


def _slots(log: ImpressionLog, before: NDArray[np.int32], after: NDArray[np.int32]) -> Slots:
    first, second = _categories(log, before), _categories(log, after)
    unknown_before, unknown_after = first.pop("", 0), second.pop("", 0)
    known = sum(first.values()) > 0 and sum(second.values()) > 0
    shift = category_shift(first, second) if known else None
    return Slots(shift, len(before), len(after), unknown_before, unknown_after)


def _categories(log: ImpressionLog, slots: NDArray[np.int32]) -> Counter[str]:
    """Count the ``slots`` (n,) of each category; the empty category is unknown."""
    found: Counter[str] = Counter()
    per_article = np.bincount(slots, minlength=len(log.articles))  # (articles,)
    for article in np.flatnonzero(per_article).tolist():
        found[log.articles.categories[article]] += int(per_article[article])
    return found
