"""Diagnosis of an off-policy estimate, in sentences.

It checks in this order the support (could everything that the ranker shows have been shown?), the mean weight
(right propensities make it 1), and the number of lists and users (Owen, "Monte Carlo theory, methods and
examples", 2013, ch. 9.3, diagnoses importance weights in the same way). The thresholds are rules of thumb.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

from freshet.models.evaluation.off_policy.estimate import OffPolicyEstimate

MAX_UNSUPPORTED: Final = 0.01
"""Largest share of lists without support that is negligible."""
MAX_WEIGHT_ERROR: Final = 0.05
"""Largest negligible distance of the mean weight from 1."""
WEIGHT_DEVIATIONS: Final = 3.3
"""Standard errors from 1 at which the mean weight shows wrong propensities; by chance once in 1,000."""
MIN_LISTS: Final = 100.0
"""Effective lists below which a percentile bootstrap interval is too narrow."""
FEW_LISTS: Final = 1_000.0
MIN_USERS: Final = 30

Verdict = Literal["yes", "with care", "no"]


@dataclass(frozen=True, slots=True)
class Trust:
    """Verdict on an estimate, with its reasons."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Sentences, the gravest first."""


def trust(found: OffPolicyEstimate) -> Trust:
    """Diagnose an estimate."""
    wrong = [*_support(found), *_weights(found)]
    if found.effective_sample_size < MIN_LISTS:
        wrong.append(
            f"It rests on no more than {found.effective_sample_size:,.0f} lists' worth of evidence "
            f"(effective sample size; {found.lists:,} in all): the ranker shows too seldom what was shown. "
            "A longer log, a temperature, or a policy that explores more would help."
        )
    if wrong:
        return Trust("no", tuple(wrong))
    doubts = []
    if found.effective_sample_size < FEW_LISTS:
        doubts.append(
            f"It rests on {found.effective_sample_size:,.0f} lists' worth of evidence (effective sample "
            f"size; {found.lists:,} in all), few enough for the interval to be too narrow."
        )
    if found.users < MIN_USERS:
        doubts.append(f"The interval is that of {found.users} users; it takes more to know how users differ.")
    low, high = found.mean_weight.low, found.mean_weight.high
    if not low <= 1.0 <= high:
        doubts.append(
            f"The mean weight is {found.mean_weight.mean:.3f} ({low:.3f} to {high:.3f}), not quite 1: "
            "read SNIPS, not IPS."
        )
    if doubts:
        return Trust("with care", tuple(doubts))
    if found.depth == 1:
        return Trust(
            "yes", ("Within the interval; clicks at position 1 need no model of how lists are read.",)
        )
    return Trust(
        "yes",
        (
            "Within the interval, as far as a click depends on the article and its position, "
            "not on the others.",
        ),
    )


def _support(found: OffPolicyEstimate) -> list[str]:
    if found.zero_support <= MAX_UNSUPPORTED:
        return []
    return [
        f"On {found.zero_support:.0%} of the lists the policy that served left no choice (propensity 1) "
        "where the ranker would show something else. How that would have fared is unknown: IPS counts it "
        "as nothing, SNIPS as the rest. No weighting repairs that."
    ]


def _weights(found: OffPolicyEstimate) -> list[str]:
    weight, error = found.mean_weight, abs(found.mean_weight.mean - 1.0)
    width = 2.0 * NormalDist().inv_cdf(0.5 + found.confidence / 2.0)
    if error <= max(MAX_WEIGHT_ERROR, WEIGHT_DEVIATIONS * (weight.high - weight.low) / width):
        return []
    if weight.mean < 1.0:
        return [
            f"The mean weight is {weight.mean:.2f} ({weight.low:.2f} to {weight.high:.2f}), not 1: about "
            f"{1.0 - weight.mean:.0%} of what the ranker shows was hardly ever shown there, or the "
            "propensities are too large. IPS is too low; SNIPS speaks of the rest."
        ]
    return [
        f"The mean weight is {weight.mean:.2f} ({weight.low:.2f} to {weight.high:.2f}), not 1: the "
        "propensities are too small, or of other candidates than the ranker's."
    ]
