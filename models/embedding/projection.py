"""Content tower without a trained bundle: a fixed orthogonal projection, and fixed category vectors.

The text vector of norm 1 is projected onto ``d`` orthonormal directions, which keeps dot products up to noise
of about 1/sqrt(d) (Johnson and Lindenstrauss, 1984). A random direction of the article's category is added
with a small weight, so that an article without text still has a vector, near those of its category. Vectors
have norm 1, or 0 where nothing at all is known.

The same encoder, dimension and seed give the same vectors up to float rounding, on every machine, and the
same :attr:`Projection.bundle`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from freshet.models.events.events import Article
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ports import EncoderInfo, FloatMatrix, FloatVector

CATEGORY_WEIGHT = 0.3
"""Norm of the category's part, relative to the text's 1."""
SUBCATEGORY_SHARE = 0.5
"""Norm of the subcategory's direction, relative to the category's 1."""
_FORMAT = 1
"""Version of the arithmetic below; part of the bundle's version."""


class Projection:
    """A :class:`~freshet.models.embedding.content_tower.ContentTower` without trained weights.

    Args:
        encoder: Encoder of the text vectors.
        d: Dimension of the article vectors, at most that of the text vectors.
        seed: Number of the fixed projection.

    Raises:
        ValueError: ``d`` is larger than the encoder's dimension or less than 1.
    """

    def __init__(self, encoder: EncoderInfo, d: int, seed: int = 0) -> None:
        if not 1 <= d <= encoder.d:
            raise ValueError(
                f"article vectors of {d} dimensions cannot be projected from the {encoder.d} of encoder "
                f"{encoder.name}: choose a dimension from 1 to {encoder.d}"
            )
        self._rows = orthonormal_rows(encoder.d, d, seed)
        self._seed = seed
        self._d = d
        self._bundle = _version(encoder, d, seed)

    @property
    def bundle(self) -> str:
        """Bundle id, such as ``untrained-minilm-mean-64-1a2b3c4d``; the end is a hash of the settings."""
        return self._bundle

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._d

    def vectors(self, text_vectors: FloatMatrix, articles: Sequence[Article]) -> FloatMatrix:
        """Article vectors (n, d), float32, of norm 1, or 0 for an article without text and category.

        Raises:
            ValueError: ``text_vectors`` is not (n, d_text) for the ``n`` articles.
        """
        if text_vectors.shape != (len(articles), self._rows.shape[1]):
            raise ValueError(
                f"text vectors have shape {text_vectors.shape}, "
                f"expected {(len(articles), self._rows.shape[1])} for {len(articles)} articles"
            )
        vectors = to_unit_norm(text_vectors.astype(np.float32) @ self._rows.T)
        for row, article in enumerate(articles):
            vectors[row] += CATEGORY_WEIGHT * self._category_vector(article)
        return to_unit_norm(vectors)

    def _category_vector(self, article: Article) -> FloatVector:
        vector = np.zeros(self._d, dtype=np.float32)
        if article.category:
            vector += _direction("category", article.category, self._d, self._seed)
        if article.subcategory:
            name = f"{article.category}/{article.subcategory}"
            vector += SUBCATEGORY_SHARE * _direction("subcategory", name, self._d, self._seed)
        return to_unit_norm(vector)


def orthonormal_rows(d_in: int, d_out: int, seed: int) -> FloatMatrix:
    """Fixed matrix (d_out, d_in) with orthonormal rows; over the seeds, uniform among all such matrices.

    It is the Q of a Gaussian matrix's QR, with the signs that make R's diagonal positive (Mezzadri, 2007);
    with them Q does not depend on the LAPACK.
    """
    # RandomState's stream is frozen by NumPy's policy (NEP 19); that of default_rng is not.
    gaussian = np.random.RandomState(seed).standard_normal((d_in, d_out))
    q, r = np.linalg.qr(gaussian)
    rows: NDArray[np.float64] = (q * np.sign(np.diag(r))).T
    return np.ascontiguousarray(rows, dtype=np.float32)


# Bounded: category names come from the stream.
@lru_cache(maxsize=4_096)
def _direction(kind: str, name: str, d: int, seed: int) -> FloatVector:
    digest = blake2b(f"{kind}\0{name}\0{seed}".encode(), digest_size=4).digest()
    direction = np.random.RandomState(int.from_bytes(digest, "big")).standard_normal(d)
    unit: FloatVector = (direction / np.linalg.norm(direction)).astype(np.float32)
    unit.flags.writeable = False
    return unit


def _version(encoder: EncoderInfo, d: int, seed: int) -> str:
    encoded = (encoder.name, encoder.pooling, encoder.d, sorted(encoder.extra.items()))
    identity = json.dumps([_FORMAT, *encoded, d, seed, CATEGORY_WEIGHT, SUBCATEGORY_SHARE])
    digest = blake2b(identity.encode(), digest_size=4).hexdigest()
    # The version names index collections and folders, so it keeps to what all of them allow.
    name = re.sub(r"[^A-Za-z0-9._]+", "-", PurePath(encoder.name).name).strip("-")[:48] or "encoder"
    return f"untrained-{name}-{encoder.pooling}-{d}-{digest}"
