"""A batch of the topic ``articles``: decoding, embedding, deletions and refused records.

The last record of an id wins. A record that cannot be read, or whose text the encoder fails on, costs no
other record its vector.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from freshet.models.embedding.content_tower import ContentTower
from freshet.models.events.events import Article, ArticleVector, EventError, to_unix_s
from freshet.models.ports import FloatVector, IndexedArticle, TextEncoder
from freshet.streams.kafka.record_batches import UndecodableBatch
from freshet.streams.records.intake import keyed, undecodable
from freshet.streams.records.log_context import handling

log = logging.getLogger(__name__)

_PROBE = ("Is this thing on?", "")


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that becomes a dead letter."""

    record: Any
    reason: str


@dataclass(slots=True)
class ArticleBatch:
    """Decoded records of one poll."""

    articles: dict[str, tuple[Any, Article]] = field(default_factory=dict)
    """Articles to be embedded, with their records, by id."""
    deleted: set[str] = field(default_factory=set)
    """Ids whose last record is a tombstone."""
    refused: list[Refused] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Any]) -> ArticleBatch:
        """Decode ``records``, each partition's in the order of their offsets."""
        batch = cls()
        for record in records:
            try:
                batch._take(record)
            except EventError as error:
                batch.refused.append(Refused(record, str(error)))
        return batch

    def _take(self, record: Any) -> None:
        if isinstance(record.value, UndecodableBatch):
            raise undecodable(record)
        if record.value is None:
            news_id = _tombstone_id(record.key)
            self.articles.pop(news_id, None)
            self.deleted.add(news_id)
            return
        article = keyed(record, Article, "news_id")
        self.deleted.discard(article.news_id)
        self.articles[article.news_id] = (record, article)


def _tombstone_id(key: bytes | None) -> str:
    try:
        news_id = (key or b"").decode()
    except UnicodeDecodeError as error:
        raise EventError(f"Article: a tombstone's key must be a news_id: {error}") from error
    if not news_id:
        raise EventError("Article: a tombstone needs the news_id as its key")
    return news_id


@dataclass(frozen=True, slots=True)
class Embedded:
    """An article with its vector (d,), float32, finite."""

    record: Any
    article: Article
    vector: FloatVector
    bundle: str

    def event(self) -> ArticleVector:
        """Make the event, with the shortest decimals of the vector that read back as the same float32."""
        article = self.article
        return ArticleVector(
            news_id=article.news_id,
            bundle=self.bundle,
            vector=tuple(self.vector.astype(np.str_).astype(np.float64).tolist()),
            published_at=article.published_at,
            title=article.title,
            category=article.category,
            subcategory=article.subcategory,
            language=article.language,
        )

    def indexed(self, previous: IndexedArticle | None) -> IndexedArticle:
        """Make the index's article; popularity and withdrawal stay those of ``previous``."""
        article = self.article
        return IndexedArticle(
            news_id=article.news_id,
            vector=self.vector,
            published_at_s=to_unix_s(article.published_at),
            title=article.title,
            category=article.category,
            subcategory=article.subcategory,
            language=article.language,
            withdrawn=previous is not None and previous.withdrawn,
            popularity=0.0 if previous is None else previous.popularity,
        )


def embed(
    articles: Sequence[tuple[Any, Article]], encoder: TextEncoder, tower: ContentTower
) -> tuple[list[Embedded], list[Refused]]:
    """Embed ``articles``; only those on which the encoder or the tower fails are refused.

    Raises:
        Exception: The encoder fails on every text, so that no article is to blame.
    """
    if not articles:
        return [], []
    only_articles = [article for _, article in articles]
    try:
        texts = encoder.encode([(article.title, article.abstract) for article in only_articles])
        vectors = tower.vectors(texts, only_articles)
    except Exception as error:
        if len(articles) == 1:
            encoder.encode([_PROBE])
            record, article = articles[0]
            with handling(record):
                log.exception("article %s cannot be embedded", article.news_id)
            return [], [Refused(record, f"Article: the text cannot be embedded: {error!r}")]
        log.warning("embedding %d articles failed, trying halves: %r", len(articles), error)
    else:
        embedded: list[Embedded] = []
        refused: list[Refused] = []
        for (record, article), vector in zip(articles, vectors, strict=True):
            if np.isfinite(vector).all():
                embedded.append(Embedded(record, article, vector, tower.bundle))
            else:
                refused.append(Refused(record, "Article: its vector is not finite"))
        return embedded, refused
    middle = len(articles) // 2
    first, first_refused = embed(articles[:middle], encoder, tower)
    second, second_refused = embed(articles[middle:], encoder, tower)
    return first + second, first_refused + second_refused
