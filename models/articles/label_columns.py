"""Label columns of a catalog: categories and languages as codes, and the withdrawn flag.

A name gets its code when it is first seen and keeps it; code 0 is the empty name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.statistics_columns import doubled


class Names:
    """Codes for names, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.by_code: list[str] = [""]
        self._codes = {"": 0}

    def code(self, name: str) -> int:
        """The code of ``name``, assigned if it is new."""
        code = self._codes.setdefault(name, len(self.by_code))
        if code == len(self.by_code):
            self.by_code.append(name)
        return code


class LabelColumns:
    """Labels by row; index -1, the last row, is never written and reads as nothing known.

    Args:
        capacity: Rows.
    """

    def __init__(self, capacity: int) -> None:
        self.categories, self.subcategories, self.languages = Names(), Names(), Names()
        self.category: NDArray[np.int32] = np.zeros(capacity, np.int32)
        """Codes of categories; all columns have the shape (capacity,)."""
        self.subcategory: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.language: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.withdrawn: NDArray[np.bool_] = np.zeros(capacity, np.bool_)

    def put(self, row: int, category: str, subcategory: str, language: str) -> None:
        """Label a row; its withdrawn flag does not change."""
        self.category[row] = self.categories.code(category)
        self.subcategory[row] = self.subcategories.code(subcategory)
        self.language[row] = self.languages.code(language)

    def clear(self, row: int) -> None:
        """Forget a row."""
        self.category[row] = self.subcategory[row] = self.language[row] = 0
        self.withdrawn[row] = False

    def grow(self) -> None:
        """Double the capacity."""
        self.category = doubled(self.category, 0)
        self.subcategory = doubled(self.subcategory, 0)
        self.language = doubled(self.language, 0)
        self.withdrawn = doubled(self.withdrawn, False)
