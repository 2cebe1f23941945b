"""Trial of one library in a process of its own, which isolates its memory and its crashes.

Run as ``python -m freshet.workers.bench.ann.trial build|search LIBRARY FOLDER K``: ``FOLDER`` has
``vectors.npy`` and ``queries.npy``, and gets a folder with the index. One JSON object goes to standard
output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from freshet.models.ports import FloatMatrix
from freshet.workers.bench.ann.libraries import Library, exact_rows, library_named
from freshet.workers.bench.report import percentile_ms

VECTORS_FILE = "vectors.npy"
QUERIES_FILE = "queries.npy"
ROUNDS = 3
_TURNS = 4
_WARM_UP = 20


def build(library: Library, folder: Path) -> dict[str, Any]:
    """Build and save the index of ``folder``: ``build_s`` and ``saved_bytes``."""
    vectors: FloatMatrix = np.load(folder / VECTORS_FILE)
    importlib.import_module(library.package)
    into = folder / library.name
    into.mkdir()
    started_s = time.perf_counter()
    library.build(vectors, into)
    build_s = time.perf_counter() - started_s
    return {
        "build_s": build_s,
        "saved_bytes": sum(file.stat().st_blocks * 512 for file in into.rglob("*") if file.is_file()),
    }


def search(library: Library, folder: Path, k: int) -> dict[str, Any]:
    """Open the index and ask every query ``ROUNDS`` times, in turns with exact scoring.

    Returns:
        ``memory_bytes`` is what opening and asking adds to this process, memory mapped from files included.
    """
    vectors: FloatMatrix = np.load(folder / VECTORS_FILE)
    queries: FloatMatrix = np.load(folder / QUERIES_FILE)
    best = [set(exact_rows(vectors, query, k).tolist()) for query in queries]
    importlib.import_module(library.package)
    if library.name == "qdrant-edge":
        importlib.import_module("freshet.streams.index.edge_index")
    before = _resident_bytes()
    started_s = time.perf_counter()
    ask = library.open(folder / library.name)
    open_s = time.perf_counter() - started_s
    for query in queries[:_WARM_UP]:
        ask(query, k)
    shared = answered = 0
    index_s: list[float] = []
    exact_s: list[float] = []
    for number in range(ROUNDS):
        # Turns of many queries: after each product over all vectors, the index would find the caches cold.
        for turn in np.array_split(np.arange(len(queries)), min(_TURNS, len(queries))):
            for row in turn.tolist():
                started_s = time.perf_counter()
                found = ask(queries[row], k)
                index_s.append(time.perf_counter() - started_s)
                if number == 0:
                    answered += len(found)
                    shared += len(best[row].intersection(found.tolist()))
            for row in turn.tolist():
                started_s = time.perf_counter()
                exact_rows(vectors, queries[row], k)
                exact_s.append(time.perf_counter() - started_s)
    wanted = sum(len(rows) for rows in best)
    return {
        "open_s": open_s,
        "memory_bytes": _resident_bytes() - before,
        "recall": shared / wanted,
        "answered": answered / wanted,
        "p50_ms": percentile_ms(index_s, 50),
        "p99_ms": percentile_ms(index_s, 99),
        "floor_p50_ms": percentile_ms(exact_s, 50),
        "floor_p99_ms": percentile_ms(exact_s, 99),
    }


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """See the module."""
    stage, name, folder, k = sys.argv[1:]
    library = library_named(name)
    found = build(library, Path(folder)) if stage == "build" else search(library, Path(folder), int(k))
    print(json.dumps(found), flush=True)
    # An index that is still open has threads of its own; nothing of it is wanted any more.
    os._exit(0)


if __name__ == "__main__":
    main()
