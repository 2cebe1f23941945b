"""What slates are trained with: the settings of an example, and what a model must be able to do.

:mod:`freshet.models.training.towers.slate_task` explains both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from freshet.models.training.negatives import Negatives
from freshet.models.training.setting_ranges import check_at_least

Loss = Literal["bce", "listwise"]


class SlateModel(Protocol):
    """What is trained on slates."""

    @property
    def module(self) -> nn.Module:
        """All that is trained."""
        ...

    def article_vectors(self, numbers: Tensor) -> Tensor:
        """Vectors (n, d) of articles by number (n,); zeros for one of which nothing is known."""
        ...

    def user_vectors(self, users: Tensor, events: UserInputs) -> Tensor:
        """One vector (B, d) for each of ``users`` (B,), the mix of all heads: its dot product scores."""
        ...

    def own_scores(self, numbers: Tensor) -> Tensor | None:
        """What is added to the scores of articles (n,) in training only; ``None``: nothing."""
        ...

    @property
    def bias(self) -> Tensor:
        """Added to every logit of ``bce``, a scalar: the log-odds of a click."""
        ...

    @property
    def offset_scale(self) -> Tensor:
        """What the ranker's score by ids is multiplied by, a positive scalar."""
        ...

    @property
    def centred(self) -> bool:
        """Whether scores are taken less the user's score of the average clicked article."""
        ...


@dataclass(frozen=True)
class UserInputs:
    """Events as tensors: the vectors of clicked articles (B, L, d), their ages (B, L), and those of skips."""

    clicks: Tensor
    click_age_s: Tensor
    skips: Tensor
    skip_age_s: Tensor


@dataclass(frozen=True)
class SlateSettings:
    """What an example is, and what is lost on it.

    Raises:
        ValueError: A value is out of range.
    """

    loss: Loss = "listwise"
    negatives: Negatives = "skips"
    n_negatives: int = 4
    """For each click, where examples are clicks."""
    max_slate: int = 50
    """Candidates of an example, where examples are slates."""
    max_clicks: int = 50
    """Of a user's events, the newest."""
    max_skips: int = 50
    batch: int = 128
    """Examples."""
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
