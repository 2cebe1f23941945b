"""Lifting changes no dot product, and makes its order that of distances and of angles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from freshet.models.articles.inner_product import angular, lifted, lifted_queries, longest
from freshet.models.ports import FloatMatrix

ROUNDING = 1e-6
"""Of float32, relative to the largest dot product that the norms allow."""
ROUNDING64 = 1e-14
"""Of float64, in which the tests sum squares: a query far longer than the articles drowns them."""

vectors = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 20), st.just(5)), elements=st.floats(-100, 100, width=32)
)
query = arrays.arrays(np.float32, (1, 5), elements=st.floats(-100, 100, width=32))


def _ordered_alike(scores: FloatMatrix, likeness: FloatMatrix, tie: float) -> bool:
    """Whether every article that is better by more than ``tie`` is also the more alike."""
    better = scores[:, None] > scores[None, :] + tie
    return bool((likeness[:, None] > likeness[None, :])[better].all())


@given(vectors, vectors)
def test_a_dot_product_stays_what_it_was(articles: FloatMatrix, queries: FloatMatrix) -> None:
    before = queries @ articles.T
    after = lifted_queries(queries) @ lifted(articles, longest(articles)).T
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-2)


@given(vectors, query)
def test_the_order_of_distances_is_the_order_of_dot_products(articles: FloatMatrix, q: FloatMatrix) -> None:
    length = longest(articles)
    scores = articles.astype(np.float64) @ q[0].astype(np.float64)
    apart = lifted(articles, length).astype(np.float64) - lifted_queries(q).astype(np.float64)
    tie = ROUNDING * length * (length + longest(q)) + ROUNDING64 * longest(q) ** 2
    assert _ordered_alike(scores, -np.square(apart).sum(axis=1), tie)


@given(vectors, query)
def test_the_order_of_angles_is_the_order_of_dot_products(articles: FloatMatrix, q: FloatMatrix) -> None:
    scores = articles.astype(np.float64) @ q[0].astype(np.float64)
    rows = angular(articles).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    cosines = rows @ lifted_queries(q)[0].astype(np.float64) / np.where(norms > 0, norms, 1.0)
    assert _ordered_alike(scores, cosines, ROUNDING * longest(articles) * longest(q))


@given(vectors, query)
def test_distances_tell_the_dot_products(articles: FloatMatrix, q: FloatMatrix) -> None:
    length = longest(articles)
    apart = lifted(articles, length).astype(np.float64) - lifted_queries(q).astype(np.float64)
    distances = np.linalg.norm(apart, axis=1)
    found = (longest(q) ** 2 + length**2 - np.square(distances, dtype=np.float64)) / 2.0
    tie = ROUNDING * length * (length + longest(q)) + ROUNDING64 * longest(q) ** 2
    np.testing.assert_allclose(found, articles.astype(np.float64) @ q[0], atol=tie + 1e-30)


@given(vectors)
def test_all_vectors_become_as_long_as_the_longest(articles: FloatMatrix) -> None:
    length = longest(articles)
    lengths = np.linalg.norm(lifted(articles, length).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, length, rtol=1e-5, atol=1e-6)


@given(vectors)
def test_the_angular_form_has_norm_1_or_nothing_at_all(articles: FloatMatrix) -> None:
    lengths = np.linalg.norm(angular(articles).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1.0 if articles.any() else 0.0, rtol=1e-5)


@given(vectors)
def test_a_vector_longer_than_the_common_length_keeps_its_own(articles: FloatMatrix) -> None:
    short = longest(articles) / 2
    lengths = np.linalg.norm(lifted(articles, short), axis=1)
    own = np.linalg.norm(articles, axis=1)
    np.testing.assert_allclose(lengths, np.maximum(own, short), rtol=1e-4, atol=1e-4)


def test_no_vectors_have_no_length() -> None:
    assert longest(np.zeros((0, 5), np.float32)) == 0.0
    assert angular(np.zeros((0, 5), np.float32)).shape == (0, 6)


def test_a_long_article_is_found_before_the_nearest_one() -> None:
    articles = np.array([[1.0, 0.0], [3.0, 3.0]], np.float32)
    q = np.array([[1.0, 0.0]], np.float32)
    plain = np.linalg.norm(articles - q, axis=1)
    lifted_apart = np.linalg.norm(lifted(articles, longest(articles)) - lifted_queries(q), axis=1)
    assert plain.argmin() == 0
    assert lifted_apart.argmin() == int((articles @ q[0]).argmax()) == 1
