"""Batches of texts bounded by their padded tokens, not by their number of texts.

A padded batch costs its longest text times its number of texts. Texts are sorted by length, so that hardly
anything is padded, and the longest come first, so that a batch that does not fit in memory shows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Positions of texts in the caller's list."""


def token_batches(lengths: Sequence[int], max_batch_tokens: int) -> list[Rows]:
    """Partition texts into batches, every text in exactly one.

    Args:
        lengths: Tokens of each text.
        max_batch_tokens: Maximum of longest text times number of texts; a longer text is alone.

    Returns:
        The texts' positions, longest first; texts of equal length keep their order.

    Raises:
        ValueError: ``max_batch_tokens`` is not positive.
    """
    if max_batch_tokens < 1:
        raise ValueError(f"max_batch_tokens is {max_batch_tokens}, it must be at least 1")
    by_length = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches: list[Rows] = []
    start = 0
    while start < len(by_length):
        longest = max(1, lengths[by_length[start]])
        end = start + max(1, max_batch_tokens // longest)
        batches.append(by_length[start:end])
        start = end
    return batches


def compute_halving(
    rows: Rows,
    compute: Callable[[Rows], None],
    half_may_succeed: Callable[[Exception], bool],
    on_halved: Callable[[int], None],
) -> None:
    """Compute ``rows``, halving each batch that fails in a way that a smaller one may not.

    Args:
        rows: The batch.
        compute: Computes some of ``rows``; it must be repeatable after a failure.
        half_may_succeed: Whether half of a batch that failed with this exception may succeed.
        on_halved: Called with the size of each batch that failed, before its halves are tried.

    Raises:
        Exception: What ``compute`` raised, when halving cannot help or a single row failed.
    """
    waiting = [rows]
    while waiting:
        batch = waiting.pop()
        try:
            compute(batch)
            continue
        except Exception as error:
            if len(batch) == 1 or not half_may_succeed(error):
                raise
        # Outside the handler: the exception, which holds the failed batch's tensors, is gone by now.
        on_halved(len(batch))
        middle = len(batch) // 2
        waiting += [batch[middle:], batch[:middle]]
