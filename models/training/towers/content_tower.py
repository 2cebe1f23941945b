"""Content tower: an article's vector from its text and labels, a user's from the user's events.

The article side is that of Vespa's news recommendation tutorial (part 4, 2021): text vector -> linear ->
sigmoid; concatenated with embeddings of category, subcategory and first entity -> linear -> v. The user side
is the stream's own state (:mod:`freshet.models.training.towers.user_encoder`): decayed, attentive means of
the vectors clicked, one for each half-life, one of the vectors skipped, and the population for who has none
of either.

What it can do: rank an article by its content from its first second on, for a user by the last click. What it
cannot: know that an article turned out popular, which the ranker's click-through rates know; weigh a past
click by the candidate it is compared with; or learn much from few articles: each is one example of what text
is liked, however often it was shown.

While training, an article may have an embedding of its id, hidden from a share of them. It takes up what is
an article's own (its picture, its day), so that the text's weights need not; it is dropped on export, and a
new article is worth what an old one is.

``reference`` is the tutorial's own configuration: a table of user vectors instead of the state, the id's
embedding kept, a sigmoid at the end, binary cross-entropy with 4 skips for each click. There users are rows:
one who comes later is their mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import Activation, Feature, TowerSpec, UserSpec
from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.ports import FloatMatrix
from freshet.models.ranking.linear import DEFAULT_WEIGHTS
from freshet.models.training.loop import FitSettings, Observer
from freshet.models.training.loop import fit as run_fit
from freshet.models.training.ranker_offsets import joined, ranker_offsets
from freshet.models.training.setting_ranges import check_at_least, check_share
from freshet.models.training.tensors import to_numpy
from freshet.models.training.towers.feature_tower import FeatureTowerModule
from freshet.models.training.towers.slate_model import SlateSettings, UserInputs
from freshet.models.training.towers.slate_task import SlateTask
from freshet.models.training.towers.slate_towers import SlateTowers
from freshet.models.training.towers.user_encoder import UserEncoder
from freshet.models.training.trained_model import TrainedModel

MODEL = "content-tower"
RANKER_SCALES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
_FIRST_BIAS = -1.4
"""Log-odds of one click among four negatives."""


@dataclass(frozen=True)
class ContentTowerSettings(SlateSettings):
    """Settings of the content tower; those of the examples are in the base class.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 64
    """Dimension of the article and user vectors."""
    text_width: int = 64
    """Outputs of the layer on the text vector."""
    embedding: int = 16
    """Dimension of each feature's table."""
    use_text: bool = True
    features: tuple[Feature, ...] = ("category", "subcategory", "entity")
    minimum: int = 2
    """Articles that a category or entity must have to get an embedding."""
    news_id: bool = False
    """Embed the article's id, in training only."""
    news_id_dropout: float = 0.5
    article_bias: bool = True
    """Give each article a number of its own, in training only."""
    similarity_start: bool = True
    """Start with vectors that are as similar as the texts are."""
    dropout: float = 0.5
    """Dropout rate of the text layer's outputs: the fewer the articles, the more is needed."""
    output: Activation = "none"
    """Activation after the last layer."""
    standardise: bool = True
    """Standardize text vectors by their mean and deviation."""
    half_lives_s: tuple[float, ...] = (7_200.0, 604_800.0)
    """Half-lives of the interest heads, which training starts from."""
    negative_half_life_s: float = 86_400.0
    prior_weight: float = 3.0
    attention: bool = True
    population: bool = True
    learn_decay: bool = True
    residual: bool = True
    """Learn the residual of the ranker's score by ids (popularity, age, fatigue)."""
    reference: bool = False
    """Use the tutorial's configuration, which sets all other settings but the sizes of batches."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "d", "text_width", "embedding", "minimum")
        check_share(self, "news_id_dropout", "dropout")
        if "news_id" in self.features:
            raise ValueError("news_id is no feature of a served article: set news_id instead")
        if not (self.use_text or self.features):
            raise ValueError("a tower without text and features knows nothing")

    def resolved(self) -> ContentTowerSettings:
        """Resolve ``reference``: the tutorial's settings where it is set, else these."""
        if not self.reference:
            return self
        return dataclasses.replace(
            self,
            d=50,
            text_width=50,
            embedding=50,
            features=("category", "subcategory", "entity"),
            minimum=1,
            news_id=True,
            news_id_dropout=0.0,
            output="sigmoid",
            standardise=False,
            article_bias=False,
            similarity_start=False,
            dropout=0.0,
            attention=False,
            population=False,
            learn_decay=False,
            loss="bce",
            negatives="skips",
            n_negatives=4,
            residual=False,
        )

    @property
    def tower(self) -> TowerSpec:
        """Spec of the article tower."""
        return TowerSpec(
            uses_text=self.use_text,
            text=("sigmoid",) if self.use_text else (),
            features=(*self.features, "news_id") if self.news_id else self.features,
            layers=(self.output,),
        )

    @property
    def user(self) -> UserSpec:
        """Spec of the user side that training starts from."""
        return UserSpec(
            half_lives_s=self.half_lives_s,
            negative_half_life_s=self.negative_half_life_s,
            prior_weight=self.prior_weight,
            attention=self.attention,
            population=self.population,
        )


