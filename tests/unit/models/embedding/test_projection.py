"""The untrained content tower keeps dot products, knows its version, and gives every article a vector."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from freshet.models.embedding.projection import Projection, orthonormal_rows
from freshet.models.events.events import Article
from freshet.models.ports import EncoderInfo

GOLDEN_ROWS = [[0.605362, 0.335869, 0.640882], [0.059767, 0.733863, -0.422949]]
GOLDEN_SPORTS = [-0.445772, 0.610595, -0.654067, -0.025643]
MINILM = EncoderInfo("minilm", "mean", 384, {"max_tokens": "256"})


def article(news_id: str, category: str = "", subcategory: str = "") -> Article:
    return Article(
        news_id=news_id,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        category=category,
        subcategory=subcategory,
    )


def test_rows_are_orthonormal() -> None:
    rows = orthonormal_rows(384, 64, seed=3)

    assert rows.shape == (64, 384)
    np.testing.assert_allclose(rows @ rows.T, np.eye(64), atol=1e-6)


def test_the_projection_is_the_same_on_every_machine() -> None:
    # Figures of the first version: articles embedded before an upgrade must stay comparable after it.
    np.testing.assert_allclose(orthonormal_rows(6, 2, seed=0)[:, :3], GOLDEN_ROWS, atol=1e-6)
    vector = Projection(EncoderInfo("e", "mean", 6), 4).vectors(
        np.zeros((1, 6), dtype=np.float32), [article("n", "sports")]
    )
    np.testing.assert_allclose(vector[0], GOLDEN_SPORTS, atol=1e-6)


def test_dot_products_of_texts_survive_the_projection() -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((200, 384)).astype(np.float32)
    texts[100:] = texts[:100] + 0.5 * rng.standard_normal((100, 384)).astype(np.float32)
    articles = [article(f"n{row}") for row in range(200)]

    vectors = Projection(MINILM, 64).vectors(texts, articles)

    true = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    error = (vectors @ vectors.T) - (true @ true.T)
    assert np.sqrt(np.mean(error**2)) < 1.2 / np.sqrt(64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_an_article_without_text_is_near_its_category() -> None:
    tower = Projection(MINILM, 64)
    nothing = np.zeros((3, 384), dtype=np.float32)

    sports, tennis, food = tower.vectors(
        nothing, [article("a", "sports"), article("b", "sports", "tennis"), article("c", "food")]
    )

    assert sports @ tennis > 0.8
    assert abs(sports @ food) < 0.5
    assert np.linalg.norm(sports) == pytest.approx(1, abs=1e-5)


def test_text_outweighs_the_category() -> None:
    tower = Projection(MINILM, 64)
    text = np.random.default_rng(1).standard_normal((1, 384)).astype(np.float32)

    same_text = tower.vectors(np.repeat(text, 2, axis=0), [article("a", "sports"), article("b", "food")])

    assert same_text[0] @ same_text[1] > 0.8


def test_an_article_of_which_nothing_is_known_has_a_zero_vector() -> None:
    vectors = Projection(MINILM, 8).vectors(np.zeros((1, 384), dtype=np.float32), [article("a")])

    assert vectors.tolist() == [[0.0] * 8]


def test_a_vector_depends_on_its_own_article_alone() -> None:
    tower = Projection(MINILM, 16)
    texts = np.random.default_rng(2).standard_normal((3, 384)).astype(np.float32)
    articles = [article("a", "x"), article("b", "y"), article("c")]

    together = tower.vectors(texts, articles)

    for row in range(3):
        alone = tower.vectors(texts[row : row + 1], articles[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_more_dimensions_than_the_text_has_are_refused() -> None:
    with pytest.raises(ValueError, match="choose a dimension from 1 to 384"):
        Projection(MINILM, 385)


def test_text_vectors_of_another_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(1, 384\\)"):
        Projection(MINILM, 8).vectors(np.zeros((1, 512), dtype=np.float32), [article("a")])


def test_the_bundle_names_everything_that_decides_a_vector() -> None:
    bundle = Projection(MINILM, 64).bundle

    assert bundle.startswith("untrained-minilm-mean-64-")
    assert Projection(MINILM, 64).bundle == bundle
    others = {
        Projection(MINILM, 64, seed=1).bundle,
        Projection(MINILM, 32).bundle,
        Projection(EncoderInfo("minilm", "cls", 384, MINILM.extra), 64).bundle,
        Projection(EncoderInfo("minilm", "mean", 384, {"max_tokens": "128"}), 64).bundle,
        Projection(EncoderInfo("other/minilm", "mean", 384, MINILM.extra), 64).bundle,
    }
    assert len(others | {bundle}) == 6


def test_the_bundle_of_any_encoder_names_a_collection_and_a_folder() -> None:
    bundle = Projection(EncoderInfo("/models/my bert: v2/", "cls", 384), 8).bundle

    assert bundle.startswith("untrained-my-bert-v2-cls-8-")
