"""Builds the HNSW graph of a copied Qdrant Edge shard in a process of its own.

Why a process: ``EdgeShard.optimize`` of qdrant-edge-py 0.9.0 holds the interpreter's lock from beginning to
end (60 s for 100,000 vectors of 64 dimensions on two busy cores), and no other Python thread runs meanwhile.

The process works on a copy that nobody else opens, at low priority, and ends with its parent, however
that ends.
Run as ``python -m freshet.streams.index.edge_optimizer FOLDER``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import EdgeShard, Point, PointVectors, Record, ScrollRequest, UpdateOperation

from freshet.models.articles import inner_product
from freshet.models.ports import FloatMatrix

_NICENESS = 5
"""A third of the share of an ordinary process: behind serving, but not starved by it."""

_PAGE = 1_000
_TOLERANCE = 0.9
"""Shorter than this share of the longest: 0.9 costs no measurable recall and spares most points a rewrite."""


class OptimizationError(RuntimeError):
    """A copy could not be optimized; the original is untouched."""


class Optimization:
    """A copy of one shard, being optimized.

    Args:
        source: The shard's folder; the caller lets nobody write to it until this constructor returns. Its
            write-ahead log is copied along, so it needs no flush before.
        target: The folder of the optimized copy; replaced if it exists.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._target = target
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # The child reads nothing from its standard input; the pipe breaks when this process ends.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )

    @property
    def pid(self) -> int:
        """The id of the process that optimizes."""
        return self._process.pid

    def finished(self) -> bool:
        """Whether the copy is ready to be loaded.

        Raises:
            OptimizationError: The process failed.
        """
        code = self._process.poll()
        if code is None:
            return False
        self._errors.seek(0)
        report = self._errors.read().decode(errors="replace").strip()
        self.cancel()
        if code:
            raise OptimizationError(f"optimizing {self._target} failed with code {code}: {report[-2_000:]}")
        return True

    def cancel(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._errors.close()


def _end_with_parent(pipe: int) -> None:
    # A thread that waits for the pipe's end would wait for the interpreter's lock, which optimize() holds:
    # the kernel has to end this process. A broken pipe sends SIGIO, whose default action is to terminate.
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def copy_points(points: Sequence[str], source: EdgeShard, target: EdgeShard) -> None:
    """Copy ``points`` from ``source`` to ``target``, and delete there those that ``source`` no longer has."""
    records = source.retrieve(list(points), True, True)
    if records:
        copies = [Point(record.id, record.vector or [], record.payload) for record in records]
        target.update(UpdateOperation.upsert_points(copies))
    gone = set(points).difference(str(record.id) for record in records)
    if gone:
        target.update(UpdateOperation.delete_points(list(gone)))


def level(shard: EdgeShard) -> None:
    """Lift short vectors to the length of the longest (:mod:`~freshet.models.articles.inner_product`).

    Each was lifted to the longest that was known when it was written.
    """
    points: list[int | uuid.UUID | str] = []
    lengths: list[NDArray[np.float64]] = []
    offset = None
    while True:
        records, offset = shard.scroll(ScrollRequest(offset, _PAGE, with_vector=True))
        points.extend(record.id for record in records)
        lengths.append(np.linalg.norm(_matrix(records).astype(np.float64), axis=1))
        if offset is None:
            break
    length = np.concatenate(lengths)  # (n,)
    common = float(length.max(initial=0.0))
    short = np.flatnonzero(length < _TOLERANCE * common)
    for start in range(0, len(short), _PAGE):
        records = shard.retrieve([points[row] for row in short[start : start + _PAGE]], False, True)
        vectors: list[list[float]] = inner_product.lifted(_matrix(records)[:, :-1], common).tolist()
        shard.update(
            UpdateOperation.update_vectors(
                [PointVectors(record.id, vector) for record, vector in zip(records, vectors, strict=True)]
            )
        )


def _matrix(records: Sequence[Record]) -> FloatMatrix:
    return np.asarray([record.vector for record in records], np.float32).reshape(len(records), -1)


def main() -> None:
    """Level and optimize the shard in the folder named on the command line, and flush it."""
    _end_with_parent(sys.stdin.fileno())
    os.nice(_NICENESS)
    shard = EdgeShard.load(sys.argv[1])
    level(shard)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main()
