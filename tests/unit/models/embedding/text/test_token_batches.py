"""Batches are bounded by what they cost, hold every text once, and shrink until they fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.models.embedding.text.token_batches import Rows, compute_halving, token_batches


@given(st.lists(st.integers(0, 600)), st.integers(1, 2_000))
def test_every_text_is_in_one_batch_within_the_budget(lengths: list[int], max_batch_tokens: int) -> None:
    batches = token_batches(lengths, max_batch_tokens)

    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or longest * len(batch) <= max_batch_tokens
    assert [lengths[row] for batch in batches for row in batch] == sorted(lengths, reverse=True)


def test_one_outlier_does_not_pad_the_short_texts() -> None:
    lengths = [10] * 50 + [500]

    batches = token_batches(lengths, 500)

    assert [batch.tolist() for batch in batches] == [[50], list(range(50))]


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="max_batch_tokens"):
        token_batches([1], 0)


@given(st.integers(1, 100), st.integers(1, 20))
def test_a_batch_too_large_is_computed_in_halves(rows: int, fits: int) -> None:
    computed: list[int] = []
    failed: list[int] = []

    def compute(batch: Rows) -> None:
        if len(batch) > fits:
            raise MemoryError
        computed.extend(batch)

    compute_halving(np.arange(rows), compute, lambda error: isinstance(error, MemoryError), failed.append)

    assert computed == list(range(rows))
    assert all(size > fits for size in failed)
    assert bool(failed) == (rows > fits)


def test_a_single_text_that_does_not_fit_is_an_error() -> None:
    def compute(batch: Rows) -> None:
        raise MemoryError(f"{len(batch)} rows")

    with pytest.raises(MemoryError, match="1 rows"):
        compute_halving(np.arange(8), compute, lambda error: True, lambda size: None)


def test_an_error_that_halving_cannot_help_is_not_retried() -> None:
    calls: list[int] = []

    def compute(batch: Rows) -> None:
        calls.append(len(batch))
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        compute_halving(
            np.arange(8), compute, lambda error: isinstance(error, MemoryError), lambda size: None
        )
    assert calls == [8]
