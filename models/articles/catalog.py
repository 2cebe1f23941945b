"""What one process knows of every article: vectors, labels and decayed statistics, one row each.

Columns are NumPy arrays, so that a slate is scored with a few array operations. Guarantees:

- A row keeps its number for as long as its article is known. Columns are reallocated when they grow, so read
  them through the catalog each time.
- Row -1, which :meth:`ArticleCatalog.rows` gives for an unknown article, can be used as an index everywhere:
  it reads as "nothing is known" (no vector, no clicks, NaN times, the empty category).
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
    EXPECTED,
    FIRST_SEEN,
    IMPRESSIONS,
    LAST_CLICK,
    LAST_EVENT,
    PUBLISHED,
)

STATS_HALF_LIVES_S: tuple[float | None, ...] = (1_800.0, 10_800.0, 86_400.0, None)
"""Half-lives of the clicks and impressions of an article; ``None`` does not decay."""

_INITIAL_CAPACITY = 1_024


class ArticleCatalog:
    """One row for each known article.

    Public columns, all of the same capacity: ``vectors`` (capacity, d) float32, ``has_vector`` bool,
    ``published_at_s`` and ``first_seen_s`` float64 (NaN: unknown), ``category``, ``subcategory`` and
    ``language`` int32 codes (into ``category_names`` and so on; 0 is the empty name), ``withdrawn`` bool,
    ``clicks``, ``impressions`` and ``expected`` (capacity, H) float64 as of ``stats_time_s`` float64 (NaN: no
    statistics), ``clicked_at_s`` float64, the last click (NaN: none). ``expected`` counts 1/n for a showing
    in a slate of n: the clicks of that slate, if each had one and all of its articles the same chance.
    ``ids`` and ``titles`` have one entry for each row in use or freed (an empty id).

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
        """The row of each known article; for kernels to read, and only the catalog's to write."""
        self._free: list[int] = []
        self._undecayed = half_lives_s.index(None) if None in half_lives_s else -1

    def beside(self, d: int) -> Self:
        """A catalog of the same articles, rows, labels and statistics, with vectors of its own: none yet.

        What becomes known to either of the two is known to both, but for vectors. :meth:`close` ends it.

        Args:
            d: The dimension of those vectors.
        """
        other = copy(self)
        other._vectors = VectorColumn(d, self.capacity)
        self._vectors_of_all.append(other._vectors)
        return other

    def close(self) -> None:
        """Let the vectors go, where this is a catalog beside another."""
        self._vectors_of_all[:] = [column for column in self._vectors_of_all if column is not self._vectors]

    def __len__(self) -> int:
        return len(self.row_of)

    def __contains__(self, news_id: object) -> bool:
        return news_id in self.row_of

    @property
    def capacity(self) -> int:
        """Rows allocated, the one that stands for unknown articles (the last) included."""
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
    def vectors_held(self) -> int:
        """Articles that have a vector."""
        return self._vectors.held

    @property
    def category(self) -> NDArray[np.int32]:
        """Shape (capacity,), as the following: codes, and whether an article is withdrawn."""
        return self.labels.category

    @property
    def subcategory(self) -> NDArray[np.int32]:
        """The finer category."""
        return self.labels.subcategory

    @property
    def language(self) -> NDArray[np.int32]:
        """The language."""
        return self.labels.language

    @property
    def withdrawn(self) -> NDArray[np.bool_]:
        """Whether an article was withdrawn."""
        return self.labels.withdrawn

    @property
    def category_names(self) -> list[str]:
        """By code."""
        return self.labels.categories.by_code

    @property
    def subcategory_names(self) -> list[str]:
        """By code."""
        return self.labels.subcategories.by_code

    @property
    def language_names(self) -> list[str]:
        """By code."""
        return self.labels.languages.by_code

    @property
    def newest_published_at_s(self) -> float:
        """No article of the catalog was published later; minus infinity while no date is known."""
        return self.statistics.newest_published_at_s

    @property
    def clicks(self) -> NDArray[np.float64]:
        """Shape (capacity, H)."""
        return self.statistics.of(CLICKS)

    @property
    def impressions(self) -> NDArray[np.float64]:
        """Shape (capacity, H)."""
        return self.statistics.of(IMPRESSIONS)

    @property
    def expected(self) -> NDArray[np.float64]:
        """Shape (capacity, H)."""
        return self.statistics.of(EXPECTED)

    @property
    def published_at_s(self) -> NDArray[np.float64]:
        """Shape (capacity,), as the following."""
        return self.statistics.times_s[:, PUBLISHED]

    @property
    def first_seen_s(self) -> NDArray[np.float64]:
        """The first event."""
        return self.statistics.times_s[:, FIRST_SEEN]

    @property
    def stats_time_s(self) -> NDArray[np.float64]:
        """The time of the counts."""
        return self.statistics.times_s[:, LAST_EVENT]

    @property
    def clicked_at_s(self) -> NDArray[np.float64]:
        """The last click."""
        return self.statistics.times_s[:, LAST_CLICK]

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
        """Add an article or replace what is known of it, all but its statistics; gives its row.

        Args:
            news_id: The article's id.
            vector: Shape (d,); ``None`` where it has none yet.
            published_at_s: NaN where it is unknown.
            title: For answers only.
            category: The empty string where it is unknown, here and in the following.
            subcategory: The finer category.
            language: The language's code.

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
        """Replace an article's vector and nothing else; it need not have been announced. Gives its row.

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
        """Take a snapshot of an article's statistics, unless a newer one is held.

        Undecayed counts only grow, so the snapshot with fewer clicks and impressions is the older one.

        Args:
            news_id: The article's id; it need not have been announced.
            time_s: The time that the counts are decayed to.
            clicks: H decayed clicks, in the order of ``half_lives_s``.
            impressions: H decayed impressions.
            first_seen_s: The time of the article's first event.
            expected: H decayed expected clicks; zeros where whoever counted did not know the slates' sizes.
            clicked_at_s: The time of its last click; NaN if there is none.

        Returns:
            Whether the snapshot was taken.

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
        self.clicked_at_s[row] = clicked_at_s
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

        The columns then hold what :meth:`put_stats` of the articles' counts would put there, up to rounding,
        at the cost of one article: for an evaluation, where nobody else keeps the statistics.

        Args:
            ids: Distinct; they need not have been announced.
            clicked: Shape (n,).
            time_s: Event time.
            context: What the user had lately clicked before, distinct.
            rows: Shape (n,): what :meth:`rows` gave for ``ids``, if no article was removed since.
            slate: How many articles the slate showed, where not all of them count.
        """
        rows = self.rows(ids) if rows is None else rows.copy()
        for slot in (rows < 0).nonzero()[0].tolist():
            rows[slot] = self._put(ids[slot])
        self.statistics.count(rows, clicked, time_s, slate)
        for slot in clicked.nonzero()[0].tolist():
            self.co_clicks.add(ids[slot], context)

    def set_withdrawn(self, news_id: str, withdrawn: bool) -> None:
        """Mark an article as withdrawn, or as back; it need not have been announced."""
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
        """Clicks and impressions (n, H) of ``rows`` as of ``now_s``; zeros where nothing is known.

        A snapshot from after ``now_s`` is given as it is.
        """
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
        """How much categories and subcategories are clicked, as of lately."""
        return self._rates_of_categories.at(len(self.ids), now_s)

    def _put(self, news_id: str) -> int:
        """The row of ``news_id``, allotted if need be."""
        row = self.row_of.get(news_id)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self.ids[row] = news_id
        else:
            row = len(self.ids)
            # The last row is never allotted: it is the one that index -1 reads.
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
