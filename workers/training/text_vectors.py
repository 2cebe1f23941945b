"""Text vectors of a log's articles, computed once: training and evaluation read them back from a cache.

Guarantees: row ``i`` is the vector of article ``i``'s title and abstract, zeros where it has neither; equal
texts are encoded once. The cache holds parts of ``PART_TEXTS`` texts, each in a file named by a hash of the
encoder's identity and of the part's texts, so that nothing stale is ever read, and an interrupted run goes on
where it stopped. Its size is bounded: the files read longest ago go first. Without anything to encode, torch
is not imported.

The number format that the encoder computes in (bfloat16 or float32, see
:mod:`freshet.models.embedding.text.encoder`) is no part of the identity, as it is none of a bundle's.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import ENCODER_FOLDER, Bundle, EncoderSpec
from freshet.models.ports import FloatMatrix
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError

if TYPE_CHECKING:
    from freshet.models.embedding.text.encoder import TransformerEncoder

CACHE_FOLDER = "text-vectors"
"""Name of the cache within the data folder of the settings."""
PART_TEXTS = 1_024
"""Texts of a part, which an interruption can lose: 12 s of one CPU with MiniLM, a file of 1.5 MB."""
MAX_CACHE_BYTES = 4 << 30

Progress = Callable[[int, int], None]
"""Callback with the texts done and the number of texts."""
_Text = tuple[str, str]


class TextVectorsUnavailable(WorkerError):
    """The text encoder is missing, or is not the one that a bundle was trained with."""


class ChosenEncoder:
    """Text encoder that is loaded when it is first needed.

    Args:
        location: ``minilm``, a folder, or a Hugging Face name.
        pooling: Pooling of token vectors: ``cls``, ``mean`` or ``attention``.
        spec: Expected identity of the encoder, where it is known.
        threads: CPU threads of torch, for the whole process.
    """

    def __init__(
        self, location: str, pooling: str, spec: EncoderSpec | None = None, threads: int | None = None
    ) -> None:
        self._location = location
        self._pooling = pooling
        self._spec = spec
        self._threads = threads
        self._encoder: TransformerEncoder | None = None

    @classmethod
    def of_settings(cls, settings: Settings, threads: int | None = None) -> Self:
        """Choose the encoder that ``settings`` name."""
        return cls(settings.encoder, settings.pooling, threads=threads)

    @classmethod
    def of_bundle(cls, bundle: Bundle, settings: Settings, threads: int | None = None) -> Self:
        """Choose the encoder of a bundle: the tuned one in its folder, else the one that it names.

        A bundle names an encoder's folder by its last part only; the settings have its path.

        Raises:
            TextVectorsUnavailable: The bundle has no encoder.
        """
        spec = bundle.manifest.encoder
        if spec is None:
            raise TextVectorsUnavailable(f"bundle {bundle.id} makes no use of text")
        if spec.tuned:
            location = str(bundle.folder / ENCODER_FOLDER)
        elif Path(settings.encoder).name == spec.name:
            location = settings.encoder
        else:
            location = spec.name
        return cls(location, spec.pooling, spec, threads)

    @property
    def spec(self) -> EncoderSpec:
        """Identity of the encoder, in the form of a manifest.

        Raises:
            TextVectorsUnavailable: The encoder had to be loaded and could not be.
        """
        if self._spec is None:
            info = self._load().info
            self._spec = EncoderSpec(name=info.name, pooling=info.pooling, d=info.d, extra=dict(info.extra))
        return self._spec

    def encode(self, texts: Sequence[_Text]) -> FloatMatrix:
        """Encode pairs of title and abstract into vectors (n, d), float32.

        Raises:
            TextVectorsUnavailable: The encoder could not be loaded, or is not the one expected.
        """
        return self._load().encode(texts)

    def _load(self) -> TransformerEncoder:
        if self._encoder is not None:
            return self._encoder
        try:
            from freshet.models.embedding.text.encoder import TransformerEncoder
        except ImportError as error:
            raise TextVectorsUnavailable(
                f"text vectors need torch and transformers ({error}): pip install 'freshet[embed]'"
            ) from error
        expected = self._spec
        longest = expected.extra.get("max_tokens") if expected is not None else None
        try:
            encoder = TransformerEncoder(
                self._location,
                pooling=self._pooling,
                max_tokens=int(longest) if longest else None,
                threads=self._threads,
            )
        except ValueError as error:
            raise TextVectorsUnavailable(str(error)) from error
        if expected is not None:
            _check_same(encoder, expected, self._location)
        self._encoder = encoder
        return encoder


def _check_same(encoder: TransformerEncoder, expected: EncoderSpec, location: str) -> None:
    found = encoder.info
    # A tuned encoder's folder is part of the bundle, whose version is a hash of its files.
    same = (
        found.d == expected.d and found.pooling == expected.pooling
        if expected.tuned
        else found == expected.info
    )
    if not same:
        here = _identity(found.name, found.pooling, found.d, found.extra)
        wanted = _identity(expected.name, expected.pooling, expected.d, expected.extra)
        raise TextVectorsUnavailable(
            f"the encoder at {location!r} is {here}, the bundle was trained with {wanted}: "
            "name that one's folder with --encoder"
        )


def text_vectors_of(
    articles: ArticleTable,
    encoder: ChosenEncoder,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
    max_cache_bytes: int = MAX_CACHE_BYTES,
) -> FloatMatrix:
    """Look up or encode text vectors (articles, d_text), float32; zeros for an article without text.

    Args:
        articles: Articles of a log.
        encoder: Encoder, loaded only where the cache lacks a part.
        cache_dir: Folder such as ``settings.data_dir / CACHE_FOLDER``; created where it is missing.
        progress: Called after each part.
        max_cache_bytes: Size above which the oldest files are deleted, but none that this call used.

    Raises:
        TextVectorsUnavailable: The encoder could not be loaded, or the cache cannot be written.
    """
    first_row: dict[_Text, int] = {}
    row_of_article = np.full(len(articles), -1, np.int64)
    for number, text in enumerate(zip(articles.titles, articles.abstracts, strict=True)):
        if text[0].strip() or text[1].strip():
            row_of_article[number] = first_row.setdefault(text, len(first_row))
    texts = list(first_row)
    spec = encoder.spec
    identity = _identity(spec.name, spec.pooling, spec.d, spec.extra)
    vectors = np.zeros((len(texts) + 1, spec.d), np.float32)  # the last row: no text
    used: set[Path] = set()
    if progress is not None:
        progress(0, len(texts))
    for start in range(0, len(texts), PART_TEXTS):
        part = texts[start : start + PART_TEXTS]
        path = cache_dir / f"{_digest(identity, part)}.npy"
        found = _read(path, (len(part), spec.d))
        if found is None:
            found = encoder.encode(part)
            _write(path, found)
        used.add(path)
        vectors[start : start + len(part)] = found
        if progress is not None:
            progress(start + len(part), len(texts))
    _bound(cache_dir, max_cache_bytes, used)
    return vectors[row_of_article]


def _identity(name: str, pooling: str, d: int, extra: object) -> str:
    return json.dumps([name, pooling, d, extra], sort_keys=True)


def _digest(identity: str, texts: Sequence[_Text]) -> str:
    digest = hashlib.sha256(identity.encode())
    for title, abstract in texts:
        # Lengths, so that no two lists of texts run together to the same bytes.
        for text in (title.encode("utf-8", "surrogatepass"), abstract.encode("utf-8", "surrogatepass")):
            digest.update(len(text).to_bytes(8, "big"))
            digest.update(text)
    return digest.hexdigest()[:32]


def _read(path: Path, shape: tuple[int, int]) -> FloatMatrix | None:
    """Read a part of the cache; None where it is missing or damaged, so that it is computed again."""
    try:
        vectors = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    whole = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.shape == shape
    return vectors if whole and np.isfinite(vectors).all() else None


def _write(path: Path, vectors: FloatMatrix) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.save(file, vectors, allow_pickle=False)
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TextVectorsUnavailable(
            f"{path.parent}: text vectors cannot be kept there ({error.strerror}); "
            "name another folder with --data-dir"
        ) from error


def _bound(folder: Path, max_bytes: int, used: set[Path]) -> None:
    """Delete the files read longest ago until at most ``max_bytes`` are left."""
    files = sorted(_sizes(folder), reverse=True)
    total = 0
    for _, size, path in files:
        total += size
        if total > max_bytes and path not in used:
            path.unlink(missing_ok=True)
            total -= size


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.glob("*.npy"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        yield status.st_mtime, status.st_size, path
