"""Encoding of an online ranker's state in the records of ``ranker-weights``."""

from __future__ import annotations

import math
from base64 import b64encode
from binascii import a2b_base64
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from freshet.models.events.events import EventError, RankerWeights, from_unix_s, to_unix_s
from freshet.models.ranking.features import FEATURES
from freshet.models.ranking.linear import LinearRanker
from freshet.models.ranking.online_ranker import OnlineState, is_positive_definite


def encoded_curvature(state: OnlineState) -> str:
    """Encodes the curvature's upper triangle with diagonal, row by row, as base64 of float64 (<f8)."""
    upper = state.curvature[np.triu_indices(len(state.features))]
    return b64encode(np.ascontiguousarray(upper, "<f8").tobytes()).decode("ascii")


def learned_until(state: OnlineState) -> datetime | None:
    """Event time up to which the state has learned and forgotten."""
    return from_unix_s(state.time_s) if math.isfinite(state.time_s) else None


def state_of(record: RankerWeights, start: LinearRanker) -> OnlineState | None:
    """Decodes the state from which a learner resumes; ``None`` if the record has weights only.

    Features that the record does not know begin with the weights of ``start``.

    Raises:
        EventError: The curvature does not fit the record's features.
    """
    if record.curvature is None or record.features is None:
        return None
    weights = {name: record.weights.get(name, start.weights.get(name, 0.0)) for name in FEATURES}
    return OnlineState(
        record.model,
        record.revision,
        weights,
        record.features,
        _decoded_curvature(record.curvature, len(record.features)),
        -math.inf if record.learned_until is None else to_unix_s(record.learned_until),
    )


def _decoded_curvature(text: str, size: int) -> NDArray[np.float64]:
    try:
        data = a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise EventError(f"RankerWeights: the curvature is not base64: {error}") from error
    rows, columns = np.triu_indices(size)
    if len(data) != 8 * len(rows):
        raise EventError(f"RankerWeights: {len(data)} bytes of curvature, must be {8 * len(rows)}")
    upper = np.frombuffer(data, "<f8")
    curvature = np.empty((size, size))
    curvature[rows, columns] = curvature[columns, rows] = upper
    if not is_positive_definite(curvature):
        raise EventError("RankerWeights: the curvature is not finite and positive definite")
    return curvature