class ContentModel(SlateTowers):
    """Article and user side; a :class:`~freshet.models.training.towers.slate_model.SlateModel`.

    Args:
        settings: Settings from :meth:`ContentTowerSettings.resolved`.
        train: Impressions; their articles and labels get embeddings.
        text_vectors: Shape (articles, d_text); not read without ``use_text``.

    Raises:
        ValueError: ``text_vectors`` is missing or too short, or no article has a text.
    """

    def __init__(
        self, settings: ContentTowerSettings, train: ImpressionLog, text_vectors: FloatMatrix | None
    ) -> None:
        spec = settings.tower
        super().__init__(
            spec,
            train,
            text_vectors,
            minimum=settings.minimum,
            text_width=settings.text_width,
            embedding=dict.fromkeys(spec.features, settings.embedding),
            layers=(settings.d,),
            standardise=settings.standardise,
            text_dropout=settings.dropout,
            news_id_dropout=settings.news_id_dropout,
        )
        self.settings = settings
        if settings.similarity_start and settings.use_text:
            _start_from_similarity(self.tower)
        self.users = UserEncoder(settings.d, settings.user, learn_decay=settings.learn_decay)
        self.article_bias = nn.Embedding(len(train.articles) + 1 if settings.article_bias else 1, 1)
        nn.init.zeros_(self.article_bias.weight)
        self.log_offset_scale = nn.Parameter(torch.zeros(()), requires_grad=settings.residual)
        self.bias = nn.Parameter(torch.tensor(0.0 if settings.reference else _FIRST_BIAS))
        self.bias.requires_grad_(not settings.reference)
        self.user_ids = tuple(np.unique(train.user).tolist()) if settings.reference else ()
        if settings.reference:
            self.users.requires_grad_(False)
            row_of = torch.zeros(len(train.user_ids), dtype=torch.int64)
            row_of[list(self.user_ids)] = torch.arange(1, 1 + len(self.user_ids))
            self.register_buffer("row_of_user", row_of, persistent=False)
            self.table = nn.Embedding(1 + len(self.user_ids), settings.d)
            nn.init.uniform_(self.table.weight, -0.05, 0.05)

    @property
    def centred(self) -> bool:
        """Whether the score of the average clicked article is subtracted from the scores."""
        return not self.settings.reference

    def own_scores(self, numbers: Tensor) -> Tensor | None:
        """Biases of articles (n,), in training only: their appeal beyond what the tower reads."""
        return self.article_bias(numbers).squeeze(1) if self.settings.article_bias else None

    def user_vectors(self, users: Tensor, events: UserInputs) -> Tensor:
        """Vectors (B, d) of ``users`` (B,)."""
        if self.settings.reference:
            table = self.table.weight
            known = self.get_buffer("row_of_user")[users]
            return torch.where((known > 0).unsqueeze(1), table[known], table[1:].mean(dim=0))
        queries = self.users(events.clicks, events.click_age_s, events.skips, events.skip_age_s)
        return torch.einsum("h,bhd->bd", self.users.mix, queries)

    def export(self, user_ids: Sequence[str]) -> tuple[TowerSpec, UserSpec, dict[str, NDArray[np.float32]]]:
        """Specs and weights of the bundle; ``user_ids`` are the log's."""
        settings = self.settings
        drop = settings.news_id and not settings.reference
        weights = self.tower.export(without_news_id=drop) | self.users.export()
        if drop:
            self.vocabularies.pop("news_id")
        if settings.reference:
            weights["user.table.weight"] = to_numpy(self.table.weight)
            self.vocabularies["user_id"] = tuple(user_ids[number] for number in self.user_ids)
        return self.tower.exported_spec(without_news_id=drop), self.users.exported_spec(), weights


