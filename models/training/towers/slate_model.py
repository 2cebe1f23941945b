"""Settings of examples that are slates, and the protocol of their models.

Both are explained in :mod:`freshet.models.training.towers.slate_task`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from freshet.models.training.negatives import Negatives
from freshet.models.training.setting_ranges import check_at_least

Loss = Literal["bce", "listwise"]


class SlateModel(Protocol):
    """Model that is trained on slates."""

    @property
    def module(self) -> nn.Module:
        """Module under training."""
        ...

    def article_vectors(self, numbers: Tensor) -> Tensor:
        """Vectors (n, d) of articles by number (n,); zeros for an unknown article."""
        ...

    def user_vectors(self, users: Tensor, events: UserInputs) -> Tensor:
        """Query vectors (B, d) of ``users`` (B,), the mix of all heads; the score is their dot product."""
        ...

    def own_scores(self, numbers: Tensor) -> Tensor | None:
        """Summands of the scores of articles (n,), in training only; ``None`` for none."""
        ...

    @property
    def bias(self) -> Tensor:
        """Bias of the logits of ``bce``, a scalar: the log-odds of a click."""
        ...

    @property
    def offset_scale(self) -> Tensor:
        """Factor of the ranker's score by ids, a positive scalar."""
        ...

    @property
    def centred(self) -> bool:
        """Whether the score of the average clicked article is subtracted from the scores."""
        ...


@dataclass(frozen=True)
class UserInputs:
    """Events of users: vectors of clicked articles (B, L, d), their ages (B, L), and likewise of skips."""

    clicks: Tensor
    click_age_s: Tensor
    skips: Tensor
    skip_age_s: Tensor


@dataclass(frozen=True)
class SlateSettings:
    """Settings of examples and of the loss.

    Raises:
        ValueError: A value is out of range.
    """

    loss: Loss = "listwise"
    negatives: Negatives = "skips"
    n_negatives: int = 4
    """Negatives for each click, where examples are clicks."""
    max_slate: int = 50
    """Maximum number of candidates, where examples are slates."""
    max_clicks: int = 50
    """Newest clicks of a user that are pooled; ``max_skips`` likewise."""
    max_skips: int = 50
    batch: int = 128
    """Examples of a batch."""
    residual: bool = False
    """Train beside the ranker's score by ids, where examples are slates."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "n_negatives", "max_clicks")
        check_at_least(self, 2, "max_slate", "batch")
        check_at_least(self, 0, "max_skips")
        if self.loss == "bce" and self.negatives == "in-batch":
            raise ValueError("in-batch negatives need the loss listwise: their number is not their rate")
        if self.residual and not self.by_slate:
            raise ValueError("residual needs the loss listwise and the negatives skips, which rank slates")

    @property
    def by_slate(self) -> bool:
        """Whether an example is a whole slate."""
        return self.loss == "listwise" and self.negatives == "skips"
