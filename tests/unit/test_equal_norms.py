"""Lifting makes vectors equally long and changes no dot product."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from freshet.models.ports import FloatMatrix
from freshet.streams.equal_norms import lifted, lifted_queries, longest

vectors = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 20), st.just(5)), elements=st.floats(-100, 100, width=32)
)


@given(vectors, vectors)
def test_a_dot_product_stays_what_it_was(articles: FloatMatrix, queries: FloatMatrix) -> None:
    before = queries @ articles.T
    after = lifted_queries(queries) @ lifted(articles, longest(articles)).T
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-2)


@given(vectors)
def test_all_vectors_become_as_long_as_the_longest(articles: FloatMatrix) -> None:
    length = longest(articles)
    lengths = np.linalg.norm(lifted(articles, length).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, length, rtol=1e-5, atol=1e-6)


@given(vectors)
def test_a_vector_longer_than_the_common_length_keeps_its_own(articles: FloatMatrix) -> None:
    short = longest(articles) / 2
    lengths = np.linalg.norm(lifted(articles, short), axis=1)
    own = np.linalg.norm(articles, axis=1)
    np.testing.assert_allclose(lengths, np.maximum(own, short), rtol=1e-4, atol=1e-4)


def test_no_vectors_have_no_length() -> None:
    assert longest(np.zeros((0, 5), np.float32)) == 0.0
