"""What is tuned is what is saved and served; what is frozen stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from freshet.models.embedding.text.encoder import TransformerEncoder
from freshet.models.embedding.text.model_folder import model_location
from freshet.models.embedding.text.pooling import TextPooling
from freshet.models.training.headlines.text_tuning import TextTuning

TEXTS = ("a short one", "a text with rather more words than the others have", "you will not believe it")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random layers with the tokenizer of MiniLM."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, hidden_act="gelu"
    )
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_location("minilm")).save_pretrained(folder)
    return folder


def _vectors(tuning: TextTuning) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    tuning.eval()
    with torch.no_grad():
        given: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = tuning(
            *tuning.frozen_states(TEXTS).batch(np.arange(len(TEXTS)))
        ).numpy()
    return given


def _moved(tuning: TextTuning) -> TextTuning:
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return tuning


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
@pytest.mark.parametrize(("layers", "tuned"), [(3, 2), (2, 1), (2, 2), (2, 0)])
def test_the_saved_encoder_gives_the_vectors_of_training(
    tiny_bert: Path, tmp_path: Path, layers: int, tuned: int, pooling: TextPooling
) -> None:
    tuning = _moved(TextTuning(str(tiny_bert), layers=layers, tuned_layers=tuned, pooling=pooling))
    expected = _vectors(tuning)
    tuning.save(tmp_path / "encoder")
    served = TransformerEncoder(str(tmp_path / "encoder"), pooling=pooling, dtype=torch.float32)
    assert served.encode([(text, "") for text in TEXTS]) == pytest.approx(expected, abs=5e-3)
    assert (served.info.pooling, served.info.d) == (tuning.spec.pooling, tuning.spec.d)
    assert served.info.extra["max_tokens"] == tuning.spec.extra["max_tokens"]
    assert tuning.spec.tuned
    assert _vectors(tuning) == pytest.approx(expected), "saving leaves the module as it was"


def test_untouched_it_is_the_encoder_it_began_as(tiny_bert: Path) -> None:
    begun = TransformerEncoder(str(tiny_bert), dtype=torch.float32)
    tuning = TextTuning(str(tiny_bert))
    assert _vectors(tuning) == pytest.approx(begun.encode([(text, "") for text in TEXTS]), abs=5e-3)


def test_padding_and_company_do_not_change_a_vector(tiny_bert: Path) -> None:
    tuning = TextTuning(str(tiny_bert)).eval()
    states = tuning.frozen_states(TEXTS)
    together = _vectors(tuning)
    for number in range(len(TEXTS)):
        with torch.no_grad():
            alone = tuning(*states.batch(np.array([number]))).numpy()
        assert alone[0] == pytest.approx(together[number], abs=1e-5)


def test_only_the_tuned_layers_are_trained_and_kept_in_the_state(tiny_bert: Path) -> None:
    tuning = TextTuning(str(tiny_bert), tuned_layers=1)
    assert all(parameter.requires_grad for parameter in tuning.parameters())
    assert all(name.startswith("tuned.0.") for name in tuning.state_dict())
    states = tuning.frozen_states(TEXTS)
    tuning.train()
    tuning(*states.batch(np.arange(3))).sum().backward()
    assert all(parameter.grad is not None for parameter in tuning.parameters())
    assert (tuning.frozen_states(TEXTS).states == states.states).all(), "no dropout below"


def test_long_texts_are_cut(tiny_bert: Path) -> None:
    assert max(map(len, TextTuning(str(tiny_bert), max_tokens=5).tokens(TEXTS))) == 5


@pytest.mark.parametrize(("layers", "tuned"), [(4, 2), (0, 0), (2, 3), (2, -1)])
def test_more_layers_than_there_are_is_an_error(tiny_bert: Path, layers: int, tuned: int) -> None:
    with pytest.raises(ValueError, match="has 3 layers"):
        TextTuning(str(tiny_bert), layers=layers, tuned_layers=tuned)


def test_an_encoder_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    config = DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    DistilBertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_location("minilm")).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="only encoders of the BERT type can be tuned"):
        TextTuning(str(tmp_path))
    with pytest.raises(ValueError, match="Give the name of a model"):
        TextTuning(str(tmp_path / "nothing"))
