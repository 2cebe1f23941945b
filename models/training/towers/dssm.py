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
What it cannot: use a user's id on a stream (a pooled history stands for it; on ratings, which are not
streamed, :func:`train_dssm_ratings` has the id), or see user and article together before the dot product. A
cosine has no place for an article's popularity apart from its direction: that is left to the ranker.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Feature
from freshet.models.ports import FloatMatrix
from freshet.models.training.loop import FitSettings, Observer
from freshet.models.training.negatives import Negatives
from freshet.models.training.towers.click_towers import ClickTowerSizes, train_click_towers
from freshet.models.training.towers.slate_task import SlateSettings
from freshet.models.training.trained_model import TrainedModel

MODEL = "dssm"


@dataclass(frozen=True)
class DssmSettings:
    """What is trained on impressions.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 128
    widths: tuple[int, ...] = (256, 128)
    """Of the article tower's ReLU layers before the last."""
    user_widths: tuple[int, ...] = (256, 128)
    """Of the user tower's."""
    user_layers: bool = False
    """Without them a user is compared by the pooled vectors themselves, which start similar to what was
    clicked; layers have to learn that first, and small logs do not suffice."""
    use_text: bool = True
    text_width: int = 128
    features: tuple[Feature, ...] = ("category", "subcategory", "entity")
    embedding: int = 16
    minimum: int = 2
    """Articles that a category or entity must have to get an embedding."""
    news_id_dropout: float = 0.5
    """Of the id, where it is a feature: the share of articles that are treated as new."""
    batch_norm: bool = True
    dropout: float = 0.1
    temperature: float = 0.1
    """The first; the heads' mix, which holds its inverse, is trained."""
    half_lives_s: tuple[float, ...] = (604_800.0,)
    """What training starts from."""
    attention: bool = True
    learn_decay: bool = True
    population: bool = False
    """Train a vector of users without events: it takes up what is popular, which the ranker knows better."""
    prior_weight: float = 3.0
    negatives: Negatives = "skips"
    n_negatives: int = 20
    residual: bool = True
    """Where the negatives are skips, learn beside the ranker's score by ids: what popularity, age and fatigue
    do not say."""
    max_clicks: int = 50
    batch: int = 128

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("d", "text_width", "embedding", "minimum"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if min((*self.widths, *self.user_widths, 1)) < 1:
            raise ValueError("a width is not positive")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}, must be positive")
        if not (self.use_text or self.features):
            raise ValueError("a tower without text and features knows nothing")
        self.slates()

    def slates(self) -> SlateSettings:
        """What an example is; no skips are pooled."""
        return SlateSettings(
            loss="listwise",
            negatives=self.negatives,
            n_negatives=self.n_negatives,
            max_clicks=self.max_clicks,
            max_skips=0,
            batch=self.batch,
            residual=self.residual and self.negatives == "skips",
        )

    def sizes(self) -> ClickTowerSizes:
        """What the towers consist of."""
        return ClickTowerSizes(
            d=self.d,
            text_width=self.text_width if self.use_text else 0,
            embedding=dict.fromkeys(self.features, self.embedding),
            article_widths=self.widths,
            user_widths=self.user_widths if self.user_layers else None,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            news_id_dropout=self.news_id_dropout if "news_id" in self.features else 0.0,
            temperature=self.temperature,
            half_lives_s=self.half_lives_s,
            attention=self.attention,
            learn_decay=self.learn_decay,
            population=self.population,
            prior_weight=self.prior_weight,
            minimum=self.minimum,
        )


def train_dssm(  # noqa: PLR0917 - the signature that every model's training has
    train: ImpressionLog,
    validation: ImpressionLog,
    settings: DssmSettings,
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
