r"""Reasons for a recommendation: contributions of the user's heads, and the most similar recent click.

**Contributions per head.** A linear ranker's score is a sum of one term for each feature
(:meth:`~freshet.models.ranking.linear.LinearRanker.contributions`). The terms of the dot products are terms
of the user's heads: ``dot_first`` of the first head, ``dot_last`` and ``dot_by_maturity`` of the last
interest head, ``dot_skips`` of the head that skips feed, ``dot_best`` of whichever head has the largest
product. So the heads' contributions sum to those of the dot products.

**"Because you read"** names the recent click i whose vector has the largest cosine with the article's,
:math:`\cos(v - m, v_i - m)`, if that is at least ``LEAST_COSINE``. Both are measured from m, the mean of the
catalog's vectors (a sample of them): all vectors of a sigmoid tower point the same way, so that from the
origin every article would be similar to every other.

Neither looks beyond the model: a feature's term says what moved the score, not what would make a person
click.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.articles.catalog import ArticleCatalog
from freshet.models.kernels.unit_norm import to_unit_norm
from freshet.models.ranking.features import FEATURES
from freshet.models.recommend.slate import Slate
from freshet.models.users.view import UserView

# Random articles, each with the most similar of 20 random others (1,200 articles of MIND, MiniLM projected
# to 64 dimensions, 20,000 draws; 20 % of all pairs share a category, 4 % a subcategory):
# from 0.3 on: 44 % claimed, of which 68 % share the category and 30 % the subcategory;
# from 0.4 on: 14 %, 82 % and 46 %; from 0.5 on: 3 %, 89 % and 59 %.
LEAST_COSINE: Final = 0.4
"""Smallest cosine at which two articles count as similar."""
_BY_HEAD: Final = ("dot_first", "dot_last", "dot_by_maturity", "dot_best", "dot_skips")


def most_similar_clicks(rows: NDArray[np.int64], user: UserView, catalog: ArticleCatalog) -> list[str | None]:
    """The user's recent click most similar to each article; ``None`` where no click is similar enough.

    An article is not similar to itself. Of two equally similar clicks the older one is named.

    Args:
        rows: Shape (n,): rows of ``catalog``, -1 where unknown.
        user: The reader whose recent clicks are compared.
        catalog: Vectors of the articles.
    """
    if not user.seen or not len(rows):
        return [None] * len(rows)
    clicked = list(user.seen)
    clicked_rows = catalog.rows(clicked)  # (c,)
    cosines = _centred(catalog, rows) @ _centred(catalog, clicked_rows).T  # (n, c)
    cosines[rows[:, None] == clicked_rows[None, :]] = 0.0
    best = cosines.argmax(axis=1)  # (n,)
    return [
        clicked[j] if cosine >= LEAST_COSINE else None
        for j, cosine in zip(best.tolist(), cosines[np.arange(len(rows)), best].tolist(), strict=True)
    ]


def head_contributions(slate: Slate) -> Iterator[dict[str, float]]:
    """Contributions of the heads to the score of each article shown, by name; zeros are left out.

    Contributions of heads with one name (all heads of an unknown user are ``population``) are added up.
    """
    user, catalog = slate.user, slate.catalog
    features, rows = slate.scored.features[slate.picks], slate.scored.rows[slate.picks]  # (m, F), (m,)
    terms = slate.ranker.contributions(features)[:, [FEATURES.index(name) for name in _BY_HEAD]]  # (m, 5)
    dots = catalog.vectors[rows] @ user.vectors[:-1].T - user.dot_offsets[:-1]  # (m, interest heads)
    last = len(user.vectors) - 2
    for of_article, best in zip(terms.tolist(), dots.argmax(axis=1).tolist(), strict=True):
        by_head = dict.fromkeys(user.head_names, 0.0)
        for head, term in zip((0, last, last, best, -1), of_article, strict=True):
            by_head[user.head_names[head]] += term
        yield {name: term for name, term in by_head.items() if term}


def _centred(catalog: ArticleCatalog, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit vectors (n, d) measured from the catalog's mean; zero for an article without a vector."""
    vectors: NDArray[np.float32] = catalog.vectors[rows] - catalog.sample_mean
    vectors[~catalog.has_vector[rows]] = 0.0
    return to_unit_norm(vectors)
