"""Encoding of the features of a :class:`~freshet.models.events.events.RankerExample` as text.

A learner with other features cannot use an example, even if it has as many of them. So an example carries a
fingerprint of the features' names in order.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from freshet.models.events.events import EventError, RankerExample
from freshet.models.ranking.features import FEATURES


def fingerprint_of(names: Sequence[str]) -> str:
    """Fingerprint of feature names in their order, 16 hexadecimal digits."""
    return hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()


FINGERPRINT: Final = fingerprint_of(FEATURES)
"""Fingerprint of this version's features."""


def encoded(features: NDArray[np.float32]) -> str:
    """Encodes features (n, len(FEATURES)) as base64 of little-endian float32."""
    return b64encode(np.ascontiguousarray(features, "<f4").tobytes()).decode("ascii")


def decoded(example: RankerExample) -> NDArray[np.float32]:
    """Decodes an example's features (n, len(FEATURES)), read-only; the learner checks that they are finite.

    Raises:
        EventError: The fingerprint is not :data:`FINGERPRINT`, the text is not base64, or the number of
            values is not candidates times features.
    """
    if example.fingerprint != FINGERPRINT:
        raise EventError(
            f"RankerExample: features {example.fingerprint}, this version's are {FINGERPRINT}: a worker of "
            "another version made it"
        )
    try:
        data = a2b_base64(example.features, strict_mode=True)
    except ValueError as error:
        raise EventError(f"RankerExample: features are not base64: {error}") from error
    shape = len(example.clicked), len(FEATURES)
    if len(data) != 4 * shape[0] * shape[1]:
        raise EventError(
            f"RankerExample: {len(data)} bytes of features, must be 4 x {shape[0]} candidates x "
            f"{shape[1]} features"
        )
    return np.frombuffer(data, "<f4").reshape(shape)
