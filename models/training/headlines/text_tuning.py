"""Fine-tuning of the last layers of a BERT text encoder together with the model that reads its vectors.

The lower layers stay as they are, so that what they give for a text is computed once and kept; each epoch
then costs only the layers that are tuned. Layers at the top can be left out altogether: those of an encoder
trained to compare sentences have given up much of what a lower layer still knows of the wording, and a
shallower encoder is faster in the stream too.

Guarantees: in eval mode the vectors are those of
:class:`~freshet.models.embedding.text.encoder.TransformerEncoder` on the folder that :meth:`TextTuning.save`
writes, to float rounding; a token's vector depends on its own text alone.

Why so few layers: fine-tuning a whole encoder on some thousand texts is unstable (Mosbach et al., "On the
Stability of Fine-tuning BERT", ICLR 2021), and distorts good features unless the reading layer starts from
its best weights on the frozen ones (Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BertModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from freshet.models.embedding.bundle import EncoderSpec
from freshet.models.embedding.text.model_folder import longest_input, model_location
from freshet.models.embedding.text.pooling import TextPooling, pool
from freshet.models.embedding.text.token_batches import token_batches

FROZEN_BATCH_TOKENS = 2_048
MAX_LENGTH_FILE = "sentence_bert_config.json"

Progress = Callable[[int, int], None]
"""Callback with the texts done and the number of texts."""


@dataclass(frozen=True)
class TokenStates:
    """States of the frozen layers for each token of some texts, one text after another."""

    states: NDArray[np.float16]
    """Shape (tokens, hidden). Half precision: 160,000 titles are 2.5 GB instead of 5."""
    start: NDArray[np.int64]
    """Shape (texts + 1,): text ``i`` has the tokens ``start[i]`` to before ``start[i + 1]``."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens (texts,) of each text."""
        return np.diff(self.start)

    def batch(self, texts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Padded states (n, t, hidden) float32 and mask (n, t) bool of the texts of these numbers."""
        lengths = self.lengths[texts]
        mask = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
        tokens = np.repeat(self.start[texts] - (np.cumsum(lengths) - lengths), lengths)
        padded = np.zeros((*mask.shape, self.states.shape[1]), np.float32)
        padded[mask] = self.states[tokens + np.arange(len(tokens))]
        return torch.from_numpy(padded), torch.from_numpy(mask)


class TextTuning(nn.Module):
    """A BERT encoder whose last layers are trained.

    Args:
        name: Name for :class:`~freshet.models.embedding.text.encoder.TransformerEncoder`.
        layers: Number of layers that are kept, from the bottom; by default all.
        tuned_layers: Number of those, from the top, that are trained; 0 trains none.
        pooling: Pooling of token vectors into a text vector.
        max_tokens: Longer texts are cut; without it what the model's own configuration says.
        dropout: Dropout rate of the tuned layers, in training.

    Raises:
        ValueError: There is no such model, it is no BERT, or it does not have so many layers.
    """

    def __init__(
        self,
        name: str = "minilm",
        *,
        layers: int | None = None,
        tuned_layers: int = 2,
        pooling: TextPooling = "mean",
        max_tokens: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        location = model_location(name)
        try:
            self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                location, trust_remote_code=False
            )
            model: Any = AutoModel.from_pretrained(location, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"encoder {name!r}: {error} Give the name of a model on Hugging Face, or a folder."
            ) from error
        if not isinstance(model, BertModel):
            raise ValueError(
                f"encoder {name!r} is a {type(model).__name__}: only encoders of the BERT type can be tuned"
            )
        found = len(model.encoder.layer)
        kept = found if layers is None else layers
        if not 1 <= kept <= found or not 0 <= tuned_layers <= kept:
            raise ValueError(
                f"layers is {kept} and tuned_layers {tuned_layers}; encoder {name!r} has {found} layers, "
                "and at most those that are kept can be tuned"
            )
        self.name = Path(location).name if name != "minilm" else name
        self.pooling = pooling
        longest = longest_input(location, self._tokenizer.model_max_length, model.config)
        self.max_tokens = min(max_tokens or longest, longest)
        self.d = int(model.config.hidden_size)
        blocks = list(model.encoder.layer)[:kept]
        self._lower = blocks[: kept - tuned_layers]
        self.tuned = nn.ModuleList(blocks[kept - tuned_layers :])
        for module in self.tuned.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        model.config.num_hidden_layers = kept
        model.encoder.layer = nn.ModuleList(self._lower)
        model.requires_grad_(False)
        model.train(False)
        # In a tuple, so that it is no part of this module: what is not trained has no place in the state that
        # training copies after every epoch.
        self._frozen: tuple[BertModel] = (model,)

    @property
    def spec(self) -> EncoderSpec:
        """Description of the saved encoder for a bundle's manifest."""
        extra = {"layers": str(self._kept), "max_tokens": str(self.max_tokens), "normalised": "false"}
        return EncoderSpec(name=self.name, pooling=self.pooling, d=self.d, extra=extra, tuned=True)

    @property
    def _kept(self) -> int:
        return len(self._lower) + len(self.tuned)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, the special ones included."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self.max_tokens)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def lower(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Apply the frozen layers: (n, t) int64 and (n, t) bool to (n, t, hidden), without gradients."""
        model: nn.Module = self._frozen[0]
        model.to(ids.device)
        with torch.no_grad():
            states: Tensor = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states

    def frozen_states(
        self, texts: Sequence[str], *, device: torch.device | None = None, progress: Progress | None = None
    ) -> TokenStates:
        """Compute the frozen layers' states of all tokens once, to train on them in every epoch."""
        ids = self.tokens(texts)
        lengths = np.array([len(text) for text in ids], np.int64)
        start = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        states = np.empty((int(start[-1]), self.d), np.float16)
        done = 0
        for rows in token_batches(lengths.tolist(), FROZEN_BATCH_TOKENS):
            mask = torch.arange(int(lengths[rows].max())) < torch.from_numpy(lengths[rows])[:, None]
            padded = torch.zeros(mask.shape, dtype=torch.int64)
            padded[mask] = torch.tensor([token for row in rows for token in ids[row]])
            given = self.lower(padded.to(device), mask.to(device)).half().cpu().numpy()
            for row, text in zip(rows, given, strict=True):
                states[start[row] : start[row + 1]] = text[: lengths[row]]
            done += len(rows)
            if progress is not None:
                progress(done, len(texts))
        return TokenStates(states, start)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Text vectors (n, d) float32 from the output of :meth:`lower` (n, t, hidden) and the mask (n, t)."""
        hidden = states
        # Minus infinity where a token is padding, the same for all heads and tokens.
        hidden_from = torch.zeros(mask.shape, dtype=states.dtype, device=states.device)
        hidden_from = hidden_from.masked_fill(~mask, torch.finfo(states.dtype).min)[:, None, None, :]
        for block in self.tuned:
            hidden = block(hidden, hidden_from)
        return pool(hidden, mask, self.pooling)

    def save(self, folder: Path) -> None:
        """Write the encoder as a Hugging Face folder, with safetensors, that ``TransformerEncoder`` opens."""
        folder.mkdir(parents=True, exist_ok=True)
        model: Any = self._frozen[0]
        model.encoder.layer = nn.ModuleList([*self._lower, *self.tuned])
        try:
            model.save_pretrained(folder)
        finally:
            model.encoder.layer = nn.ModuleList(self._lower)
        self._tokenizer.save_pretrained(folder)
        (folder / MAX_LENGTH_FILE).write_text(json.dumps({"max_seq_length": self.max_tokens}) + "\n")
