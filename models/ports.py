"""The two things that the domain asks of the world: an index of article vectors and a text encoder.

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
    """The index did not answer, in time or at all. The caller serves something else and says so."""


@dataclass(frozen=True, slots=True)
class IndexedArticle:
    """An article as the index holds it."""

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
    """What ``trending`` sorts by."""


@dataclass(frozen=True, slots=True)
class ArticleFilter:
    """What a hit must satisfy; an empty field allows everything. Withdrawn articles never are hits."""

    categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    published_after_s: float | None = None
    """Unix seconds, inclusive."""
    published_before_s: float | None = None
    """Unix seconds, inclusive: a replay must not be answered with articles of its future."""
    exclude_ids: tuple[str, ...] = ()


EVERYTHING = ArticleFilter()


class Hit(NamedTuple):
    """One article found: a tuple, because an answer takes hundreds."""

    news_id: str
    score: float
    """``search``: the dot product; ``trending``: the popularity; ``newest``: the publication time."""


class ArticleSearch(Protocol):
    """The part of an index that finds candidates."""

    def search(self, queries: FloatMatrix, k: int, where: ArticleFilter = EVERYTHING) -> list[list[Hit]]:
        """For each row of ``queries`` (h, d), the ``k`` articles with the largest dot product, best first."""
        ...

    def trending(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` most popular articles with a popularity above 0, best first."""
        ...

    def newest(self, k: int, where: ArticleFilter = EVERYTHING) -> list[Hit]:
        """The ``k`` articles published last, newest first."""
        ...


class ArticleIndex(ArticleSearch, Protocol):
    """Vectors of one bundle, found by dot product. Every write is visible to the next read."""

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        ...

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        """Insert, or replace whole, by ``news_id``. The last of two with one id wins.

        Raises:
            ValueError: A vector has another dimension or is not finite.
            IndexUnavailable: The index did not answer.
        """
        ...

    def delete(self, news_ids: Sequence[str]) -> None:
        """Forget articles; unknown ids are ignored."""
        ...

    def set_popularity(self, popularity: Mapping[str, float]) -> None:
        """Change what ``trending`` sorts by; unknown ids are ignored."""
        ...

    def set_withdrawn(self, news_ids: Sequence[str], withdrawn: bool = True) -> None:
        """Hide articles from every query, or show them again; unknown ids are ignored."""
        ...

    def get(self, news_ids: Sequence[str]) -> dict[str, IndexedArticle]:
        """The articles of ``news_ids`` that the index knows, withdrawn ones included."""
        ...

    def count(self) -> int:
        """How many articles the index holds, withdrawn ones included."""
        ...

    def close(self) -> None:
        """Flush and let go; a persistent index can be opened again."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Which encoder made a text vector; part of every bundle's identity."""

    name: str
    pooling: str
    d: int
    extra: Mapping[str, str] = field(default_factory=dict)


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    @property
    def info(self) -> EncoderInfo:
        """What this encoder is."""
        ...

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        """Vectors (n, d) of ``n`` pairs of title and abstract, in the order given.

        An empty text gives a zero vector.
        """
        ...
