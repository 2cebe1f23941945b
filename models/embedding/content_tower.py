"""Port of the article tower: from the text's vector and the article's labels to the article's vector.

Vectors are compared by dot product within one bundle and never across two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from freshet.models.events.events import Article
from freshet.models.ports import FloatMatrix


class ContentTower(Protocol):
    """Turns text vectors and articles into article vectors."""

    @property
    def bundle(self) -> str:
        """Version of everything that decides a vector: encoder, pooling, weights."""
        ...

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        ...

    def vectors(self, text_vectors: FloatMatrix, articles: Sequence[Article]) -> FloatMatrix:
        """Article vectors (n, d), float32, each from its own row and article alone.

        Args:
            text_vectors: (n, d_text); a row of zeros where the article has no text.
            articles: The ``n`` articles.
        """
        ...