def train_content_tower(  # noqa: PLR0917 - the signature that every model's training has
    train: ImpressionLog,
    validation: ImpressionLog,
    settings: ContentTowerSettings,
    fit: FitSettings,
    observer: Observer,
    text_vectors: FloatMatrix | None,
) -> TrainedModel:
    """Train on impressions, stop by later ones.

    Args:
        train: Impressions to train on.
        validation: Later impressions of the same log.
        settings: Settings of the model.
        fit: Settings of the training loop.
        observer: Observer of the training.
        text_vectors: Shape (articles, d_text), zeros without text.

    Raises:
        ValueError: There is nothing to learn from, or ``text_vectors`` are missing.
        TrainingError: The loss is not finite, or the device cannot be used.
    """
    resolved = settings.resolved()
    torch.manual_seed(fit.seed)
    model = ContentModel(resolved, train, text_vectors)
    offsets = None if resolved.reference else ranker_offsets(joined(train, validation))
    task = SlateTask(model, train, validation, resolved, offsets)
    result = run_fit(task, fit, observer)
    chosen, found = (None, {}) if offsets is None else _ranker_weights(task, model)
    tower, user, weights = model.cpu().export(train.user_ids)
    return TrainedModel(
        model=MODEL,
        d=resolved.d,
        tower=tower,
        user=user,
        weights=weights,
        examples=task.examples,
        vocabularies=model.vocabularies,
        settings=dataclasses.asdict(resolved),
        curve=result.curve,
        figures={**result.figures, **found},
        ranker_weights=chosen,
    )


def _ranker_weights(task: SlateTask, model: ContentModel) -> tuple[dict[str, float], dict[str, float]]:
    """Choose the linear ranker's weights by the AUC on the validation impressions; also gives the AUCs.

    The weights of the dot products are the mix of the heads times one number, which is chosen; the others
    are the default ones. The ranker has a weight for the first and for the last interest head.
    """
    with torch.no_grad():
        labels, sizes, scores, offsets = task.validation_scores()
    assert offsets is not None
    auc = np.stack(
        [RankedSlates.of(labels, offsets + scale * scores, sizes).auc() for scale in RANKER_SCALES]
    )  # (scales, impressions)
    lost = auc[auc.mean(axis=1).argmax()] - auc  # (scales, impressions): less than the best scale
    error = lost.std(axis=1) / np.sqrt(len(sizes))
    # The smallest that is as good as the best up to one standard error (Breiman et al., 1984): 0 where the
    # tower adds nothing that can be told from chance.
    chosen = int(np.flatnonzero(lost.mean(axis=1) <= error)[0])
    scale = RANKER_SCALES[chosen]
    mix = (scale * to_numpy(model.users.mix)[model.users.head_order()]).tolist()
    weights = {name: weight for name, weight in DEFAULT_WEIGHTS.items() if not name.startswith("dot_")}
    weights["dot_last"] = mix[-2]
    weights["dot_skips"] = mix[-1]
    if len(mix) > 2:  # noqa: PLR2004 - more than one interest head
        weights["dot_first"] = mix[0]
    figures = {
        "ranker_scale": scale,
        "auc_by_ids": float(auc[0].mean()),
        "auc_ranker": float(auc[chosen].mean()),
    }
    return {name: round(weight, 6) for name, weight in weights.items()}, figures


def _start_from_similarity(tower: FeatureTowerModule) -> None:
    """Initialize the tower as a projection: dot products of vectors are those of their texts.

    Random orthonormal rows keep dot products (Johnson and Lindenstrauss, 1984), a sigmoid is almost straight
    where it is entered, and the constant that it adds is taken away again.
    """
    text, last = tower.text.linears[0], tower.layers.linears[0]
    assert isinstance(text, nn.Linear) and isinstance(last, nn.Linear)
    nn.init.orthogonal_(text.weight)
    nn.init.zeros_(text.bias)
    with torch.no_grad():
        part = last.weight[:, : text.out_features]
        nn.init.orthogonal_(part)
        last.bias.copy_(-0.5 * part.sum(dim=1))
