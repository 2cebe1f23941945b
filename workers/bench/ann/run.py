"""Speed, memory and recall of libraries of nearest neighbours on the same vectors.

Each is built in one fresh process and searched in another: what opening and asking adds to the second one's
resident memory is the library's own. In that process exact scoring in NumPy answers the same queries by
turns, so that a busy machine slows both. All compute with one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from freshet.workers.bench.ann.libraries import LIBRARIES, Library, is_installed
from freshet.workers.bench.ann.trial import QUERIES_FILE, VECTORS_FILE
from freshet.workers.bench.report import BenchReport, Figure, Machine
from freshet.workers.bench.vectors import SearchData, VectorsUnusable

NOT_INSTALLED = "not installed: pip install 'freshet[ann]'"
_TIMEOUT_S = 3_600.0
_MIB = 1 << 20
_THREADS = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
}


def run(
    data: SearchData,
    k: int = 100,
    libraries: Sequence[Library] = LIBRARIES,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure each library, and return figures by name; their names end with their units.

    A library that is not installed, cannot take the data or fails gets a row with ``problem`` alone.

    Args:
        data: What to search, and for what.
        k: How many articles each query asks for.
        libraries: Which.
        progress: Told how many libraries are done, and of how many.

    Raises:
        VectorsUnusable: There are not more than ``k`` vectors, or there is no query.
    """
    articles, d = data.vectors.shape
    if articles <= k or not len(data.queries):
        raise VectorsUnusable(
            f"{articles} vectors and {len(data.queries)} queries: more than k = {k} vectors are needed"
        )
    rows = []
    with tempfile.TemporaryDirectory(prefix="freshet-bench-ann-") as name:
        folder = Path(name)
        np.save(folder / VECTORS_FILE, data.vectors)
        np.save(folder / QUERIES_FILE, data.queries)
        for done, library in enumerate(libraries):
            progress(done, len(libraries))
            rows.append(_trial(library, folder, articles, k))
        progress(len(libraries), len(libraries))
    return {
        "floor": "exact scoring in NumPy: one matrix product, argpartition, sort; one thread",
        "memory": "what opening the saved index and asking adds to a fresh process, mapped files included",
        "vectors": data.source,
        "articles": articles,
        "d": d,
        "k": k,
        "queries": len(data.queries),
        "vectors_bytes": 4 * articles * d,
        "libraries": rows,
    }


def _trial(library: Library, folder: Path, articles: int, k: int) -> dict[str, Any]:
    row: dict[str, Any] = {"name": library.name, "title": library.title, "parameters": library.parameters}
    if not is_installed(library):
        return row | {"problem": NOT_INSTALLED}
    if articles < library.least_articles:
        return row | {"problem": f"needs at least {library.least_articles} articles"}
    try:
        return row | _child("build", library, folder, k) | _child("search", library, folder, k)
    except _TrialFailed as error:
        return row | {"problem": str(error)}


class _TrialFailed(Exception):
    """The child's last words."""


def _child(stage: str, library: Library, folder: Path, k: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "freshet.workers.bench.ann.trial",
        stage,
        library.name,
        str(folder),
        str(k),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=os.environ | _THREADS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _TrialFailed(f"{stage}: not done within {_TIMEOUT_S:g} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise _TrialFailed(f"{stage} failed: {last[0]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ann_report(found: dict[str, Any], machine: Machine) -> BenchReport:
    """The findings of :func:`run`: a figure for each search, and one line for each library."""
    figures = []
    for row in found["libraries"]:
        if "problem" in row:
            continue
        title, floor = f"{row['title']}, {row['parameters']}", "exact scoring in NumPy"
        figures += [
            Figure(f"{title}: search, p50", row["p50_ms"], "ms", row["floor_p50_ms"], floor),
            Figure(f"{title}: search, p99", row["p99_ms"], "ms", row["floor_p99_ms"], floor),
            Figure(f"{title}: recall@{found['k']}", row["recall"], ""),
            Figure(f"{title}: build", row["build_s"], "s"),
            Figure(
                f"{title}: memory",
                row["memory_bytes"] / _MIB,
                "MiB",
                found["vectors_bytes"] / _MIB,
                "the vectors",
            ),
        ]
    return BenchReport("ann", figures, machine, found, _table(found))


def _table(found: dict[str, Any]) -> Table:
    table = Table(
        title=(
            f"freshet bench ann: {found['articles']:,} articles, d = {found['d']}, "
            f"{found['queries']} queries ({found['vectors']})"
        ),
        title_justify="left",
        caption="floor: exact scoring of the same queries in the same process; memory: " + found["memory"],
        caption_justify="left",
    )
    table.add_column("library")
    for heading in ("build", "memory", f"recall\n@{found['k']}", "p50", "p99", "p50 /\nfloor"):
        table.add_column(heading, justify="right")
    for row in found["libraries"]:
        title = f"{row['title']}\n[dim]{row['parameters']}[/]"
        if "problem" in row:
            table.add_row(f"{title}\n{escape(row['problem'])}", *["-"] * 6)
            continue
        table.add_row(
            title,
            f"{row['build_s']:,.2f} s",
            f"{row['memory_bytes'] / _MIB:,.1f} MiB",
            f"{row['recall']:.3f}",
            f"{row['p50_ms']:.3f} ms",
            f"{row['p99_ms']:.3f} ms",
            f"{row['p50_ms'] / row['floor_p50_ms']:.2f}",
        )
    return table
