"""YouTube DNN: one table of articles for both sides, the history pooled, a weighted logistic loss.

After Covington, Adams and Sargin ("Deep Neural Networks for YouTube Recommendations", RecSys 2016): what was
watched is looked up in one table, averaged, and goes through ReLU layers; the loss of a positive is weighted
by how long it was watched,

    loss = - sum w_i log sigmoid(s_i) over positives - sum log(1 - sigmoid(s_i)) over negatives,

so that exp(s) learns the expected watch time. MIND has clicks without durations, so that every w is 1; on
ratings (:func:`train_youtube_dnn_ratings`) it is the stars. Here the table is 64 dimensions an article and 16
a category, beside the text vector; the user tower is [256, 128], the item tower [128], then 64, normalised.
An article that is new has row 0 of the table and lives by its text; ``news_id_dropout`` teaches that.

The pooling is one of

- ``average``: the plain mean of all clicks, as in the paper; served exactly;
- ``attentive``: four heads, each a decayed mean in which a click weighs exp(a_j(v)) by its own article. This
  is what a stream can serve of attention; served exactly;
- ``self-attention``: clicks attend to each other, as in a transformer's layer. The weight of a click then
  depends on all others, so that no sum can be kept of them, and every click would mean to read the whole
  history again. It is refused for impressions, and there for ratings, where a user's vector is computed once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Feature
from freshet.models.ports import FloatMatrix
from freshet.models.training.loop import FitSettings, Observer
from freshet.models.training.negatives import Negatives
from freshet.models.training.towers.click_towers import ClickTowerSizes, train_click_towers
from freshet.models.training.towers.slate_task import SlateSettings
from freshet.models.training.trained_model import TrainedModel

MODEL = "youtube-dnn"

AVERAGE_HALF_LIVES_S = (3.2e8,)
"""Ten years: within a log, nothing fades."""
ATTENTIVE_HALF_LIVES_S = (86_400.0, 604_800.0, 2_592_000.0, 3.2e8)


@dataclass(frozen=True)
class YoutubeDnnSettings:
    """What is trained on impressions.

    Raises:
        ValueError: A value is out of range, or the pooling cannot be served.
    """

    d: int = 64
    article_embedding: int = 64
    category_embedding: int = 16
    use_text: bool = True
    text_width: int = 64
    user_widths: tuple[int, ...] = (256, 128)
    item_widths: tuple[int, ...] = (128,)
    """Before the last, which gives ``d``."""
    pooling: Literal["average", "attentive", "self-attention"] = "average"
    news_id_dropout: float = 0.5
    """The share of articles that are treated as new in training."""
    dropout: float = 0.1
    temperature: float = 0.1
    """The first; the heads' mix, which holds its inverse, is trained."""
    minimum: int = 2
    negatives: Negatives = "skips"
    n_negatives: int = 4
    max_clicks: int = 50
    batch: int = 128

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.pooling == "self-attention":
            raise ValueError(
                "pooling self-attention cannot be served on a stream: the weight of a click would depend on "
                "all others, and no sum of clicks can be kept. Choose pooling=attentive, which weighs each "
                "click by its own article, or train on ratings"
            )
        for name in ("d", "article_embedding", "category_embedding", "text_width", "minimum"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if min((*self.user_widths, *self.item_widths, 1)) < 1:
            raise ValueError("a width is not positive")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}, must be positive")
        if not 0.0 <= self.news_id_dropout < 1.0:
            raise ValueError(f"news_id_dropout is {self.news_id_dropout}, must be from 0 to below 1")
        self.slates()

    def slates(self) -> SlateSettings:
        """What an example is; no skips are pooled."""
        return SlateSettings(
            loss="bce",
            negatives=self.negatives,
            n_negatives=self.n_negatives,
            max_clicks=self.max_clicks,
            max_skips=0,
            batch=self.batch,
        )

    def sizes(self) -> ClickTowerSizes:
        """What the towers consist of."""
        average = self.pooling == "average"
        embedding: dict[Feature, int] = {
            "category": self.category_embedding,
            "subcategory": self.category_embedding,
            "news_id": self.article_embedding,
        }
        return ClickTowerSizes(
            d=self.d,
            text_width=self.text_width if self.use_text else 0,
            embedding=embedding,
            article_widths=self.item_widths,
            user_widths=self.user_widths,
            batch_norm=False,
            dropout=self.dropout,
            news_id_dropout=self.news_id_dropout,
            temperature=self.temperature,
            half_lives_s=AVERAGE_HALF_LIVES_S if average else ATTENTIVE_HALF_LIVES_S,
            attention=not average,
            learn_decay=not average,
            population=True,
            prior_weight=1.0,
            minimum=self.minimum,
        )


def train_youtube_dnn(  # noqa: PLR0917 - the signature that every model's training has
    train: ImpressionLog,
    validation: ImpressionLog,
    settings: YoutubeDnnSettings,
    fit: FitSettings,
    observer: Observer,
    text_vectors: FloatMatrix | None,
) -> TrainedModel:
    """Train on impressions, stop by later ones.

    Args:
        train: To train on.
        validation: Later ones of the same log.
        settings: The model's.
        fit: The loop's.
        observer: Is told how it goes.
        text_vectors: Shape (articles, d_text), zeros without text.

    Raises:
        ValueError: There is nothing to learn from, or ``text_vectors`` are missing.
        TrainingError: The loss is not finite, or the device cannot be used.
    """
    return train_click_towers(
        MODEL,
        train,
        validation,
        settings.sizes(),
        settings.slates(),
        dataclasses.asdict(settings),
        fit,
        observer,
        text_vectors,
    )
