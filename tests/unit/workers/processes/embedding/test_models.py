"""An embedding worker gets the tower of its bundle and the encoder that this was trained with, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from freshet.models.embedding.bundle import EncoderSpec
from freshet.models.embedding.projection import Projection
from freshet.models.embedding.text.encoder import TransformerEncoder
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding import models as embedding_models
from freshet.workers.processes.embedding.models import EncoderUnusable, encoder_location, open_models
from tests.bundles import random_bundle


def test_a_tower_without_text_opens_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_models, "_open_encoder", None)
    models = open_models(Settings(), random_bundle(tmp_path / "b", d=8))
    assert models.tower.d == 8
    assert models.encoder.encode([("a title", ""), ("", "")]).shape == (2, 1)


def test_the_bundles_encoder_is_opened_whatever_the_settings_say(tmp_path: Path) -> None:
    mean = TransformerEncoder("minilm", pooling="cls", threads=1)
    spec = EncoderSpec(name="minilm", pooling="cls", d=384, extra=dict(mean.info.extra))
    bundle = random_bundle(tmp_path / "b", d=8, encoder=spec)
    models = open_models(Settings(encoder="elsewhere/encoder", pooling="mean"), bundle, threads=1)
    assert models.encoder.info == spec.info
    text = [("Storm closes passes", "")]
    assert np.array_equal(models.encoder.encode(text), mean.encode(text))

    other = EncoderSpec(name="minilm", pooling="cls", d=384, extra={**mean.info.extra, "weights": "0123"})
    with pytest.raises(EncoderUnusable, match=r"trained with encoder minilm .*weights 0123.* but minilm is"):
        open_models(Settings(), random_bundle(tmp_path / "c", d=8, encoder=other), threads=1)


def test_an_encoder_is_found_by_the_last_part_of_its_folder(tmp_path: Path) -> None:
    spec = EncoderSpec(name="my-bert", pooling="mean", d=8)
    bundle = random_bundle(tmp_path / "b", encoder=spec)
    assert encoder_location(bundle, spec, Settings()) == "my-bert"
    assert encoder_location(bundle, spec, Settings(encoder="/models/my-bert")) == "/models/my-bert"
    tuned = spec.model_copy(update={"tuned": True})
    assert encoder_location(bundle, tuned, Settings()) == str(bundle.folder / "encoder")


def test_without_a_bundle_the_tower_is_the_untrained_projection() -> None:
    models = open_models(Settings(dimension=16), threads=1)
    assert isinstance(models.tower, Projection)
    assert models.tower.bundle.startswith("untrained-minilm-mean-16-")
    with pytest.raises(EncoderUnusable, match="400 dimensions"):
        open_models(Settings(dimension=400), threads=1)
