"""Measures how fast article texts are embedded, beside sentence-transformers on the same texts and model.

Both sides see the same pairs of title and abstract, cut at the same number of tokens, on the same device.
They take turns, round by round, and the median round counts. Processor time is compared as well, because it
hardly changes when other programs share the machine. What no encoder can beat, the arithmetic at the speed of
a large matrix product of this machine, is measured too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from freshet.models.embedding.text.encoder import TransformerEncoder
from freshet.models.embedding.text.model_folder import model_location
from freshet.models.ports import FloatMatrix
from freshet.workers.bench.report import percentile_ms

TARGET_RATIO = {"cpu": 2.0}
"""Texts per second over those of sentence-transformers."""
TARGET_LIMIT_SHARE = {"cuda": 0.4}
"""Target as a share of the arithmetic limit."""

_ROUNDS = 3
_SINGLES = 60
_TEXTS = {"cuda": 20_000, "cpu": 256}
_MATRIX = {"cuda": 8_192, "cpu": 1_536}
_JOINED_WORDS = 0.18
"""Share of rare words: names and compounds, which cost several tokens."""

Texts = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Sides:
    """Rates of three ways to encode the same texts."""

    floor: Callable[[], FloatMatrix]
    ours: Callable[[], FloatMatrix]
    ours_float32: Callable[[], FloatMatrix]


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Rounds of one side."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def run(
    encoder: str = "minilm",
    pooling: str = "mean",
    texts: int | None = None,
    seed: int = 7,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure, and return figures by name; rates in texts per second, times in milliseconds.

    Args:
        encoder: As in the settings.
        pooling: As in the settings; vectors are compared to the floor's only for ``mean``, which it uses.
        texts: How many; without it what takes a few seconds a round.
        seed: Of the synthetic texts.
        progress: Told after each round how many are done, and of how many.
    """
    from sentence_transformers import SentenceTransformer

    ours = TransformerEncoder(encoder, pooling=pooling)
    device = ours.placement.split()[0]
    kind = device.split(":")[0]
    ours_float32 = TransformerEncoder(encoder, pooling=pooling, device=device, dtype=torch.float32)
    floor = SentenceTransformer(model_location(encoder), device=device)
    floor.max_seq_length = int(ours.info.extra["max_tokens"])
    pairs = news_texts(texts or _TEXTS.get(kind, 256), seed)
    sides = _Sides(
        floor=lambda: np.asarray(floor.encode(pairs, show_progress_bar=False)),
        ours=lambda: ours.encode(pairs),
        ours_float32=lambda: ours_float32.encode(pairs),
    )
    rounds, vectors = _rounds(sides, progress)
    floor_rate, rate, float32_rate = (len(pairs) / statistics.median(measured.seconds) for measured in rounds)
    lengths = np.array(ours.token_counts(pairs))
    config: Any = AutoConfig.from_pretrained(model_location(encoder))
    limit = _matmul_flops(device, ours.dtype, kind) / text_flops(lengths, config)
    result: dict[str, Any] = {
        "device": ours.placement,
        "threads": torch.get_num_threads(),
        "encoder": encoder,
        "texts": len(pairs),
        "mean_tokens": float(lengths.mean()),
        "max_tokens": int(ours.info.extra["max_tokens"]),
        "texts_per_s": rate,
        "floor": "sentence_transformers.SentenceTransformer.encode, float32",
        "floor_texts_per_s": floor_rate,
        "ratio_to_floor": _ratio(rounds[0].seconds, rounds[1].seconds),
        "cpu_time_ratio_to_floor": _ratio(rounds[0].cpu_seconds, rounds[1].cpu_seconds),
        "float32_texts_per_s": float32_rate,
        "float32_ratio_to_floor": _ratio(rounds[0].seconds, rounds[2].seconds),
        "float32_cpu_time_ratio_to_floor": _ratio(rounds[0].cpu_seconds, rounds[2].cpu_seconds),
        "arithmetic_limit_texts_per_s": limit,
        "share_of_limit": rate / limit,
        **_single_article_times(ours, pairs),
    }
    if pooling == "mean":
        result["min_cosine_to_floor"] = _min_cosine(vectors[1], vectors[0])
        result["float32_max_difference_to_floor"] = float(np.abs(vectors[2] - vectors[0]).max())
    for name, targets in (("ratio_to_floor", TARGET_RATIO), ("share_of_limit", TARGET_LIMIT_SHARE)):
        if kind in targets:
            result |= {"target": f"{name} >= {targets[kind]:g}", "met": result[name] >= targets[kind]}
    return result


