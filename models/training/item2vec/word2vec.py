r"""Word2vec (Mikolov et al., 2013) over sequences of items: nearby items get similar vectors.

Skip-gram with negative sampling gives every item two vectors, one as the centre of a window (kept) and one
as its context (dropped after training), and maximises, for each centre c and each item o in its window,

.. math:: \log \sigma(v_c \cdot u_o) + \sum_{k=1}^{K} \log \sigma(-v_c \cdot u_{n_k}),
   \quad n_k \sim \text{count}^{0.75}

CBOW predicts the item in the middle from the mean of its window instead: one step for each window, not for
each pair. The window's width is drawn anew for each position, from 1 to ``window``, so that near items count
more.

The training itself is gensim's, from a file, so that memory holds the vectors and no sequence. The same seed
gives the same vectors with one worker; more workers update them in no certain order.

The loss that is reported is measured, after each epoch, on one fixed sample of positions: gensim's own is a
running float32 sum, which stands still after some ten million pairs.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from numpy.typing import NDArray

from freshet.models.datasets.click_sequences import ClickSequences
from freshet.models.ports import FloatMatrix
from freshet.models.training.item2vec.alias_table import AliasTable
from freshet.models.training.observer import Observer
from freshet.models.training.setting_ranges import check_at_least, check_positive

LOSS_SAMPLE = 10_000
"""Number of positions on which the loss is measured."""
_WRITE_CHUNK = 1 << 20
_MIN_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Word2VecSettings:
    """Settings of word2vec. Usual for items: window 3 to 10, 5 to 20 negatives, 64 to 256 dimensions.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 64
    window: int = 5
    """Maximum distance of a context from its centre."""
    negatives: int = 10
    """Negatives for each positive pair."""
    exponent: float = 0.75
    """Exponent of an item's count in the distribution of negatives."""
    cbow: bool = False
    """Predict the centre from its window's mean, instead of skip-gram."""
    epochs: int = 10
    learning_rate: float = 0.025
    """Initial learning rate; it falls linearly to 0.0001."""
    min_count: int = 2
    """Least number of occurrences of an item with a vector."""
    subsample: float = 0.0
    """Share of all clicks above which an item's clicks are left out at random; 0: never."""
    workers: int = 1
    """Number of threads; with more than one, runs are not repeatable."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "d", "window", "negatives", "epochs", "min_count", "workers")
        check_positive(self, "learning_rate")
        check_at_least(self, 0, "exponent", "subsample")


@dataclass(frozen=True)
class ItemVectors:
    """Result of training: the vectors of the epoch with the best score, the latest of equals."""

    items: NDArray[np.int64]
    """Items (n,) that have a vector, ascending."""
    vectors: FloatMatrix
    """Vectors (n, d) of the items."""
    curve: tuple[dict[str, float], ...]
    best_epoch: int
    """Number of the epoch that was kept, counted from 1."""

    @property
    def figures(self) -> dict[str, float]:
        """Entry of the epoch that was kept."""
        return dict(self.curve[self.best_epoch - 1])


@dataclass(frozen=True)
class Scored:
    """Score of an epoch's vectors."""

    score: float
    """Higher is better."""
    figures: dict[str, float]
    """Figures to report."""
    vectors: FloatMatrix
    """Vectors (n, d) that are kept if the epoch is the best."""


Score = Callable[[NDArray[np.int64], FloatMatrix], Scored]
"""Function that scores the vectors (n, d) of items (n,)."""


