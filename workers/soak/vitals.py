"""Samples what must stay flat while freshet runs for long, and distinguishes growth from noise."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Vitals:
    """A sample of one process."""

    at_s: float
    """Monotonic seconds."""
    memory_bytes: int
    """Memory that the process alone holds: without the pages of files and libraries that others share."""
    threads: int
    open_files: int
    log_lines: int
    """Lines logged since the start."""


def sample(process: psutil.Process, at_s: float, log_lines: int) -> Vitals:
    """Look at ``process`` now.

    Raises:
        psutil.NoSuchProcess: It has ended.
    """
    with process.oneshot():
        return Vitals(
            at_s, process.memory_full_info().uss, process.num_threads(), process.num_fds(), log_lines
        )


def growth_per_min(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Estimate the growth of ``values`` in a minute: the median slope of all pairs (Theil, 1950; Sen, 1968).

    A few outliers, such as a garbage collection or a compaction, do not move it.

    Args:
        times_s: Seconds, ascending, at least two.
        values: One for each time.
    """
    slopes = [
        (values[later] - values[earlier]) / (times_s[later] - times_s[earlier])
        for earlier in range(len(values))
        for later in range(earlier + 1, len(values))
    ]
    return 60.0 * statistics.median(slopes)


def settled(samples: Sequence[Vitals]) -> Sequence[Vitals]:
    """The last third of ``samples``: before it, caches and write buffers fill."""
    return samples[2 * len(samples) // 3 :]