def news_texts(count: int, seed: int) -> Texts:
    """Pairs of title and abstract with the lengths of English news.

    On average 11 words of title, and abstracts of a few words to a hundred (many short, some cut at a
    hundred, as in MIND), 1.3 tokens a word.
    """
    rng = np.random.default_rng(seed)
    vocabulary = (Path(model_location("minilm")) / "vocab.txt").read_text(encoding="utf-8").split("\n")
    # In the order of their frequency.
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 1][:8_000]

    def text(length: int) -> str:
        ranks = np.minimum(rng.zipf(1.15, size=2 * length), len(words)) - 1
        first, second = ranks[:length], rng.permutation(len(words))[:length]
        joined = rng.random(length) < _JOINED_WORDS
        return " ".join(
            words[a] + words[b] if both else words[a]
            for a, b, both in zip(first, second, joined, strict=True)
        )

    titles = np.clip(rng.normal(11, 3, count), 3, 20).astype(int)
    long = rng.random(count) < 0.35  # noqa: PLR2004
    abstracts = np.where(long, rng.normal(75, 12, count), rng.normal(20, 8, count)).clip(5, 150).astype(int)
    return [(text(title), text(abstract)) for title, abstract in zip(titles, abstracts, strict=True)]


def text_flops(lengths: np.ndarray[Any, Any], config: Any) -> float:
    """Floating point operations of a mean text: two per weight and token, and the attention's products."""
    h, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    weights = layers * (4 * h * h + 2 * h * inner)
    attention = layers * 4 * h * lengths.astype(np.float64)
    return float(np.mean(lengths * (2 * weights + attention)))


def _rounds(
    sides: _Sides, progress: Callable[[int, int], None]
) -> tuple[tuple[_Rounds, ...], list[FloatMatrix]]:
    """Each side's rounds, after one that does not count, and each side's vectors."""
    encoders = (sides.floor, sides.ours, sides.ours_float32)
    rounds = (_Rounds(), _Rounds(), _Rounds())
    vectors = [np.zeros((0, 0), dtype=np.float32) for _ in encoders]
    total = (_ROUNDS + 1) * len(encoders)
    for turn in range(total):
        side = turn % len(encoders)
        started, cpu_started = time.perf_counter(), time.process_time()
        vectors[side] = encoders[side]()
        if turn >= len(encoders):
            rounds[side].seconds.append(time.perf_counter() - started)
            rounds[side].cpu_seconds.append(time.process_time() - cpu_started)
        progress(turn + 1, total)
    return rounds, vectors


def _ratio(floor_seconds: Sequence[float], our_seconds: Sequence[float]) -> float:
    return statistics.median(theirs / ours for theirs, ours in zip(floor_seconds, our_seconds, strict=True))


def _single_article_times(encoder: TransformerEncoder, pairs: Texts) -> dict[str, float]:
    times_s = []
    for pair in pairs[:_SINGLES]:
        started = time.perf_counter()
        encoder.encode([pair])
        times_s.append(time.perf_counter() - started)
    return {
        "single_article_p50_ms": percentile_ms(times_s, 50),
        "single_article_p99_ms": percentile_ms(times_s, 99),
    }


def _matmul_flops(device: str, dtype: torch.dtype, kind: str) -> float:
    """Floating point operations per second of the best of several large matrix products."""
    n = _MATRIX.get(kind, 1_536)
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best_s = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        product = a @ b
        product[0, 0].item()  # waits for the device
        best_s = min(best_s, time.perf_counter() - started)
    return 2.0 * n**3 / best_s


def _min_cosine(a: FloatMatrix, b: FloatMatrix) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.sum(a * b, axis=1) / norms).min())
