"""User side under training: :class:`freshet.models.users.state.UserState` in torch, on padded batches.

For each head j, events i of age t_i with article vectors v_i, and N the heads' number,

    a_ij = 2 tanh(A_j . v_i + b_j),   w_ij = exp(a_ij) * 2 ** (-t_i / h_j),
    u_j = (sum_i w_ij v_i + lambda m_j) / (sum_i w_ij + lambda),   q_j = layers(u_j),
    score(v) = sum_j mix_j (q_j . v),

over the user's clicks in all heads but the last, over the skips in the last, whose vector is used as it is.
Trained are A, b, the half-lives h, lambda, the population's m and the mix. NumPy's ``UserState`` and
``UserView`` give the same vectors to 1e-5 from the same events.

Because exp(a) belongs to the article and not to the pair of article and candidate (as in DIN; Zhou et al.,
2018) or to the whole history (as in NRMS; Wu et al., 2019), the pooled vector is a sum that a stream updates
in one step. That is the price: no click is weighed by what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.models.embedding.bundle import UserSpec
from freshet.models.training.tensors import to_numpy, unit_vectors
from freshet.models.training.towers.feature_tower import MultiLayer
from freshet.models.users.pooling import ATTENTION_BOUND

LOG_SCALE = 10.0
"""Factor of the optimizer's steps on the logarithms of half-lives: Adam's steps of 0.001 would not get from
an hour to a day in an epoch of a small log."""


class UserEncoder(nn.Module):
    """Encoder that pools events into a user's vectors.

    Args:
        d: Dimension of the article vectors.
        spec: Heads, with the half-lives and ``prior_weight`` that training starts from.
        layer_widths: Outputs of each of the user's layers, the last one ``d``.
        learn_decay: Train the half-lives and ``prior_weight``; otherwise they stay as they are.

    Raises:
        ValueError: The user's layers do not give ``d`` numbers.
    """

    def __init__(
        self, d: int, spec: UserSpec, *, layer_widths: Sequence[int] = (), learn_decay: bool = True
    ) -> None:
        super().__init__()
        if len(layer_widths) != len(spec.layers) or (layer_widths and layer_widths[-1] != d):
            raise ValueError(
                f"the user's layers have the widths {tuple(layer_widths)}, must end with d = {d}"
            )
        self.spec = spec
        heads = spec.heads
        half_lives_s = torch.tensor([*spec.half_lives_s, spec.negative_half_life_s], dtype=torch.float64)
        self.register_buffer("first_log_half_lives", half_lives_s.log(), persistent=False)
        self.first_log_half_lives: Tensor
        self.first_log_prior = math.log(spec.prior_weight)
        self.log_half_lives = nn.Parameter(torch.zeros(heads), requires_grad=learn_decay)
        self.log_prior = nn.Parameter(torch.zeros(()), requires_grad=learn_decay)
        # Zeros: training starts from events that count alike.
        self.attention_weight = nn.Parameter(torch.zeros(heads, d), requires_grad=spec.attention)
        self.attention_bias = nn.Parameter(torch.zeros(heads), requires_grad=spec.attention)
        self.population = nn.Parameter(torch.zeros(heads, d), requires_grad=spec.population)
        self.layers = MultiLayer(d, layer_widths, spec.layers)
        mix = torch.full((heads,), 1.0 / (heads - 1))
        mix[-1] = 0.0
        self.mix = nn.Parameter(mix)

    @property
    def half_lives_s(self) -> Tensor:
        """Half-lives (heads,) float64, positive; that of the skips last."""
        return (self.first_log_half_lives + LOG_SCALE * self.log_half_lives.double()).exp()

    @property
    def prior_weight(self) -> Tensor:
        """Lambda, a positive scalar."""
        return (self.first_log_prior + self.log_prior).exp()

    def pooled(
        self,
        clicks: Tensor,
        click_age_s: Tensor,
        skips: Tensor,
        skip_age_s: Tensor,
        population: Tensor | None = None,
    ) -> Tensor:
        """Pool events into vectors (B, heads, d) float32.

        Args:
            clicks: (B, L, d), vectors of clicked articles; a row of zeros, for padding or an article without
                a vector, has no effect.
            click_age_s: (B, L), seconds.
            skips: (B, M, d), vectors of skipped articles, zeros likewise.
            skip_age_s: (B, M), seconds.
            population: (d,), the prior where the bundle has no ``user.population``; zeros by default.
        """
        rates = self.half_lives_s.reciprocal().float()
        heads = self.spec.heads
        sums = [
            self._sums(clicks, click_age_s, rates[:-1], slice(0, heads - 1)),
            self._sums(skips, skip_age_s, rates[-1:], slice(heads - 1, heads)),
        ]
        s = torch.cat([part[0] for part in sums], dim=1)  # (B, heads, d)
        z = torch.cat([part[1] for part in sums], dim=1)  # (B, heads)
        prior: Tensor = self.population
        if not self.spec.population and population is not None:
            prior = population.expand(s.shape[1:])
        weight = self.prior_weight
        return (s + weight * prior) / (z + weight).unsqueeze(-1)

    def forward(
        self,
        clicks: Tensor,
        click_age_s: Tensor,
        skips: Tensor,
        skip_age_s: Tensor,
        population: Tensor | None = None,
    ) -> Tensor:
        """Pool events and apply the user's layers: queries (B, heads, d), see :meth:`pooled`."""
        return self.queries(self.pooled(clicks, click_age_s, skips, skip_age_s, population))

    def queries(self, vectors: Tensor) -> Tensor:
        """Queries (B, heads, d) of pooled vectors (B, heads, d); the last head is used as it is."""
        if not self.spec.layers and not self.spec.normalise:
            return vectors
        interests = vectors[:, :-1]
        queries = self.layers(interests.reshape(-1, interests.shape[-1])).reshape(interests.shape)
        if self.spec.normalise:
            queries = unit_vectors(queries)
        return torch.cat([queries, vectors[:, -1:]], dim=1)

    def scores(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (B, C) of candidates (B, C, d) for queries (B, heads, d)."""
        return torch.einsum("h,bhd,bcd->bc", self.mix, queries, candidates)

    def exported_spec(self) -> UserSpec:
        """Spec with the trained half-lives and ``prior_weight``."""
        half_lives_s = self.half_lives_s.detach().cpu()[self.head_order()].tolist()
        return self.spec.model_copy(
            update={
                "half_lives_s": tuple(half_lives_s[:-1]),
                "negative_half_life_s": half_lives_s[-1],
                "prior_weight": float(self.prior_weight.detach()),
            }
        )

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Weights by their names in the bundle, interest heads by growing half-life."""
        order = self.head_order()
        weights = self.layers.export("user.layers") | {"user.mix": to_numpy(self.mix)[order]}
        if self.spec.attention:
            weights["user.attention.weight"] = to_numpy(self.attention_weight)[order]
            weights["user.attention.bias"] = to_numpy(self.attention_bias)[order]
        if self.spec.population:
            weights["user.population"] = to_numpy(self.population)[order]
        return weights

    def head_order(self) -> list[int]:
        """Numbers of the interest heads by growing half-life, then that of the skips."""
        half_lives_s = self.half_lives_s.detach().cpu()
        return [*half_lives_s[:-1].argsort(stable=True).tolist(), len(half_lives_s) - 1]

    def _sums(self, vectors: Tensor, age_s: Tensor, rates: Tensor, heads: slice) -> tuple[Tensor, Tensor]:
        """Weighted sums (B, h, d) and sums of weights (B, h) of some heads."""
        weights = torch.exp2(-age_s.unsqueeze(1) * rates[:, None])  # (B, h, n)
        if self.spec.attention:
            scores = torch.einsum("bnd,hd->bhn", vectors, self.attention_weight[heads])  # (B, h, n)
            scores = scores + self.attention_bias[heads][:, None]
            weights = weights * (ATTENTION_BOUND * scores.tanh()).exp()
        weights = weights * vectors.detach().any(dim=-1).unsqueeze(1)
        return torch.einsum("bhn,bnd->bhd", weights, vectors), weights.sum(dim=-1)
