"""The article tower: NumPy and torch agree, unknown articles score 0, a bundle's damage has a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from freshet.models.datasets.article_features import table_vectors
from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import (
    Activation,
    Bundle,
    BundleError,
    Feature,
    Manifest,
    TowerSpec,
    TrainingRecord,
    UserSpec,
    save_bundle,
)
from freshet.models.embedding.feature_tower import FeatureTower, vocabulary
from freshet.models.events.events import Article, from_unix_s
from freshet.models.training.towers.feature_tower import ArticleInputs, FeatureTowerModule, TowerSizes

D_TEXT = 6
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "category": ("news", "sports"),
    "subcategory": ("newsworld",),
    "entity": ("Q1", "Q2"),
    "news_id": ("N1", "N2", "N3"),
}
CLOSE = 1e-5


def table() -> ArticleTable:
    return ArticleTable(
        ids=("N1", "N2", "N9", "N3"),
        announced=np.array([True, True, False, True]),
        titles=["a", "b", "", "c"],
        abstracts=["", "", "", ""],
        categories=["news", "sports", "", "weather"],
        subcategories=["newsworld", "", "", ""],
        entities=["Q2", "", "", "Q7"],
    )


def texts() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).normal(size=(4, D_TEXT)).astype(np.float32)
    vectors[2] = 0.0
    return vectors


def articles() -> list[Article]:
    known = table()
    return [
        Article(
            news_id=known.ids[i],
            title="a title",
            published_at=from_unix_s(0.0),
            category=known.categories[i],
            subcategory=known.subcategories[i],
            entities=(known.entities[i],) if known.entities[i] else (),
        )
        for i in range(len(known))
    ]


def bundle_of(folder: Path, spec: TowerSpec, weights: Mapping[str, NDArray[np.float32]], d: int) -> Bundle:
    manifest = Manifest(
        name="tower",
        model="content",
        d=d,
        tower=spec,
        user=UserSpec(half_lives_s=(3_600.0,), negative_half_life_s=3_600.0, prior_weight=1.0),
        vocabularies=VOCABULARIES,
        training=TrainingRecord(folder="f", data_sha256="0", examples=1, seed=0),
    )
    return save_bundle(folder, manifest, weights)


def module_of(
    spec: TowerSpec, text: Sequence[int] = (), layers: Sequence[int] = (), *, batch_norm: bool = False
) -> FeatureTowerModule:
    torch.manual_seed(0)
    sizes = TowerSizes(
        d_text=D_TEXT if spec.uses_text else 0,
        text=tuple(text),
        entries={name: len(entries) for name, entries in VOCABULARIES.items()},
        embedding={"category": 3, "subcategory": 2, "entity": 4, "news_id": 5},
        layers=tuple(layers),
    )
    return FeatureTowerModule(spec, sizes, batch_norm=batch_norm, dropout=0.3, news_id_dropout=0.5)


ALL: tuple[Feature, ...] = ("category", "subcategory", "entity", "news_id")
TOWERS = [
    (TowerSpec(uses_text=True, text=("sigmoid",), features=ALL, layers=("none",)), (5,), (4,), False),
    (TowerSpec(uses_text=True, features=ALL[:2], layers=("relu", "tanh"), normalise=True), (), (7, 4), True),
    (TowerSpec(uses_text=True, text=("tanh", "none")), (5, 4), (), False),
    (TowerSpec(uses_text=True), (), (), False),
    (TowerSpec(features=("news_id",)), (), (), False),
]


@pytest.mark.parametrize(("spec", "text", "layers", "batch_norm"), TOWERS)
def test_numpy_and_torch_give_the_same_vectors(
    tmp_path: Path, spec: TowerSpec, text: tuple[int, ...], layers: tuple[int, ...], batch_norm: bool
) -> None:
    module = module_of(spec, text, layers, batch_norm=batch_norm)
    if spec.text:
        module.standardise(texts()[[0, 1, 3]] + 0.3)
    inputs = ArticleInputs.of(table(), spec, VOCABULARIES, texts())
    for _ in range(20):  # what batch normalization remembers
        module.train()(inputs)
    with torch.no_grad():
        wanted = module.eval()(inputs).numpy()
    tower = FeatureTower(bundle_of(tmp_path / "b", spec, module.export(), module.d))
    np.testing.assert_allclose(table_vectors(tower, table(), texts()), wanted, atol=CLOSE)
    np.testing.assert_allclose(tower.vectors(texts(), articles()), wanted, atol=CLOSE)
    assert (tower.d, tower.d_text) == (module.d, D_TEXT if spec.uses_text else 0)


def test_an_article_of_which_nothing_is_known_has_the_zero_vector(tmp_path: Path) -> None:
    spec, text, layers, _ = TOWERS[0]
    module = module_of(spec, text, layers)
    tower = FeatureTower(bundle_of(tmp_path / "b", spec, module.export(), module.d))
    vectors = table_vectors(tower, table(), texts())
    assert not vectors[2].any()
    assert vectors[[0, 1, 3]].any(axis=1).all()


def test_without_its_id_an_article_is_what_a_new_one_is(tmp_path: Path) -> None:
    spec, text, layers, _ = TOWERS[0]
    module = module_of(spec, text, layers).eval()
    exported = module.exported_spec(without_news_id=True)
    tower = FeatureTower(bundle_of(tmp_path / "b", exported, module.export(without_news_id=True), module.d))
    inputs = ArticleInputs.of(table(), spec, VOCABULARIES | {"news_id": ()}, texts())
    with torch.no_grad():
        wanted = module(inputs).numpy()
    assert exported.features == ALL[:3]
    np.testing.assert_allclose(table_vectors(tower, table(), texts()), wanted, atol=CLOSE)


def test_a_tower_of_ids_alone_needs_no_text_and_knows_no_other_article(tmp_path: Path) -> None:
    spec = TowerSpec(features=("news_id",))
    weights = {
        "article.news_id.weight": np.arange(8, dtype=np.float32).reshape(4, 2) + 1.0,
        "article.bias": np.array([0.0, 1.0, 2.0, 3.0], np.float32),
    }
    tower = FeatureTower(bundle_of(tmp_path / "b", spec, weights, 2))
    assert table_vectors(tower, table()).tolist() == [[3.0, 4.0], [5.0, 6.0], [0.0, 0.0], [7.0, 8.0]]
    assert tower.id_vectors(["N2", "N9"]).tolist() == [[5.0, 6.0], [0.0, 0.0]]
    assert tower.biases(["N2", "N9"]).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("activation", ["none", "sigmoid", "relu", "tanh"])
def test_no_number_overflows_an_activation(tmp_path: Path, activation: Activation) -> None:
    spec = TowerSpec(uses_text=True, text=(activation,))
    weights = {
        "article.text.0.weight": np.array([[1.0], [-1.0]], np.float32),
        "article.text.0.bias": np.zeros(2, np.float32),
    }
    tower = FeatureTower(bundle_of(tmp_path / "b", spec, weights, 2))
    vectors = table_vectors(tower, table(), np.full((4, 1), 1e4, np.float32))
    assert np.isfinite(vectors).all()


def test_a_bundle_that_does_not_fit_its_manifest_is_refused(tmp_path: Path) -> None:
    spec, text, layers, _ = TOWERS[0]
    module = module_of(spec, text, layers)
    weights = module.export()
    with pytest.raises(BundleError, match="4 dimensions, not d = 5"):
        FeatureTower(bundle_of(tmp_path / "a", spec, weights, 5))
    short = weights | {"article.category.weight": weights["article.category.weight"][:-1]}
    with pytest.raises(BundleError, match=r"article.category.weight has shape \(2, 3\).*\(3, any\)"):
        FeatureTower(bundle_of(tmp_path / "b", spec, short, 4))
    del weights["article.layers.0.bias"]
    with pytest.raises(BundleError, match=r"no article.layers.0.bias"):
        FeatureTower(bundle_of(tmp_path / "c", spec, weights, 4))


def test_text_vectors_of_another_encoder_are_refused(tmp_path: Path) -> None:
    spec, text, layers, _ = TOWERS[0]
    module = module_of(spec, text, layers)
    tower = FeatureTower(bundle_of(tmp_path / "b", spec, module.export(), module.d))
    with pytest.raises(ValueError, match=r"needs text vectors of shape \(4, 6\), got \(4, 5\)"):
        table_vectors(tower, table(), texts()[:, :5])
    with pytest.raises(ValueError, match="got none"):
        table_vectors(tower, table())


def test_text_cannot_be_standardized_without_a_layer_to_fold_that_into() -> None:
    with pytest.raises(ValueError, match="text layer"):
        module_of(TowerSpec(uses_text=True)).standardise(texts())


def test_sizes_that_are_not_the_towers_are_refused() -> None:
    with pytest.raises(ValueError, match="no size for the tables of entity"):
        FeatureTowerModule(TowerSpec(features=("entity",)), TowerSizes())
    with pytest.raises(ValueError, match="d_text"):
        FeatureTowerModule(TowerSpec(uses_text=True), TowerSizes())
    with pytest.raises(ValueError, match="0 and 1"):
        FeatureTowerModule(TowerSpec(features=("entity",), layers=("none",)), TowerSizes())


def test_a_vocabulary_begins_with_the_most_frequent_and_has_no_empty_entry() -> None:
    values = ["b", "a", "", "c", "b", "", ""]
    assert vocabulary(values) == ("b", "a", "c")
    assert vocabulary(values, minimum=2) == ("b",)
    assert vocabulary(values, limit=2) == ("b", "a")
