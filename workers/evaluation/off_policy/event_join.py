"""Joins recommendations, impressions and clicks that arrive in any order, in a database on disk.

Memory does not grow with the number of events. Guarantees:

- A repeated event counts once: a recommendation by its request, an impression by its user and id, a click by
  its user, article and time. The first one is kept.
- A click joins the impression that it names, or else the earliest impression of the request that it names, if
  that is of the same user and shows the article. A click that names neither is not joined, because its
  impression could only be guessed.
- Impressions come out in the order of time, those of the same time in the order of arrival.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from freshet.models.events.events import Article, Click, Impression, Recommendation, to_unix_s

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE recommendation (request_id TEXT PRIMARY KEY, user_id TEXT, value BLOB) WITHOUT ROWID;
CREATE TABLE impression (
    number INTEGER PRIMARY KEY, user_id TEXT, impression_id TEXT, time_s REAL, value BLOB,
    UNIQUE (user_id, impression_id)
);
CREATE TABLE click (
    number INTEGER PRIMARY KEY, user_id TEXT, news_id TEXT, time_s REAL, impression_id TEXT, request_id TEXT,
    joined INTEGER DEFAULT 0, UNIQUE (user_id, news_id, time_s)
);
CREATE TABLE article (news_id TEXT PRIMARY KEY, published_at_s REAL, value BLOB) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class JoinedImpression:
    """An impression with all its clicks, and the recommendation that it shows."""

    impression: Impression
    recommendation: Recommendation | None
    late_clicks: int
    """Number of clicks that came as separate events."""


class EventJoin:
    """Joins events; use it in ``with``. The caller deletes the database.

    Args:
        path: New file for the database.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_recommendation(self, recommendation: Recommendation, value: bytes) -> None:
        """Add a recommendation; ``value`` is its JSON."""
        self._database.execute(
            "INSERT OR IGNORE INTO recommendation VALUES (?, ?, ?)",
            (recommendation.request_id, recommendation.user_id, value),
        )

    def add_impression(self, impression: Impression, value: bytes) -> None:
        """Add an impression; ``value`` is its JSON."""
        self._database.execute(
            "INSERT OR IGNORE INTO impression (user_id, impression_id, time_s, value) VALUES (?, ?, ?, ?)",
            (impression.user_id, impression.impression_id, to_unix_s(impression.time), value),
        )

    def add_click(self, click: Click) -> None:
        """Add a click."""
        self._database.execute(
            "INSERT OR IGNORE INTO click (user_id, news_id, time_s, impression_id, request_id) "
            "VALUES (?, ?, ?, ?, ?)",
            (click.user_id, click.news_id, to_unix_s(click.time), click.impression_id, click.request_id),
        )

    def put_article(self, article: Article, value: bytes) -> None:
        """Add an article; it replaces an earlier one with its id."""
        self._database.execute(
            "INSERT OR REPLACE INTO article VALUES (?, ?, ?)",
            (article.news_id, to_unix_s(article.published_at), value),
        )

    def delete_article(self, news_id: str) -> None:
        """Delete an article."""
        self._database.execute("DELETE FROM article WHERE news_id = ?", (news_id,))

    def forget_user(self, user_id: str, until_s: float) -> int:
        """Delete a user's events up to ``until_s`` (Unix seconds); return the number of impressions."""
        with closing(self._database.cursor()) as cursor:
            cursor.execute("DELETE FROM impression WHERE user_id = ? AND time_s <= ?", (user_id, until_s))
            forgotten = cursor.rowcount
            cursor.execute("DELETE FROM click WHERE user_id = ? AND time_s <= ?", (user_id, until_s))
        return forgotten

    def articles(self) -> Iterator[Article]:
        """Yield the articles in the order of publication."""
        rows = self._database.execute("SELECT value FROM article ORDER BY published_at_s, news_id")
        for (value,) in rows:
            yield Article.from_json(value)

    def impressions(self) -> Iterator[JoinedImpression]:
        """Yield the joined impressions. No event may be added afterwards."""
        self._database.execute("CREATE INDEX by_impression ON click (impression_id)")
        self._database.execute("CREATE INDEX by_request ON click (request_id)")
        for (value,) in self._database.execute("SELECT value FROM impression ORDER BY time_s, number"):
            impression = Impression.from_json(value)
            late = self._late_clicks(impression)
            clicked = tuple(dict.fromkeys([*impression.clicked, *late]))
            yield JoinedImpression(
                impression.model_copy(update={"clicked": clicked}),
                self._recommendation(impression),
                len(late),
            )

    def clicks_left(self) -> int:
        """Count the clicks that have not joined an impression."""
        (count,) = self._database.execute("SELECT count(*) FROM click WHERE NOT joined").fetchone()
        return int(count)

    def _late_clicks(self, impression: Impression) -> list[str]:
        found = self._database.execute(
            "SELECT number, news_id FROM click WHERE NOT joined AND user_id = ? AND impression_id = ?",
            (impression.user_id, impression.impression_id),
        ).fetchall()
        if impression.request_id is not None:
            found += self._database.execute(
                "SELECT number, news_id FROM click "
                "WHERE NOT joined AND user_id = ? AND impression_id IS NULL AND request_id = ?",
                (impression.user_id, impression.request_id),
            ).fetchall()
        shown = set(impression.candidates)
        joined = [(number, news_id) for number, news_id in found if news_id in shown]
        for number, _ in joined:
            self._database.execute("UPDATE click SET joined = 1 WHERE number = ?", (number,))
        return [news_id for _, news_id in joined]

    def _recommendation(self, impression: Impression) -> Recommendation | None:
        if impression.request_id is None:
            return None
        row = self._database.execute(
            "SELECT value FROM recommendation WHERE request_id = ? AND user_id = ?",
            (impression.request_id, impression.user_id),
        ).fetchone()
        return None if row is None else Recommendation.from_json(row[0])