def train_word2vec(
    chunks: Iterable[ClickSequences],
    settings: Word2VecSettings,
    seed: int,
    score: Score,
    observer: Observer,
) -> ItemVectors:
    """Train vectors of the items of all sequences.

    Args:
        chunks: Sequences of the same ``n_items``, read once into a temporary file of 5 to 8 bytes a click.
            Every item gets a vector: ``min_count`` is up to the caller.
        settings: Settings of word2vec.
        seed: Seed of a repeatable run, with one worker.
        score: Score of an epoch's vectors, which decides which are kept.
        observer: Observer of the epochs.

    Raises:
        ValueError: There are no two items that follow each other, or a vector is not finite.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="freshet-word2vec-") as folder:
        path = Path(folder) / "sequences.txt"
        sample, clicks = _write(chunks, path, settings, rng)
        model = Word2Vec(
            corpus_file=None,
            vector_size=settings.d,
            window=settings.window,
            negative=settings.negatives,
            ns_exponent=settings.exponent,
            sg=int(not settings.cbow),
            cbow_mean=1,
            min_count=1,
            sample=settings.subsample,
            alpha=settings.learning_rate,
            min_alpha=_MIN_LEARNING_RATE,
            seed=seed,
            workers=settings.workers,
            hashfxn=_stable_hash,
        )
        model.build_vocab(corpus_file=str(path))
        epochs = _Epochs(sample, clicks, score, observer)
        model.train(
            corpus_file=str(path),
            total_words=clicks,
            total_examples=model.corpus_count,
            epochs=settings.epochs,
            start_alpha=settings.learning_rate,
            end_alpha=_MIN_LEARNING_RATE,
            callbacks=[epochs],
        )
    return epochs.result()


class _Epochs(CallbackAny2Vec):  # type: ignore[misc] # gensim carries no types
    """Callback that scores each epoch and keeps the best, the latest of equals."""

    def __init__(self, sample: LossSample, clicks: int, score: Score, observer: Observer) -> None:
        self._sample, self._clicks, self._score, self._observer = sample, clicks, score, observer
        self._curve: list[dict[str, float]] = []
        self._best: tuple[float, int, NDArray[np.int64], FloatMatrix] | None = None
        self._began_s = 0.0

    def on_epoch_begin(self, model: Any) -> None:
        """Start the clock; gensim calls it."""
        self._began_s = time.perf_counter()

    def on_epoch_end(self, model: Any) -> None:
        """Score the epoch's vectors; gensim calls it."""
        seconds = time.perf_counter() - self._began_s
        keys = np.array([int(key) for key in model.wv.index_to_key], np.int64)
        order = np.argsort(keys)
        items, vectors = keys[order], model.wv.vectors[order].astype(np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite: lower learning_rate")
        loss = self._sample.loss(items, vectors, model.syn1neg[order])
        scored = self._score(items, vectors)
        epoch = len(self._curve) + 1
        self._curve.append(
            {
                "epoch": float(epoch),
                "loss": loss,
                "seconds": seconds,
                "examples_per_s": self._clicks / max(seconds, 1e-9),
                "score": scored.score,
                **scored.figures,
            }
        )
        if self._best is None or scored.score >= self._best[0]:
            self._best = scored.score, epoch, items, scored.vectors
        self._observer.batch(epoch, self._clicks, self._clicks, loss)
        self._observer.epoch(self._curve[-1])

    def result(self) -> ItemVectors:
        assert self._best is not None
        _, epoch, items, vectors = self._best
        return ItemVectors(items, vectors, tuple(self._curve), epoch)


class LossSample:
    """Fixed sample of positions with their windows and negatives, on which the loss is measured.

    Args:
        sequences: Sequences to draw positions from.
        settings: Settings of word2vec.
        rng: Random numbers.
    """

    def __init__(
        self, sequences: ClickSequences, settings: Word2VecSettings, rng: np.random.Generator
    ) -> None:
        lengths = np.diff(sequences.starts)
        usable = np.flatnonzero(np.repeat(lengths > 1, lengths))
        if not len(usable):
            raise ValueError("no two items follow each other in any sequence: there is nothing to learn from")
        at = rng.choice(usable, LOSS_SAMPLE)
        row = sequences.rows[at]
        offsets = np.delete(np.arange(-settings.window, settings.window + 1), settings.window)
        places = at[:, None] + offsets
        inside = (places >= sequences.starts[row][:, None]) & (places < sequences.starts[row + 1][:, None])
        inside &= np.abs(offsets) <= rng.integers(1, settings.window + 1, (len(at), 1))
        if not settings.cbow:
            one = np.argmax(inside * rng.random(inside.shape), axis=1)
            inside &= np.arange(len(offsets)) == one[:, None]
        self._given = np.where(inside, sequences.items[np.where(inside, places, 0)], -1)
        self._wanted = sequences.items[at]
        weights = sequences.counts**settings.exponent * (sequences.counts > 0)
        table = AliasTable(weights, [0, len(weights)])
        self._negatives = table.draw(np.zeros((len(at), settings.negatives), np.int64), rng)

    def loss(self, items: NDArray[np.int64], centres: FloatMatrix, contexts: FloatMatrix) -> float:
        """Mean negative objective; a sampled negative that is the predicted item is left out.

        Args:
            items: Shape (n,), all items that occur, ascending.
            centres: Shape (n, d), their vectors as centres.
            contexts: Shape (n, d), their vectors as contexts.
        """
        used = self._given >= 0
        given = centres[np.searchsorted(items, np.where(used, self._given, items[0]))]
        mean = (given * used[:, :, None]).sum(axis=1) / used.sum(axis=1, keepdims=True)  # (positions, d)
        wanted = contexts[np.searchsorted(items, self._wanted)]  # (positions, d)
        negatives = contexts[np.searchsorted(items, self._negatives)]  # (positions, negatives, d)
        positive = np.logaddexp(0.0, -(mean * wanted).sum(axis=1))
        negative = np.logaddexp(0.0, np.einsum("bd,bnd->bn", mean, negatives))
        negative *= self._negatives != self._wanted[:, None]
        return float((positive + negative.sum(axis=1)).mean())


def _write(
    chunks: Iterable[ClickSequences], path: Path, settings: Word2VecSettings, rng: np.random.Generator
) -> tuple[LossSample, int]:
    """Write all sequences, one in each line, and draw the loss's sample from the first chunk."""
    sample: LossSample | None = None
    clicks = 0
    with path.open("wb") as file:
        for chunk in chunks:
            clicks += len(chunk.items)
            if sample is None:
                sample = LossSample(chunk, settings, rng)
            tokens = _tokens(chunk.n_items)
            is_last = np.zeros(len(chunk.items), np.bool_)
            is_last[chunk.starts[1:][np.diff(chunk.starts) > 0] - 1] = True
            for start in range(0, len(chunk.items), _WRITE_CHUNK):
                text = tokens[chunk.items[start : start + _WRITE_CHUNK]]
                text[is_last[start : start + _WRITE_CHUNK], -1] = ord("\n")
                file.write(text.tobytes())
    if sample is None:
        raise ValueError("there is no sequence: there is nothing to learn from")
    return sample, clicks


def _tokens(n: int) -> NDArray[np.uint8]:
    """Numbers below ``n`` as digits and a space, all of one width (n, width + 1)."""
    width = len(str(max(n - 1, 0)))
    digits = np.arange(n)[:, None] // 10 ** np.arange(width)[::-1] % 10 + ord("0")
    return np.column_stack([digits, np.full(n, ord(" "))]).astype(np.uint8)


def _stable_hash(text: str) -> int:
    """Hash that is the same in every process, unlike Python's own."""
    return zlib.crc32(text.encode())
