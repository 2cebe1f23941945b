"""A bundle comes back as it was saved, and one that is damaged, changed or not finite is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from freshet.models.embedding.bundle import (
    Bundle,
    BundleError,
    EncoderSpec,
    Manifest,
    TowerSpec,
    TrainingRecord,
    UserSpec,
    load_bundle,
    save_bundle,
)


def manifest(**changes: object) -> Manifest:
    return Manifest(
        **{
            "name": "small",
            "model": "content-tower",
            "d": 3,
            "encoder": EncoderSpec(name="minilm", pooling="mean", d=4),
            "tower": TowerSpec(uses_text=True, text=("sigmoid",), features=("category",), layers=("none",)),
            "user": UserSpec(half_lives_s=(60.0,), negative_half_life_s=60.0, prior_weight=1.0),
            "vocabularies": {"category": ("sport", "politics")},
            "training": TrainingRecord(folder="f", data_sha256="0", examples=1, seed=0),
        }
        | changes
    )


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "article.text.0.weight": random.normal(size=(2, 4)).astype(np.float32),
        "article.category.weight": random.normal(size=(3, 2)).astype(np.float32),
    }


def saved(folder: Path, **changes: object) -> Bundle:
    return save_bundle(folder, manifest(**changes), weights())


def test_a_bundle_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    bundle = saved(tmp_path / "b")
    again = load_bundle(tmp_path / "b")
    assert again.manifest == bundle.manifest
    assert again.id == f"small-{again.manifest.version}"
    for name, weight in weights().items():
        np.testing.assert_array_equal(again.weights[name], weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


def test_equal_content_has_one_version_and_other_content_another(tmp_path: Path) -> None:
    first = saved(tmp_path / "a").id
    assert saved(tmp_path / "b").id == first
    assert save_bundle(tmp_path / "c", manifest(), weights(1)).id != first
    assert saved(tmp_path / "d", d=4).id != first


def test_a_bundle_is_replaced_and_another_folder_is_not(tmp_path: Path) -> None:
    saved(tmp_path / "b")
    assert saved(tmp_path / "b", model="other").manifest.model == "other"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(BundleError, match="not empty and no bundle"):
        saved(tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_a_tuned_encoder_moves_in_and_counts_in_the_version(tmp_path: Path) -> None:
    versions = set()
    for text in ("one", "two"):
        encoder = tmp_path / "encoder"
        encoder.mkdir()
        (encoder / "config.json").write_text(text)
        bundle = save_bundle(tmp_path / text, manifest(), weights(), encoder)
        assert (tmp_path / text / "encoder" / "config.json").read_text() == text
        versions.add(bundle.id)
    assert len(versions) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, value: float) -> None:
    bad = weights()
    bad["article.category.weight"][1, 1] = value
    with pytest.raises(BundleError, match=r"1 of the 6 weights of article\.category\.weight are not finite"):
        save_bundle(tmp_path / "b", manifest(), bad)
    assert not (tmp_path / "b").exists()


def test_weights_changed_on_disk_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "b")
    path = tmp_path / "b" / "weights.safetensors"
    changed = {name: weight + 1 for name, weight in load_file(path).items()}
    save_file(changed, path)
    with pytest.raises(BundleError, match="changed or damaged"):
        load_bundle(tmp_path / "b")


def test_a_manifest_changed_on_disk_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "b")
    path = tmp_path / "b" / "bundle.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"d": 5}))
    with pytest.raises(BundleError, match="changed or damaged"):
        load_bundle(tmp_path / "b")
    path.write_text(json.dumps(described | {"d": "many"}))
    with pytest.raises(BundleError, match=r"bundle\.json: d: "):
        load_bundle(tmp_path / "b")
    path.write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(tmp_path / "b")


def test_missing_or_torn_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        load_bundle(tmp_path)
    saved(tmp_path / "b")
    path = tmp_path / "b" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(tmp_path / "b")
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", ["", "../b", "a b", "x" * 65])
def test_a_name_that_is_no_part_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        manifest(name=name)
