"""Training on slates: candidates and clicks of each impression, and the user's earlier events.

A :class:`~freshet.models.training.loop.Task` for every model that has article vectors and makes queries of
a user's earlier events. An example is

- a click and ``n_negatives`` articles that count as not wanted (:mod:`freshet.models.training.negatives`), or
- with the loss ``listwise`` and the negatives ``skips``, the whole slate of an impression, at most
  ``max_slate`` of it: all that was clicked and a random part of the rest.

Losses: ``bce``, binary cross-entropy of each candidate; ``listwise``, the cross-entropy of the softmax over
an example's candidates (ListNet's top-one probabilities; Cao et al., 2007), where only the order within a
slate counts.

With ``residual``, the ranker's score by ids alone (:mod:`freshet.models.training.ranker_offsets`) is added to
the model's, in training and in validation: the model learns what popularity, age and fatigue do not say.

A user's events are those of strictly earlier impressions
(:class:`~freshet.models.training.user_events.UserEvents`), in training and in validation: the validation
score is what a stream would reach with the weights frozen. Scores are centred as they are when served: q . (v
- m), m the mean of what is clicked, and 0 for an article that has no vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from freshet.models.datasets.impression_log import ImpressionLog
from freshet.models.evaluation.ranking_metrics import RankedSlates
from freshet.models.training.click_examples import ClickBatch, ClickExamples
from freshet.models.training.labelled_slates import candidate_slots, rankable_impressions
from freshet.models.training.negatives import shown_articles
from freshet.models.training.tensors import evaluating
from freshet.models.training.towers.slate_model import SlateModel, SlateSettings, UserInputs
from freshet.models.training.user_events import EventBatch, UserEvents

MAX_VALIDATION = 20_000
"""Maximum number of validation impressions; more of them only take longer."""
_ARTICLES_AT_ONCE = 8_192
_IMPRESSIONS_AT_ONCE = 512


class SlateTask:
    """Training task on the slates of a log; see the module.

    Args:
        model: Model under training.
        train: Impressions to train on.
        validation: Later impressions of the same log.
        settings: Settings of the examples.
        offsets: Shape (candidates of both,), the ranker's scores of ``train`` and ``validation`` joined
            (:mod:`freshet.models.training.ranker_offsets`).

    Raises:
        ValueError: No impression of ``train`` has a click and a skip, or none of ``validation``.
    """

    def __init__(
        self,
        model: SlateModel,
        train: ImpressionLog,
        validation: ImpressionLog,
        settings: SlateSettings,
        offsets: NDArray[np.float32] | None = None,
    ) -> None:
        if settings.residual and offsets is None:
            raise ValueError("residual training needs the ranker's offsets")
        self._offsets = offsets
        self._model = model
        self._settings = settings
        self._train = train
        self._validation = validation
        self._events = UserEvents(train)
        self._validation_events = UserEvents(validation, train)
        self._measured = rankable_impressions(validation, MAX_VALIDATION)
        usable = rankable_impressions(train)
        if not len(usable) or not len(self._measured):
            which = "training" if not len(usable) else "validation"
            raise ValueError(f"the {which} part has no impression with both a click and a skip")
        self._slate_positions = usable
        self._clicks: ClickExamples | None = None
        if not settings.by_slate:
            self._clicks = ClickExamples(
                train,
                settings.negatives,
                settings.n_negatives,
                eligible=shown_articles(train),
                skips_by_popularity=True,
            )
        self._clicked_counts = np.bincount(
            train.candidates[train.clicked], minlength=len(train.articles)
        ).astype(np.float32)

    @property
    def module(self) -> nn.Module:
        """Module under training."""
        return self._model.module

    @property
    def examples(self) -> int:
        """Number of examples of one epoch."""
        return len(self._slate_positions if self._clicks is None else self._clicks)

    def batches(self, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Yield one shuffled epoch of batches."""
        size = self._settings.batch
        if self._clicks is not None:
            if self._clicks.wants_vectors:
                # Once an epoch: vectors nearer to the model's current ones would cost a pass for each batch.
                self._clicks.refresh(self._table().numpy())
            for clicks in self._clicks.batches(rng, size):
                yield self._click_batch(clicks)
            return
        order = self._slate_positions[rng.permutation(len(self._slate_positions))]
        for start in range(0, len(order), size):
            yield self._slate_batch(order[start : start + size], rng)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss over the examples."""
        vectors = self._model.article_vectors(batch["articles"])  # (articles of the batch, d)
        vectors = torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])  # Row 0 pads.
        candidates, clicked = batch["candidates"], batch["clicked"]
        inputs = UserInputs(
            vectors[batch["clicks"]], batch["click_age_s"], vectors[batch["skips"]], batch["skip_age_s"]
        )
        users = self._model.user_vectors(batch["user"], inputs)  # (B, d)
        shown = vectors[candidates]  # (B, C, d)
        if self._model.centred:
            mean = shown[clicked > 0].mean(dim=0)
            shown = (shown - mean) * shown.detach().any(dim=-1, keepdim=True)
        scores = torch.einsum("bd,bcd->bc", users, shown).float()  # (B, C)
        own = self._model.own_scores(batch["articles"])
        if own is not None:
            scores = scores + torch.cat([own.new_zeros(1), own])[candidates]
        valid = candidates > 0
        if self._settings.loss == "bce":
            losses = functional.binary_cross_entropy_with_logits(
                scores + self._model.bias, clicked, reduction="none"
            )
            return (losses * valid).sum() / valid.sum()
        if "log_q" in batch:
            scores = scores - batch["log_q"]
        if "offset" in batch:
            scores = scores + self._model.offset_scale * batch["offset"]
        log_chance = scores.masked_fill(~valid, -torch.inf).log_softmax(dim=1)
        hits = torch.where(clicked > 0, log_chance, 0.0).sum(dim=1)
        return -(hits / clicked.sum(dim=1)).mean()

    def validate(self) -> tuple[float, dict[str, float]]:
        """Compute AUC, MRR and nDCG@10 of the validation impressions with a click and a skip.

        The score is the AUC: with ``residual``, that of model and ranker together (``auc_with_ids``).
        """
        labels, sizes, scores, offsets = self.validation_scores()
        ranked = RankedSlates.of(labels, scores, sizes)
        figures = {
            "auc": float(ranked.auc().mean()),
            "mrr": float(ranked.mrr().mean()),
            "ndcg@10": float(ranked.ndcg(10).mean()),
        }
        if offsets is not None:
            together = scores + float(self._model.offset_scale) * offsets
            figures["auc_with_ids"] = float(RankedSlates.of(labels, together, sizes).auc().mean())
        return figures["auc_with_ids" if self._settings.residual else "auc"], figures

    def validation_scores(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64] | None]:
        """Labels (n,), sizes (impressions,), scores (n,) and offsets (n,) of the validation impressions."""
        log, module = self._validation, self._model.module
        table = self._table().to(next(module.parameters()).device)
        counts = torch.from_numpy(self._clicked_counts).to(table.device) * table.any(dim=1)
        mean = counts @ table / counts.sum().clamp_min(1.0)
        at, _ = candidate_slots(log, self._measured)
        parts = [
            self._scores_of(self._measured[start : start + _IMPRESSIONS_AT_ONCE], table, mean)
            for start in range(0, len(self._measured), _IMPRESSIONS_AT_ONCE)
        ]
        offsets = None
        if self._offsets is not None:
            offsets = self._offsets[len(self._train.candidates) + at].astype(np.float64)
        sizes = np.diff(log.slate_start)[self._measured].astype(np.intp)
        return log.clicked[at].astype(np.float64), sizes, np.concatenate(parts), offsets

    def _scores_of(self, positions: NDArray[np.int64], table: Tensor, mean: Tensor) -> NDArray[np.float64]:
        log, settings = self._validation, self._settings
        events = self._validation_events.batch(positions, settings.max_clicks, settings.max_skips)
        padded = torch.cat([table, table.new_zeros(1, table.shape[1])])  # Row -1 pads.

        def moved(array: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(array.astype(np.int64) if array.dtype == np.int32 else array).to(
                table.device
            )

        inputs = UserInputs(
            padded[moved(events.clicks)],
            moved(events.click_age_s),
            padded[moved(events.skips)],
            moved(events.skip_age_s),
        )
        users = self._model.user_vectors(moved(log.user[positions]), inputs)
        at, row = candidate_slots(log, positions)
        shown = table[moved(log.candidates[at])]
        if self._model.centred:
            shown = (shown - mean) * shown.any(dim=-1, keepdim=True)
        return (users[moved(row)] * shown).sum(dim=1).double().cpu().numpy()

    def _table(self) -> Tensor:
        """Vectors (articles, d) of all articles in evaluation mode, on the CPU."""
        module = self._model.module
        numbers = torch.arange(len(self._train.articles), device=next(module.parameters()).device)
        with evaluating(module):
            parts = torch.split(numbers, _ARTICLES_AT_ONCE)
            return torch.cat([self._model.article_vectors(part).float().cpu() for part in parts])

    def _click_batch(self, clicks: ClickBatch) -> dict[str, Tensor]:
        candidates = clicks.articles  # (B, C): the clicked article first
        if clicks.counts is None or clicks.log_q is None:
            clicked = np.zeros(candidates.shape, np.float32)
            clicked[:, 0] = 1.0
            return self._batch(clicks.impressions, candidates, clicked)
        # In-batch negatives, (B, B): the batch's clicked articles, -1 where one does not count.
        candidates = np.where(clicks.counts, candidates.T, np.int32(-1))
        batch = self._batch(clicks.impressions, candidates, np.eye(len(candidates), dtype=np.float32))
        # Copied to every row: memory that is pinned for a GPU must not overlap.
        batch["log_q"] = torch.from_numpy(clicks.log_q).repeat(len(candidates), 1)
        return batch

    def _slate_batch(self, positions: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        at, candidates, clicked = self._slates(positions, rng)
        batch = self._batch(positions, candidates, clicked)
        if self._settings.residual and self._offsets is not None:
            batch["offset"] = torch.from_numpy(np.where(at >= 0, self._offsets[at], np.float32(0.0)))
        return batch

    def _batch(
        self, positions: NDArray[np.int64], candidates: NDArray[np.int32], clicked: NDArray[np.float32]
    ) -> dict[str, Tensor]:
        events = self._events.batch(positions, self._settings.max_clicks, self._settings.max_skips)
        batch = _numbered(candidates, events)
        batch["clicked"] = torch.from_numpy(clicked)
        batch["user"] = torch.from_numpy(self._train.user[positions].astype(np.int64))
        return batch

    def _slates(
        self, positions: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Slates (B, C) of at most ``max_slate`` candidates, the clicked ones first.

        Returns:
            Slots in the log and articles, both -1 where a slate is shorter, and marks of the clicked ones.
        """
        at, row = candidate_slots(self._train, positions)
        skipped = ~self._train.clicked[at]
        order = np.lexsort((rng.random(len(at)), skipped, row))
        at, row = at[order], row[order]
        column = np.arange(len(at)) - np.searchsorted(row, np.arange(len(positions)))[row]
        kept = column < self._settings.max_slate
        at, row, column = at[kept], row[kept], column[kept]
        shape = (len(positions), int(column.max()) + 1)
        slots, clicked = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
        slots[row, column] = at
        clicked[row, column] = self._train.clicked[at]
        return slots, np.where(slots >= 0, self._train.candidates[slots], np.int32(-1)), clicked


def _numbered(candidates: NDArray[np.int32], events: EventBatch) -> dict[str, Tensor]:
    """Batch with articles numbered from 1 within it, 0 for padding, so that each is computed once."""
    parts = (candidates, events.clicks, events.skips)
    known, inverse = np.unique(np.concatenate([part.ravel() for part in parts]), return_inverse=True)
    if len(known) and known[0] < 0:
        known = known[1:]
    else:
        inverse = inverse + 1
    numbers = np.split(inverse, np.cumsum([part.size for part in parts])[:-1])
    shaped = [
        torch.from_numpy(number.reshape(part.shape)) for number, part in zip(numbers, parts, strict=True)
    ]
    return {
        "candidates": shaped[0],
        "articles": torch.from_numpy(known.astype(np.int64)),
        "clicks": shaped[1],
        "click_age_s": torch.from_numpy(events.click_age_s),
        "skips": shaped[2],
        "skip_age_s": torch.from_numpy(events.skip_age_s),
    }
