"""Catalog of all known articles: vectors, labels and decayed statistics, one row per article.

Columns are NumPy arrays, so that a slate is scored with a few array operations. Guarantees:

- A row keeps its number for as long as its article is known. Columns are reallocated when they grow, so read
  them through the catalog each time.
- Row -1, which :meth:`ArticleCatalog.rows` gives for an unknown article, can be used as an index everywhere:
  it has no vector, no clicks, NaN times and the empty category.
- :meth:`ArticleCatalog.global_counts` equals the sum over all rows, up to rounding, at the cost of one row.

Times are Unix seconds. Not safe for concurrent writers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from freshet.models import kernels
from freshet.models.articles.category_rates import CategoryRates, CurrentRates
from freshet.models.articles.co_clicks import CoClicks
from freshet.models.articles.label_columns import LabelColumns
from freshet.models.articles.statistics_columns import StatisticsColumns
from freshet.models.articles.vector_column import VectorColumn
from freshet.models.kernels.statistics_layout import (
    CLICKS,
    FIRST_SEEN,
    IMPRESSIONS,
    LAST_CLICK,
    LAST_EVENT,
    PUBLISHED,
)

STATS_HALF_LIVES_S: tuple[float | None, ...] = (1_800.0, 10_800.0, 86_400.0, None)
"""Half-lives of an article's clicks and impressions; ``None`` does not decay."""

_INITIAL_CAPACITY = 1_024


