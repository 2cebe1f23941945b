"""Ports of the domain: an index of article vectors and a text encoder.

Adapters live elsewhere (:mod:`freshet.streams`, :mod:`freshet.models.training`); one contract suite per port
runs on every adapter. Both ports are synchronous and safe to call from several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float32]
"""Shape (d,)."""
FloatMatrix = NDArray[np.float32]
"""Shape (n, d)."""


class IndexUnavailable(RuntimeError):
    """Error: the index did not answer in time. The caller serves a fallback and marks the answer."""


@dataclass(frozen=True, slots=True)
class IndexedArticle:
    """Article in an index."""

    news_id: str
    vector: FloatVector
    published_at_s: float
    """Unix seconds."""
    title: str = ""
    category: str = ""
    subcategory: str = ""
    language: str = ""
    withdrawn: bool = False
    popularity: float = 0.0
    """Sort key of ``trending``."""


@dataclass(frozen=True, slots=True)
class ArticleFilter:
    """Conditions for hits; an empty field allows everything. Withdrawn articles are never hits."""

    categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    published_after_s: float | None = None
    """Unix seconds, inclusive."""
    published_before_s: float | None = None
    """Unix seconds, inclusive: a replay must not return articles of its future."""
    exclude_ids: tuple[str, ...] = ()


EVERYTHING = ArticleFilter()


class Hit(NamedTuple):
    """Article found by a query; a tuple, because an answer needs hundreds."""

    news_id: str
    score: float
    """Dot product for ``search``, popularity for ``trending``, publication time for ``newest``."""


class ArticleSearch(Protocol):
    """Queries of an index for candidates."""

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """Find the ``k`` best articles by dot product for each row of ``queries`` (h, d), best first."""
        ...

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """Find the ``k`` most popular articles with a popularity above 0, best first."""
        ...

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """Find the ``k`` articles published last, newest first."""
        ...


class ArticleIndex(ArticleSearch, Protocol):
    """Index of one bundle's article vectors. Every write is visible to the next read."""

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        ...

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """Insert articles, or replace them as a whole, by ``news_id``; the last of two with one id wins.

        Raises:
            ValueError: A vector has another dimension or is not finite.
            IndexUnavailable: The index did not answer.
        """
        ...

    def delete(self, news_ids: Sequence[str]) -> None:
        """Forget articles; unknown ids are ignored."""
        ...

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """Update popularities; unknown ids are ignored."""
        ...

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """Hide articles from every query, or show them again; unknown ids are ignored."""
        ...

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """Return the known articles of ``news_ids``, withdrawn ones included."""
        ...

    def count(self) -> int:
        """Number of articles, withdrawn ones included."""
        ...

    def close(self) -> None:
        """Flush and release resources; a persistent index can be opened again."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Identity of a text encoder; part of every bundle's identity."""

    name: str
    pooling: str
    d: int
    extra: Mapping[str, str] = field(default_factory=dict)


class TextEncoder(Protocol):
    """Encoder of texts as vectors."""

    @property
    def info(self) -> EncoderInfo:
        """Identity of this encoder."""
        ...

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        """Encode ``n`` pairs of title and abstract as vectors (n, d); an empty text has a zero vector."""
        ...
