"""Changes of an index are kept while it is unavailable, and the last one of each article counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.ports import IndexedArticle, IndexUnavailable
from freshet.streams.state import index_writer
from freshet.streams.state.index_writer import IndexWriter


class Index:
    """Records what is written, unless it is down."""

    def __init__(self) -> None:
        self.down = False
        self.calls: list[tuple[str, Any]] = []

    def _called(self, name: str, value: Any) -> None:
        if self.down:
            raise IndexUnavailable("down")
        self.calls.append((name, value))

    def upsert(self, articles: list[IndexedArticle]) -> None:
        self._called("upsert", [article.news_id for article in articles])

    def delete(self, news_ids: list[str]) -> None:
        self._called("delete", news_ids)

    def set_withdrawn(self, news_ids: list[str]) -> None:
        self._called("hide", news_ids)

    def set_popularity(self, values: dict[str, float]) -> None:
        self._called("popularity", values)


def _article(news_id: str) -> IndexedArticle:
    return IndexedArticle(news_id, np.ones(2, np.float32), 0.0)


async def test_changes_outlive_an_outage_and_later_ones_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_writer, "_RETRY_S", 0.0)
    catalog = ArticleCatalog(2)
    for news_id in ("N1", "N2"):
        catalog.put_article(news_id, np.ones(2, np.float32), 0.0)
    index: Any = Index()
    writer = IndexWriter(index, catalog)
    writer.articles |= {"N1": _article("N1"), "N2": _article("N2")}
    writer.withdrawn.add("N2")
    writer.popularity["N1"] = 1.0
    index.down = True
    assert await writer.write() == {}
    writer.articles["N2"] = None
    writer.popularity["N1"] = 2.0
    index.down = False
    assert await writer.write() == {"N1": 0.0}
    assert index.calls == [
        ("upsert", ["N1"]),
        ("delete", ["N2"]),
        ("hide", ["N2"]),
        ("popularity", {"N1": 2.0}),
    ]
    assert await writer.write() == {}
    assert len(index.calls) == 4


async def test_an_unavailable_index_is_left_alone_for_a_while() -> None:
    index: Any = Index()
    writer = IndexWriter(index, ArticleCatalog(2))
    writer.withdrawn.add("N1")
    index.down = True
    await writer.write()
    index.down = False
    await writer.write()
    assert index.calls == []
    assert writer.withdrawn == {"N1"}
