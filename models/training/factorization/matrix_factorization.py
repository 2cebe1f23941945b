r"""Matrix factorization: a vector for every user and every article, learned from clicks.

The model of Vespa's news recommendation tutorial (part 4, 2021), with biases (Koren, Bell and Volinsky, 2009,
equation 4):

.. math:: P(\text{click}) = \sigma(\mu + b_u + b_a + p_u \cdot q_a),

trained by binary cross-entropy on the clicks and, for each, ``per_click`` negatives; by default skips of the
same impression. With in-batch negatives the loss is the softmax over the batch's articles instead, corrected
for how often each is in a batch (Yi et al., 2019).

What it can: it needs no content, and finds taste that no text says. What it cannot: **an article that
training did not show has no vector**, which in news is nearly every article that is to be recommended, and a
user that training did not see has none either. On training impressions its AUC rises as long as one lets it
(.974 after 100 epochs in Vespa's tutorial), on those of the days after it stays near .5 (.51). It is here to
show that, and as the part of other models that memorises.

The bundle holds the users' vectors (``user.table``), which frozen evaluation compares with the articles'; a
stream serves it like any other, with users pooled from the vectors of what they click.

For stars instead of clicks see :mod:`freshet.models.training.ratings.factorization`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.embedding.bundle import TowerSpec
from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.ports import FloatMatrix
from freshet.models.training.click_examples import ClickBatch, ClickExamples
from freshet.models.training.factorization.factor_tables import POOLED, FactorTables, numbered
from freshet.models.training.labelled_slates import candidate_slots, rankable_impressions
from freshet.models.training.loop import FitSettings, Observer, fit
from freshet.models.training.negatives import Negatives
from freshet.models.training.setting_ranges import check_at_least, check_positive
from freshet.models.training.trained_model import TrainedModel


@dataclass(frozen=True)
class MatrixFactorizationSettings:
    """Settings of the model and its examples.

    Raises:
        ValueError: A value is out of range.
    """

    d: int = 50
    biases: bool = True
    """Learn the three biases; without them the model is the dot product."""
    negatives: Negatives = "skips"
    per_click: int = 4
    """Negatives for each click."""
    batch_clicks: int = 512
    """Clicks of a batch, for a learning rate of .005. The cost of a step grows with the tables, so that a log
    of millions of articles and users needs thousands."""
    penalty: float = 0.0
    """L2 penalty of the vectors of each pair."""
    init_std: float = 0.1
    """Standard deviation of the initial values."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(self, 1, "d", "per_click", "batch_clicks")
        check_at_least(self, 0, "penalty")
        check_positive(self, "init_std")
        if self.negatives not in get_args(Negatives):
            raise ValueError(
                f"negatives is {self.negatives!r}, must be one of {', '.join(get_args(Negatives))}"
            )


def train_matrix_factorization(
    train: ImpressionLog,
    validation: ImpressionLog,
    settings: MatrixFactorizationSettings,
    fit_settings: FitSettings,
    observer: Observer,
    *,
    text_vectors: FloatMatrix | None = None,
) -> TrainedModel:
    """Train on the clicks of a slice of a log; the validation's AUC decides which epoch is kept.

    Args:
        train: Slice to train on.
        validation: Later slice of the same log.
        settings: Settings of the model.
        fit_settings: Settings of the training loop.
        observer: Observer of the training.
        text_vectors: Not read: the model knows only ids.

    Raises:
        ValueError: Nothing was clicked in ``train``.
        TrainingError: See :func:`~freshet.models.training.loop.fit`.
    """
    task = ClickFactorization(train, validation, settings, fit_settings.seed)
    result = fit(task, fit_settings, observer)
    return TrainedModel(
        model="mf",
        d=settings.d,
        tower=TowerSpec(features=("news_id",)),
        user=POOLED,
        weights=task.module.export(),
        examples=task.examples,
        vocabularies={
            "news_id": tuple(train.articles.ids[article] for article in task.articles),
            "user_id": tuple(train.user_ids[user] for user in task.users),
        },
        settings=asdict(settings),
        curve=result.curve,
        figures=task.figures(result.figures),
    )


