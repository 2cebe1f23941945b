"""YouTube DNN: one table of articles for both sides, the history pooled, a weighted logistic loss.

After Covington, Adams and Sargin ("Deep Neural Networks for YouTube Recommendations", RecSys 2016): what was
watched is looked up in one table, averaged, and goes through ReLU layers; the loss of a positive is weighted
by how long it was watched,

    loss = - sum w_i log sigmoid(s_i) over positives - sum log(1 - sigmoid(s_i)) over negatives,

so that exp(s) learns the expected watch time. MIND has clicks without durations, so that every w is 1;
on ratings (:mod:`freshet.models.training.ratings.youtube_dnn`) it is the stars. Here the table is 64
dimensions an article and 16 a category, beside the text vector; the user tower is [256, 128], the item tower
[128], then 64, normalised. An article that is new has row 0 of the table and lives by its text;
``news_id_dropout`` teaches that.

The pooling is one of

- ``average``: the plain mean of all clicks, as in the paper; served exactly;
- ``attentive``: four heads, each a decayed mean in which a click weighs exp(a_j(v)) by its own article. This
  is what a stream can serve of attention; served exactly;
- ``self-attention``: clicks attend to each other, as in a transformer's layer. The weight of a click then
  depends on all others, so that no sum can be kept of them, and every click would mean to read the whole
  history again. It is refused for impressions, and there for ratings, where a user's vector is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from freshet.models.embedding.bundle import Feature
from freshet.models.training.towers.click_towers import ClickTowerSettings
from freshet.models.training.towers.slate_model import Loss

AVERAGE_HALF_LIVES_S = (3.2e8,)
"""Ten years: within a log, nothing fades."""
ATTENTIVE_HALF_LIVES_S = (86_400.0, 604_800.0, 2_592_000.0, 3.2e8)


@dataclass(frozen=True)
class YoutubeDnnSettings(ClickTowerSettings):
    """Settings of the YouTube DNN on impressions.

    Raises:
        ValueError: A value is out of range, or the pooling cannot be served.
    """

    d: int = 64
    text_width: int = 64
    n_negatives: int = 4
    article_embedding: int = 64
    """Dimension of the table of article ids."""
    category_embedding: int = 16
    """Dimension of the tables of categories and subcategories."""
    item_widths: tuple[int, ...] = (128,)
    """Widths of the article tower's ReLU layers, before the last layer, which gives ``d``."""
    pooling: Literal["average", "attentive", "self-attention"] = "average"

    model: ClassVar[str] = "youtube-dnn"
    loss: ClassVar[Loss] = "bce"
    _embedding_settings: ClassVar[tuple[str, ...]] = ("article_embedding", "category_embedding")

    def __post_init__(self) -> None:
        """Check the ranges, and that the pooling can be served."""
        if self.pooling == "self-attention":
            raise ValueError(
                "pooling self-attention cannot be served on a stream: the weight of a click would depend on "
                "all others, and no sum of clicks can be kept. Choose pooling=attentive, which weighs each "
                "click by its own article, or train on ratings"
            )
        super().__post_init__()

    @property
    def article_widths(self) -> tuple[int, ...]:
        """Widths of the article tower's ReLU layers."""
        return self.item_widths

    @property
    def embeddings(self) -> Mapping[Feature, int]:
        """Dimension of each feature's table."""
        labels: dict[Feature, int] = dict.fromkeys(("category", "subcategory"), self.category_embedding)
        return labels | {"news_id": self.article_embedding}

    @property
    def half_lives_s(self) -> tuple[float, ...]:
        """One head that never fades for the average, four for the attentive pooling."""
        return ATTENTIVE_HALF_LIVES_S if self.attention else AVERAGE_HALF_LIVES_S

    @property
    def attention(self) -> bool:
        """Weigh a click by its article, unless all count alike."""
        return self.pooling != "average"

    @property
    def learn_decay(self) -> bool:
        """Train the half-lives, unless nothing may fade."""
        return self.pooling != "average"
