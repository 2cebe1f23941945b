"""DSSM: two towers of features, compared by cosine, trained with a softmax over sampled articles.

From words to search results (Huang et al., "Learning Deep Structured Semantic Models for Web Search using
Clickthrough Data", CIKM 2013) to users and articles (Yi et al., RecSys 2019). Each side is a multi-layer
perceptron that ends in a vector of norm 1; with D+ what was clicked and D the candidates,

    P(D+ | user) = exp(cos(q, v_D+) / T) / sum over D of exp(cos(q, v_D) / T),   loss = -log P(D+ | user).

The article tower reads text vector, category, subcategory, first entity and, on request, the id; [256, 128]
with ReLU and batch normalization, then 128 dimensions. The user tower reads the decayed mean of the article
vectors clicked: with ``user_layers`` it is a [256, 128] to 128 tower as well, without them the mean itself.
The candidates are drawn as ``negatives`` says: the impression's own skips, uniformly, by popularity, the
batch's other clicks with ``log q`` subtracted, the nearest, or a mixture.

What it can do: retrieve by one nearest-neighbour search, for any article with a text, from the last click on.
What it cannot: use a user's id on a stream (a pooled history stands for it; the ids are in
:mod:`freshet.models.training.ratings.dssm`, which is not streamed), or see user and article together before
the dot product. A cosine has no place for an article's popularity apart from its direction: that is left to
the ranker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from freshet.models.embedding.bundle import Feature
from freshet.models.training.towers.click_towers import ClickTowerSettings
from freshet.models.training.towers.slate_model import Loss


@dataclass(frozen=True)
class DssmSettings(ClickTowerSettings):
    """Settings of the DSSM on impressions.

    Raises:
        ValueError: A value is out of range.
    """

    widths: tuple[int, ...] = (256, 128)
    """Widths of the article tower's ReLU layers, before the last layer, which gives ``d``."""
    user_layers: bool = False
    """Use the user tower. Without it a user is compared by the pooled vectors themselves, which start similar
    to what was clicked; layers have to learn that first, and small logs do not suffice."""
    features: tuple[Feature, ...] = ("category", "subcategory", "entity")
    embedding: int = 16
    """Dimension of each feature's table."""
    batch_norm: bool = True
    half_lives_s: tuple[float, ...] = (604_800.0,)
    """Half-lives of the interest heads, which training starts from."""
    attention: bool = True
    learn_decay: bool = True
    population: bool = False
    """Train a vector of users without events: it takes up what is popular, which the ranker knows better."""
    prior_weight: float = 3.0
    residual: bool = True
    """Learn the residual of the ranker's score by ids (popularity, age, fatigue), where the negatives are
    skips."""

    model: ClassVar[str] = "dssm"
    loss: ClassVar[Loss] = "listwise"
    _embedding_settings: ClassVar[tuple[str, ...]] = ("embedding",)

    @property
    def article_widths(self) -> tuple[int, ...]:
        """Widths of the article tower's ReLU layers."""
        return self.widths

    @property
    def embeddings(self) -> Mapping[Feature, int]:
        """Dimension of each feature's table, the same for all."""
        return dict.fromkeys(self.features, self.embedding)