class ArticleCatalog:
    """Columns with one row for each known article.

    ``ids`` and ``titles`` have one entry for each row in use or freed (an empty id); the arrays have
    ``capacity`` rows. Times are NaN where they are unknown, counts hold as of ``stats_time_s``, and code 0 of
    a label is the empty name.

    Args:
        d: The vectors' dimension.
        half_lives_s: Half-lives of the H counts of each kind; at most one may be ``None``.
    """

    def __init__(self, d: int, half_lives_s: tuple[float | None, ...] = STATS_HALF_LIVES_S) -> None:
        if not half_lives_s or any(half_life is not None and half_life <= 0 for half_life in half_lives_s):
            raise ValueError(f"half_lives_s is {half_lives_s}, must be positive numbers or None")
        self.half_lives_s = half_lives_s
        self.ids: list[str] = []
        self.titles: list[str] = []
        self.labels = LabelColumns(_INITIAL_CAPACITY)
        self.statistics = StatisticsColumns(half_lives_s, _INITIAL_CAPACITY)
        self.co_clicks = CoClicks()
        self._vectors = VectorColumn(d, _INITIAL_CAPACITY)
        self._vectors_of_all = [self._vectors]
        self._rates_of_categories = CurrentRates(self.labels, self.statistics)
        self.row_of: dict[str, int] = {}
        """Row of each known article; kernels read it, only the catalog writes it."""
        self.order_keys: dict[str, int] = {}
        """Hashes by news id that order candidates of equal score; whoever fills it in bounds it."""
        self._free: list[int] = []
        self._undecayed = half_lives_s.index(None) if None in half_lives_s else -1

    def beside(self, d: int) -> Self:
        """Catalog that shares articles, rows, labels and statistics with this one, and has its own vectors.

        It begins without vectors. :meth:`close` ends it.

        Args:
            d: The dimension of those vectors.
        """
        other = copy(self)
        other._vectors = VectorColumn(d, self.capacity)
        self._vectors_of_all.append(other._vectors)
        return other

    def close(self) -> None:
        """Release the vectors of a catalog made by :meth:`beside`."""
        self._vectors_of_all[:] = [column for column in self._vectors_of_all if column is not self._vectors]

    def __len__(self) -> int:
        return len(self.row_of)

    def __contains__(self, news_id: object) -> bool:
        return news_id in self.row_of

    @property
    def capacity(self) -> int:
        """Number of allocated rows, including the last, which stands for unknown articles."""
        return len(self.labels.withdrawn)

    @property
    def d(self) -> int:
        """The vectors' dimension."""
        return self._vectors.d

    @property
    def revision(self) -> object:
        """Token that changes whenever an article gets or loses a vector; no two catalogs share one."""
        return self._vectors.revision

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Shape (capacity, d)."""
        return self._vectors.vectors

    @property
    def has_vector(self) -> NDArray[np.bool_]:
        """Shape (capacity,)."""
        return self._vectors.has_vector

    @property
    def sample_mean(self) -> NDArray[np.float32]:
        """Mean (d,) of the vectors of up to 256 articles from all over the catalog."""
        return self._vectors.sample_mean(len(self.ids))

    @property
    def vectors_held(self) -> int:
        """Number of articles that have a vector."""
        return self._vectors.held

    @property
    def category(self) -> NDArray[np.int32]:
        """Codes into ``category_names``, shape (capacity,)."""
        return self.labels.category

    @property
    def subcategory(self) -> NDArray[np.int32]:
        """Codes into ``subcategory_names``, shape (capacity,)."""
        return self.labels.subcategory

    @property
    def language(self) -> NDArray[np.int32]:
        """Codes of languages, shape (capacity,)."""
        return self.labels.language

    @property
    def withdrawn(self) -> NDArray[np.bool_]:
        """Mask of withdrawn articles, shape (capacity,)."""
        return self.labels.withdrawn

    @property
    def category_names(self) -> list[str]:
        """Category names by code."""
        return self.labels.categories.by_code

    @property
    def subcategory_names(self) -> list[str]:
        """Subcategory names by code."""
        return self.labels.subcategories.by_code

    @property
    def newest_published_at_s(self) -> float:
        """Latest publication time of any article; minus infinity while none is known."""
        return self.statistics.newest_published_at_s

    @property
    def clicks(self) -> NDArray[np.float64]:
        """Decayed clicks, shape (capacity, H)."""
        return self.statistics.of(CLICKS)

    @property
    def impressions(self) -> NDArray[np.float64]:
        """Decayed impressions, shape (capacity, H)."""
        return self.statistics.of(IMPRESSIONS)

    @property
    def published_at_s(self) -> NDArray[np.float64]:
        """Publication times, shape (capacity,)."""
        return self.statistics.times_s[:, PUBLISHED]

    @property
    def first_seen_s(self) -> NDArray[np.float64]:
        """Times of the first event, shape (capacity,)."""
        return self.statistics.times_s[:, FIRST_SEEN]

    @property
    def stats_time_s(self) -> NDArray[np.float64]:
        """Times that the counts hold as of, shape (capacity,)."""
        return self.statistics.times_s[:, LAST_EVENT]

    def row(self, news_id: str) -> int:
        """The row of ``news_id``; -1 if it is unknown."""
        return self.row_of.get(news_id, -1)

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows (n,) of ``ids``; -1 where one is unknown."""
        return kernels.rows_of(self.row_of, ids)

    def put_article(  # noqa: PLR0917 - the order of ports.IndexedArticle
        self,
        news_id: str,
        vector: ArrayLike | None,
        published_at_s: float,
        title: str = "",
        category: str = "",
        subcategory: str = "",
        language: str = "",
    ) -> int:
        """Add an article, or replace all but its statistics, and return its row.

        Args:
            news_id: The article's id.
            vector: Shape (d,); ``None`` where it has none yet.
            published_at_s: Unix seconds; NaN where it is unknown.
            title: Shown in answers, never ranked by.
            category: Empty where it is unknown.
            subcategory: Empty where it is unknown.
            language: Empty where it is unknown.

        Raises:
            ValueError: The vector has another dimension or is not finite; nothing is changed then.
        """
        checked = None if vector is None else self._vectors.checked(news_id, vector)
        row = self._put(news_id)
        self._vectors.put(row, checked)
        self.statistics.publish(row, published_at_s)
        self.titles[row] = title
        self.labels.put(row, category, subcategory, language)
        return row

    def put_vector(self, news_id: str, vector: ArrayLike | None) -> int:
        """Replace only an article's vector, known or not, and return its row.

        Raises:
            ValueError: The vector has another dimension or is not finite; nothing is changed then.
        """
        checked = None if vector is None else self._vectors.checked(news_id, vector)
        row = self._put(news_id)
        self._vectors.put(row, checked)
        return row

    def put_stats(
        self,
        news_id: str,
        time_s: float,
        clicks: Sequence[float],
        impressions: Sequence[float],
        first_seen_s: float,
        *,
        expected: Sequence[float] | None = None,
        clicked_at_s: float = math.nan,
    ) -> bool:
        """Store a snapshot of an article's statistics, unless a newer one is held.

        Undecayed counts only grow, so the snapshot with fewer clicks and impressions is the older one.

        Args:
            news_id: The article's id, known or not.
            time_s: The time that the counts are decayed to.
            clicks: H decayed clicks, in the order of ``half_lives_s``.
            impressions: H decayed impressions.
            first_seen_s: The time of the article's first event.
            expected: H decayed expected clicks; zeros where the slates' sizes were unknown.
            clicked_at_s: The time of its last click; NaN if there is none.

        Returns:
            Whether the snapshot was stored.

        Raises:
            ValueError: There are not H counts, or a number is not finite; nothing is changed then.
        """
        heads = len(self.half_lives_s)
        counts = (clicks, impressions, [0.0] * heads if expected is None else expected)
        if any(len(kind) != heads for kind in counts):
            raise ValueError(
                f"article {news_id!r}: statistics at {len(clicks)} and {len(impressions)} half-lives, "
                f"not {heads}"
            )
        if not math.isfinite(time_s + first_seen_s + sum(map(sum, counts))):
            raise ValueError(f"article {news_id!r}: its statistics are not finite")
        row = self._put(news_id)
        last = self._undecayed
        if clicks[last] + impressions[last] < self.clicks[row, last] + self.impressions[row, last]:
            return False
        self.statistics.put(row, time_s, counts)
        self.first_seen_s[row] = first_seen_s
        self.statistics.times_s[row, LAST_CLICK] = clicked_at_s
        return True

    def count_slate(
        self,
        ids: Sequence[str],
        clicked: NDArray[np.bool_],
        time_s: float,
        context: Iterable[str] = (),
        *,
        rows: NDArray[np.int64] | None = None,
        slate: int | None = None,
    ) -> None:
        """Count one impression of each of ``ids`` at ``time_s``, and a click where ``clicked`` (n,) is true.

        The columns then hold what :meth:`put_stats` with the articles' counts would store, up to rounding.
        Evaluation counts this way, because no other process keeps its statistics.

        Args:
            ids: Distinct articles, known or not.
            clicked: Shape (n,).
            time_s: Event time, Unix seconds.
            context: The user's recent clicks before this slate, distinct.
            rows: Shape (n,): the result of :meth:`rows` for ``ids``, if no article was removed since.
            slate: Number of articles in the slate, where not all of them count.
        """
        rows = self.rows(ids) if rows is None else rows.copy()
        for slot in (rows < 0).nonzero()[0].tolist():
            rows[slot] = self._put(ids[slot])
        self.statistics.count(rows, clicked, time_s, slate)
        for slot in clicked.nonzero()[0].tolist():
            self.co_clicks.add_click(ids[slot], context)

    def set_withdrawn(self, news_id: str, withdrawn: bool) -> None:
        """Mark an article, known or not, as withdrawn or as back."""
        self.withdrawn[self._put(news_id)] = withdrawn

    def remove(self, news_id: str) -> bool:
        """Forget an article and its statistics; False if it was unknown. Its row may be used again."""
        row = self.row_of.pop(news_id, None)
        if row is None:
            return False
        self.statistics.clear(row)
        self.ids[row] = ""
        self.titles[row] = ""
        self.labels.clear(row)
        for column in self._vectors_of_all:
            column.clear(row)
        self.co_clicks.replace(news_id, {})
        self._free.append(row)
        return True

    def decayed(
        self, rows: NDArray[np.int64], now_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clicks and impressions (n, H) of ``rows`` (n,) as of ``now_s``; later snapshots stay unchanged."""
        counts, _ = self.statistics.at(rows, now_s)
        heads = len(self.half_lives_s)
        return counts[:, :heads], counts[:, heads : 2 * heads]

    def nearest_count(self, half_life_s: float) -> int:
        """Index of the count whose half-life is nearest to ``half_life_s``, as a ratio."""
        ratios = [abs(math.log((half_life or math.inf) / half_life_s)) for half_life in self.half_lives_s]
        return ratios.index(min(ratios))

    def global_counts(self, now_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clicks and impressions (H,) of all articles together as of ``now_s``."""
        counts = self.statistics.all_at(now_s)
        return counts[CLICKS], counts[IMPRESSIONS]

    def category_rates(self, now_s: float) -> tuple[CategoryRates, CategoryRates]:
        """Recent click rates of categories and of subcategories."""
        return self._rates_of_categories.at(len(self.ids), now_s)

    def _put(self, news_id: str) -> int:
        """The row of ``news_id``, allocated if needed."""
        row = self.row_of.get(news_id)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self.ids[row] = news_id
        else:
            row = len(self.ids)
            # The last row is never allocated: it is the one that index -1 reads.
            if row + 1 == self.capacity:
                self._grow()
            self.ids.append(news_id)
            self.titles.append("")
        self.row_of[news_id] = row
        return row

    def _grow(self) -> None:
        self.labels.grow()
        self.statistics.grow()
        for column in self._vectors_of_all:
            column.grow()