class ClickFactorization:
    """Training task, see :class:`~freshet.models.training.loop.Task`."""

    def __init__(
        self,
        train: ImpressionLog,
        validation: ImpressionLog,
        settings: MatrixFactorizationSettings,
        seed: int,
    ) -> None:
        self._settings = settings
        self._clicks = ClickExamples(train, settings.negatives, settings.per_click)
        self.articles = self._clicks.shown
        """Numbers of the articles with a row, in the order of the rows."""
        self.examples = len(self._clicks)
        """Number of clicks."""
        self.users = np.unique(self._clicks.users)
        """Numbers of the users with a row, in the order of the rows."""
        self._user_row = numbered(self.users, len(train.user_ids))
        self._item_row = numbered(self.articles, len(train.articles))
        torch.manual_seed(seed)
        self.module = FactorTables(
            len(self.users), len(self.articles), settings.d, settings.init_std, settings.biases
        )
        self._validation = _Impressions(validation)

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one epoch of batches."""
        if self._clicks.wants_vectors:
            table = self.module.item.weight.detach().cpu().numpy()
            self._clicks.refresh(table[self._item_row])
        for batch in self._clicks.batches(rng, self._settings.batch_clicks):
            yield self._tensors(batch)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Binary cross-entropy of clicks and negatives; softmax cross-entropy with in-batch negatives."""
        if "counts" in batch:
            items = batch["items"].T.expand(len(batch["users"]), -1)  # (B, B): the batch's clicked articles
            scores, p, q = self.module(batch["users"], items)
            scores = (scores - batch["log_q"]).masked_fill(~batch["counts"], -torch.inf)
            loss = functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
        else:
            scores, p, q = self.module(batch["users"], batch["items"])
            clicked = torch.zeros_like(scores)
            clicked[:, 0] = 1.0
            loss = functional.binary_cross_entropy_with_logits(scores, clicked)
        if self._settings.penalty:
            loss = loss + self._settings.penalty * (p.square().sum(-1).mean() + q.square().sum(-1).mean())
        return loss

    def validate(self) -> tuple[float, dict[str, float]]:
        """Compute the AUC, the score; 0 where no impression can be ranked."""
        auc = self.auc(self._validation)
        return (0.0, {}) if auc is None else (auc, {"auc": auc})

    def figures(self, kept: dict[str, float]) -> dict[str, float]:
        """Figures of the kept epoch, and the share of the validation candidates that have a vector."""
        figures = {name: kept[name] for name in ("loss", "auc") if name in kept}
        return figures | {"known_candidates": self._validation.share_of(self._item_row > 0)}

    def auc(self, impressions: _Impressions) -> float | None:
        """Mean AUC of impressions; ``None`` where none has both labels.

        An unknown user or article has the mean vector and bias of the known ones.
        """
        if not len(impressions.sizes):
            return None
        weights = self.module.export()
        users, items = weights["user.table.weight"], weights["article.news_id.weight"].copy()
        users[0] = users[1:].mean(axis=0)
        items[0] = items[1:].mean(axis=0)
        item_rows = self._item_row[impressions.candidates]
        user_rows = np.repeat(self._user_row[impressions.users], impressions.sizes)
        scores = np.concatenate(
            [
                np.einsum(
                    "nd,nd->n",
                    users[user_rows[start : start + _CHUNK]],
                    items[item_rows[start : start + _CHUNK]],
                )
                for start in range(0, len(item_rows), _CHUNK)
            ]
        ).astype(np.float64)
        if "article.bias" in weights:
            biases = weights["article.bias"]
            biases[0] = biases[1:].mean()
            scores += biases[item_rows]
        return float(RankedSlates.of(impressions.labels, scores, impressions.sizes).auc().mean())

    def _tensors(self, batch: ClickBatch) -> dict[str, Tensor]:
        tensors = {
            "users": torch.from_numpy(self._user_row[batch.users]),
            "items": torch.from_numpy(self._item_row[batch.articles]),
        }
        if batch.counts is not None and batch.log_q is not None:
            tensors |= {"counts": torch.from_numpy(batch.counts), "log_q": torch.from_numpy(batch.log_q)}
        return tensors


_CHUNK = 1 << 18
"""Number of candidates scored at once."""


class _Impressions:
    """Impressions of a slice that have both labels."""

    def __init__(self, log: ImpressionLog) -> None:
        both = rankable_impressions(log)
        kept, _ = candidate_slots(log, both)
        self.sizes: NDArray[np.intp] = np.diff(log.slate_start)[both]
        self.users = log.user[both]
        self.candidates = log.candidates[kept]
        self.labels = log.clicked[kept].astype(np.float64)

    def share_of(self, known: NDArray[np.bool_]) -> float:
        """Share of the candidates that are ``known`` (articles,)."""
        return float(known[self.candidates].mean()) if len(self.candidates) else 0.0
