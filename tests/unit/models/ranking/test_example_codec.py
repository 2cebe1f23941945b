"""An example's features come back as they were, and others are refused."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.models.events.events import EventError, RankerExample, from_unix_s
from freshet.models.ranking.example_codec import FINGERPRINT, decoded, encoded, fingerprint_of
from freshet.models.ranking.features import FEATURES


def example(features: str, n: int = 2, fingerprint: str = FINGERPRINT) -> RankerExample:
    return RankerExample(
        model="default",
        fingerprint=fingerprint,
        features=features,
        clicked=(True,) * n,
        source="impressions",
        partition=0,
        offset=0,
        time=from_unix_s(1_000.0),
    )


def test_features_come_back_bit_by_bit() -> None:
    x = np.random.default_rng(0).normal(size=(2, len(FEATURES))).astype(np.float32)
    x[0, :3] = np.nan, np.inf, -0.0
    back = decoded(example(encoded(x)))
    assert (back.dtype, back.shape) == (x.dtype, x.shape)
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (example("no base64"), "not base64"),
        (example("é"), "not base64"),
        (example(encoded(np.zeros((3, len(FEATURES)), np.float32))), "bytes of features"),
        (example("", fingerprint="other"), "another version"),
    ],
    ids=["text", "no ASCII", "shape", "fingerprint"],
)
def test_other_features_are_refused(bad: RankerExample, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        decoded(bad)


def test_a_fingerprint_is_of_names_and_order() -> None:
    names = ("a", "b")
    assert fingerprint_of(names) == fingerprint_of(list(names))
    assert len({fingerprint_of(each) for each in (names, names[::-1], ("a\nb",), ("a",))}) >= 3
