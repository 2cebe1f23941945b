r"""Why an article is recommended: what each head adds to its score, and the recent click that it is like.

**Contributions per head.** A linear ranker's score is a sum of one term for each feature
(:meth:`~freshet.models.ranking.linear.LinearRanker.contributions`). The terms of the dot products are terms
of the user's heads: ``dot_first`` of the first head, ``dot_last`` and ``dot_by_maturity`` of the last
interest head,
``dot_skips`` of the head that skips feed, ``dot_best`` of whichever head has the largest product. So the
heads' contributions sum to those of the dot products.

**"Because you read"** names the recent click i whose vector has the largest cosine with the article's,
:math:`\cos(v - m, v_i - m)`, if that is at least ``LEAST_COSINE``. Both are measured from m, the mean of the
catalog's vectors (a sample of them): all vectors of a sigmoid tower point the same way, and from the origin
everything would be like everything.

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
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.scored_slate import ScoredSlate
from freshet.models.users.view import UserView

# Of random articles, each with the likest of 20 random others (1,200 articles of MIND, MiniLM projected to 64
# dimensions, 20,000 draws; 20 % of all pairs share a category, 4 % a subcategory):
# from 0.3 on: 44 % claimed, of which 68 % share the category and 30 % the subcategory;
# from 0.4 on: 14 %, 82 % and 46 %; from 0.5 on: 3 %, 89 % and 59 %.
LEAST_COSINE: Final = 0.4
"""Below it an article is not said to be like another."""
_SAMPLE: Final = 256
"""A mean over all of 100,000 articles would cost more than all else that an answer takes."""

_CENTRES: dict[object, NDArray[np.float32]] = {}
"""By the revision of a catalog, which no other has: measuring it takes a tenth of an answer's time."""
_MOST_CENTRES: Final = 16

_BY_HEAD: Final = ("dot_first", "dot_last", "dot_by_maturity", "dot_best", "dot_skips")


def likest_clicks(rows: NDArray[np.int64], user: UserView, catalog: ArticleCatalog) -> list[str | None]:
    """For each article the user's recent click that it is most like; ``None`` where it is like none.

    An article is not like itself. Of two clicks as like the older one is named.

    Args:
        rows: Shape (n,): rows of ``catalog``, -1 where unknown.
        user: Who clicked.
        catalog: The articles' vectors.
    """
    nothing: list[str | None] = [None] * len(rows)
    if not user.seen or not len(rows):
        return nothing
    clicked = list(user.seen)
    clicked_rows = catalog.rows(clicked)
    centre = _centre(catalog)
    cosines = _unit(catalog, rows, centre) @ _unit(catalog, clicked_rows, centre).T
    cosines[rows[:, None] == clicked_rows[None, :]] = 0.0
    likest = cosines.argmax(axis=1)
    best: list[float] = cosines[np.arange(len(rows)), likest].tolist()
    return [
        clicked[j] if cosine >= LEAST_COSINE else None
        for j, cosine in zip(likest.tolist(), best, strict=True)
    ]


def head_contributions(
    slate: ScoredSlate, picks: NDArray[np.intp], user: UserView, catalog: ArticleCatalog, ranker: LinearRanker
) -> Iterator[dict[str, float]]:
    """For each of ``picks`` (n,), what each head adds to its score, by the head's name; zeros are left out.

    Heads of one name (those of a user never seen are all ``population``) are added up.
    """
    terms = ranker.contributions(slate.features[picks])[:, [FEATURES.index(name) for name in _BY_HEAD]]
    rows = slate.rows[picks]
    dots = catalog.vectors[rows] @ user.vectors[:-1].T - user.dot_offsets[:-1]
    last = len(user.vectors) - 2
    for of_article, best in zip(terms.tolist(), dots.argmax(axis=1).tolist(), strict=True):
        by_head = dict.fromkeys(user.head_names, 0.0)
        for head, term in zip((0, last, last, best, -1), of_article, strict=True):
            by_head[user.head_names[head]] += term
        yield {name: term for name, term in by_head.items() if term}


def _centre(catalog: ArticleCatalog) -> NDArray[np.float32]:
    """The mean (d,) of vectors from all over the catalog; the same for the same catalog."""
    kept = _CENTRES.get(catalog.revision)
    if kept is None:
        kept = _mean_of_sample(catalog)
        if len(_CENTRES) >= _MOST_CENTRES:
            _CENTRES.clear()
        _CENTRES[catalog.revision] = kept
    return kept


def _mean_of_sample(catalog: ArticleCatalog) -> NDArray[np.float32]:
    rows = np.unique(np.linspace(0, max(0, len(catalog.ids) - 1), _SAMPLE).astype(np.intp))
    rows = rows[catalog.has_vector[rows]]
    if not len(rows):
        return np.zeros(catalog.d, np.float32)
    centre: NDArray[np.float32] = catalog.vectors[rows].mean(axis=0)
    return centre


def _unit(
    catalog: ArticleCatalog, rows: NDArray[np.int64], centre: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Vectors (n, d) from the centre, of length 1; 0 where there is none."""
    vectors: NDArray[np.float32] = catalog.vectors[rows] - centre
    vectors[~catalog.has_vector[rows]] = 0.0
    return to_unit_norm(vectors)
