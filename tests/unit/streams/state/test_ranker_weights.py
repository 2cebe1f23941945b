"""Rankers by name: the latest weights on the topic, the start where there are none."""

from __future__ import annotations

import logging
from base64 import b64encode

import numpy as np
import pytest

from freshet.models.events.events import EventError, RankerWeights, from_unix_s
from freshet.models.ranking.linear import DEFAULT_WEIGHTS, LinearRanker
from freshet.streams.state.ranker_weights import Rankers

BUNDLE = "content-1a2b3c4d5e6f7081"
WARM = LinearRanker({"fatigue": -2.0, "log_age": -0.5}, "a bundle's")


def weights(model: str, revision: int, **values: float) -> RankerWeights:
    return RankerWeights(model=model, revision=revision, time=from_unix_s(1_000.0), weights=values)


def test_without_a_record_a_model_ranks_as_it_starts() -> None:
    rankers = Rankers(LinearRanker())
    assert rankers.get() == LinearRanker()
    assert rankers.get("start").weights == DEFAULT_WEIGHTS
    assert rankers.names() == ("default", "start")
    assert rankers.latest("default") is None


def test_a_record_takes_effect_at_once_and_the_start_stays() -> None:
    rankers = Rankers(LinearRanker())
    before = rankers.get()
    rankers.apply(weights("default", 7, fatigue=-3.0))
    assert rankers.get().id == "default-7"
    assert rankers.get().weights["fatigue"] == -3.0
    assert rankers.get().weights["clicked"] == DEFAULT_WEIGHTS["clicked"], "of what the record does not know"
    assert before == LinearRanker()
    assert rankers.get("start").weights == DEFAULT_WEIGHTS


def test_a_bundle_begins_with_its_own_weights_whatever_another_model_has_learned() -> None:
    rankers = Rankers(WARM, BUNDLE)
    rankers.apply(weights("default", 9, fatigue=5.0))
    rankers.apply(weights("another-bundle", 3, fatigue=4.0))
    assert rankers.get().id == f"{BUNDLE}-0"
    assert rankers.get().weights == WARM.weights
    assert rankers.get("another-bundle").weights == {"fatigue": 4.0}
    rankers.apply(weights(BUNDLE, 2, fatigue=-1.0))
    assert rankers.get() == rankers.get(BUNDLE)
    assert rankers.get().weights == {"fatigue": -1.0, "log_age": -0.5}
    assert rankers.names() == tuple(sorted([BUNDLE, "another-bundle", "default", "start"]))


@pytest.mark.parametrize("known_before", [False, True])
def test_a_bundle_beside_the_one_in_service_begins_with_its_own_weights(known_before: bool) -> None:
    rankers = Rankers(LinearRanker())
    record = weights(BUNDLE, 4, fatigue=-1.0)
    assert rankers.start_of(BUNDLE) is None
    if known_before:
        rankers.apply(record)
        assert rankers.get(BUNDLE).weights == {"fatigue": -1.0}
    rankers.begin(BUNDLE, WARM)
    start = rankers.start_of(BUNDLE)
    assert start is not None
    assert (start.id, start.weights) == (f"{BUNDLE}-0", WARM.weights)
    if not known_before:
        assert rankers.get(BUNDLE) == start
        rankers.apply(record)
    assert rankers.get(BUNDLE).id == f"{BUNDLE}-4"
    assert rankers.get(BUNDLE).weights == {"fatigue": -1.0, "log_age": -0.5}
    assert rankers.get().weights == DEFAULT_WEIGHTS


def test_features_of_another_version_are_ignored_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    rankers = Rankers(LinearRanker())
    with caplog.at_level(logging.WARNING):
        rankers.apply(weights("default", 1, fatigue=-3.0, from_the_future=1.0))
        rankers.apply(weights("default", 2, fatigue=-4.0, from_the_future=1.0))
    assert rankers.get().weights["fatigue"] == -4.0
    assert [record.getMessage().count("from_the_future") for record in caplog.records] == [1]


def test_no_model_may_be_called_start() -> None:
    rankers = Rankers(LinearRanker())
    with pytest.raises(EventError, match="start"):
        rankers.apply(weights("start", 1))


def test_weights_that_could_not_rank_are_refused() -> None:
    rankers = Rankers(LinearRanker())
    broken = weights("default", 2).model_copy(update={"features": ("fatigue",), "curvature": "AAAA"})
    singular = broken.model_copy(
        update={"features": ("fatigue", "trend"), "curvature": b64encode(np.ones(3).tobytes()).decode()}
    )
    for record in (weights("default", 1, fatigue=-1e300), broken, singular):
        with pytest.raises(EventError, match=r"weight|curvature"):
            rankers.apply(record)
    assert rankers.get() == LinearRanker()


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(KeyError, match="default, start"):
        Rankers(LinearRanker()).get("other")
