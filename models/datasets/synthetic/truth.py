"""What only the maker of a synthetic stream knows of each candidate, in a file beside ``behaviors.tsv``.

``truth.npy`` holds one record for each candidate slot, in the order of ``behaviors.tsv``: 9 bytes, readable
by any NumPy without pickle. ``position`` 0 begins an impression.

The *oracle* is the best that a ranker could do: it knows the reader's interest and mood, the article's
quality and timeliness and the reader's fatigue, exactly, but not the position, because who ranks decides on
the position. Its score is the attraction, the chance of a click once looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from freshet.models.datasets.synthetic.stream import ImpressionBatch, attraction, examination

TRUTH_FILE = "truth.npy"

CONTRIBUTIONS = ("interest", "quality", "timeliness", "fatigue")
"""The log-odds that add up to a candidate's attraction."""

TRUTH = np.dtype([*((name, "<f2") for name in CONTRIBUTIONS), ("position", "u1")])

_CHUNK = 1 << 16


class TruthError(ValueError):
    """A folder has no ground truth, or not in this format."""


class TruthWriter:
    """Writes ``truth.npy`` batch by batch; the number of records is known at the end."""

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = (folder / TRUTH_FILE).open("wb")
        self._written = 0
        self._header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.seek(0)
        self._header()
        self._file.close()

    def write(self, batch: ImpressionBatch) -> None:
        """Add the candidates of a batch."""
        records = np.empty(len(batch.articles), TRUTH)
        for name in CONTRIBUTIONS:
            records[name] = getattr(batch, name)
        records["position"] = batch.positions
        self._file.write(records.tobytes())
        self._written += len(records)

    def _header(self) -> None:
        # NumPy pads the header so that it keeps its length whatever the number of records.
        header = {"descr": np.lib.format.dtype_to_descr(TRUTH), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (self._written,)})


def read_truth(folder: Path) -> Iterator[NDArray[np.void]]:
    """One array of ``TRUTH`` records for each line of ``behaviors.tsv``, in its order; memory is bounded.

    Raises:
        TruthError: The folder has no ``truth.npy``, or another format.
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
    """The oracle's score of every candidate, one array for each line of ``behaviors.tsv``, in its order.

    Raises:
        TruthError: As :func:`read_truth`.
    """
    for slate in read_truth(folder):
        yield attraction(log_odds(slate)).astype(np.float32)


def click_probabilities(slate: NDArray[np.void]) -> NDArray[np.float64]:
    """True chance of a click for each candidate of a slate (n,), position and the certain click included."""
    chance = examination(slate["position"]) * attraction(log_odds(slate))
    return np.asarray(chance / -np.expm1(np.log1p(-chance).sum()))


def log_odds(slate: NDArray[np.void]) -> NDArray[np.float64]:
    """Sum of a slate's contributions (n,)."""
    return np.asarray(np.sum([slate[name].astype(np.float64) for name in CONTRIBUTIONS], axis=0))
