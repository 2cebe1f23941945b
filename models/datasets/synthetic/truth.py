"""Ground truth of each candidate of a synthetic stream, in a file beside ``behaviors.tsv``.

``truth.npy`` holds a record of 9 bytes for each candidate slot, in the order of ``behaviors.tsv``; NumPy
reads it without pickle. ``position`` 0 begins an impression.

The *oracle* is the best possible ranker. It knows the reader's interest, mood and fatigue and the article's
quality and timeliness exactly. It does not use the position, because the ranker decides on that. Its score is
the attraction, the click probability of an examined candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.synthetic.stream import ImpressionBatch, attraction, examination

TRUTH_FILE = "truth.npy"

CONTRIBUTIONS = ("interest", "quality", "timeliness", "fatigue")
"""Log-odds that add up to a candidate's attraction."""

TRUTH = np.dtype([*((name, "<f2") for name in CONTRIBUTIONS), ("position", "u1")])

_CHUNK = 1 << 16


class TruthError(ValueError):
    """A folder has no ground truth, or one in another format."""


class TruthWriter:
    """Writes ``truth.npy`` batch by batch, and the number of records at the end."""

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = (folder / TRUTH_FILE).open("wb")
        self._written = 0
        self._header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._header()
        self._file.close()

    def write(self, batch: ImpressionBatch) -> None:
        """Append the candidates of a batch."""
        records = np.empty(len(batch.articles), TRUTH)
        for name in CONTRIBUTIONS:
            records[name] = getattr(batch, name)
        records["position"] = batch.positions
        self._file.write(records.tobytes())
        self._written += len(records)

    def _header(self) -> None:
        # NumPy pads the header, so its length does not depend on the number of records.
        header = {"descr": np.lib.format.dtype_to_descr(TRUTH), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (self._written,)})


def read_truth(folder: Path) -> Iterator[NDArray[np.void]]:
    """Yield the ``TRUTH`` records (n,) of each line of ``behaviors.tsv``, in its order; memory is bounded.

    Raises:
        TruthError: The folder has no ``truth.npy``, or one in another format.
    """
    path = folder / TRUTH_FILE
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TruthError(f"{path}: no ground truth to read ({error}); `freshet synth` writes it") from error
    if records.dtype != TRUTH or records.ndim != 1:
        raise TruthError(f"{path}: holds {records.dtype}, not the ground truth of this version")
    pending = np.empty(0, TRUTH)
    for start in range(0, len(records), _CHUNK):
        chunk = np.concatenate((pending, records[start : start + _CHUNK]))
        begins = np.flatnonzero(chunk["position"] == 0)
        yield from np.split(chunk, begins[1:])[:-1]
        pending = chunk[begins[-1] :]
    if len(pending):
        yield pending


def oracle_scores(folder: Path) -> Iterator[NDArray[np.float32]]:
    """Yield the oracle's scores (n,), float32, for each line of ``behaviors.tsv``, in its order.

    Raises:
        TruthError: The folder has no ``truth.npy``, or one in another format.
    """
    for slate in read_truth(folder):
        yield attraction(log_odds(slate)).astype(np.float32)


def click_probabilities(slate: NDArray[np.void]) -> NDArray[np.float64]:
    """Compute the true click probabilities (n,) of a slate's candidates, given at least one click."""
    chance = examination(slate["position"]) * attraction(log_odds(slate))
    return np.asarray(chance / -np.expm1(np.log1p(-chance).sum()))


def log_odds(slate: NDArray[np.void]) -> NDArray[np.float64]:
    """Sum the contributions of each candidate of a slate (n,)."""
    return np.asarray(np.sum([slate[name].astype(np.float64) for name in CONTRIBUTIONS], axis=0))
