"""Answers, impressions and clicks are joined once each, whatever their order, and memory stays bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.ranking.attribution import Attribution, Correction, Example, RankedSlate

WINDOW_S = 100.0
NOW_S = 1_000.0
IDS = ("A", "B", "C", "D")


def slate(*ids: str, at: float = 0.0) -> RankedSlate:
    """Features that say which slate and which article they are of."""
    features = np.array([[at, float(ord(news_id[0]))] for news_id in ids], np.float32).reshape(-1, 2)
    return RankedSlate(ids, features, np.arange(len(ids), dtype=np.float64))


def gradient(x: NDArray[np.float32], clicked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of the listwise softmax at fixed weights; nothing where there is no click or no skip."""
    if not clicked.any() or clicked.all():
        return np.zeros(x.shape[1])
    scores = x @ np.array([0.01, 0.02])
    shares = np.exp(scores - scores.max())
    return np.asarray((shares / shares.sum() - clicked / clicked.sum()) @ x)


def taught(lesson: Example | Correction | None) -> NDArray[np.float64]:
    """What an example or a correction adds to the sum of gradients."""
    if lesson is None:
        return np.zeros(2)
    if isinstance(lesson, Example):
        return gradient(lesson.slate.features, lesson.clicked)
    return gradient(lesson.slate.features, lesson.after) - gradient(lesson.slate.features, lesson.before)


clicks = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(IDS), st.sampled_from(["impression", "request", "both"])),
    max_size=12,
)


@given(
    clicked=st.lists(st.sets(st.sampled_from(IDS[:3]), max_size=2), min_size=4, max_size=4),
    late=clicks,
    data=st.data(),
)
def test_an_example_and_its_corrections_teach_what_the_final_labels_teach(
    clicked: list[set[str]], late: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    """Impressions 0 and 1 are answers' (which lack D), 2 and 3 are ranked as they come; each comes twice."""
    steps = data.draw(st.permutations([*range(4), *range(4), *(("click", click) for click in late)]))
    attribution = Attribution(WINDOW_S)
    for i in range(2):
        attribution.answered(f"R{i}", NOW_S, slate(*IDS[:3], at=float(i)))
    sums: NDArray[np.float64] = np.zeros(2)
    for step in steps:
        if isinstance(step, int):
            sums += taught(
                attribution.shown(
                    f"I{step}",
                    NOW_S,
                    IDS,
                    clicked[step],
                    request_id=f"R{step}",
                    otherwise=lambda step=step: slate(*IDS, at=float(step)),
                )
            )
        else:
            number, news_id, names = step[1]
            sums += taught(
                attribution.clicked(
                    NOW_S,
                    news_id,
                    impression_id=None if names == "request" else f"I{number}",
                    request_id=None if names == "impression" else f"R{number}",
                )
            )
    final = defaultdict(set, {i: set(names) for i, names in enumerate(clicked)})
    for number, news_id, _ in late:
        final[number].add(news_id)
    expected = np.zeros(2)
    for i in range(4):
        ranked = slate(*(IDS[:3] if i < 2 else IDS), at=float(i))
        expected += gradient(ranked.features, np.array([news_id in final[i] for news_id in ranked.ids]))
    np.testing.assert_allclose(sums, expected, atol=1e-9)


def test_an_answers_impression_is_learned_from_as_it_was_answered() -> None:
    attribution = Attribution(WINDOW_S)
    attribution.answered("R", NOW_S, slate("A", "B", "C", at=7.0))
    example = attribution.shown("I", NOW_S + 5.0, ["C", "A", "X"], ["A"], request_id="R")
    assert example is not None
    assert example.answered
    assert example.slate.ids == ("A", "C")
    assert example.slate.features[:, 0].tolist() == [7.0, 7.0]
    assert example.slate.scores.tolist() == [0.0, 2.0]
    assert example.clicked.tolist() == [True, False]


def test_an_impression_of_no_known_answer_is_ranked_as_it_comes_or_not_at_all() -> None:
    attribution = Attribution(WINDOW_S)
    example = attribution.shown("I", NOW_S, IDS, ["B"], request_id="R", otherwise=lambda: slate(*IDS))
    assert example is not None
    assert not example.answered
    assert attribution.shown("J", NOW_S, IDS, ["B"], request_id="R") is None
    assert attribution.clicked(NOW_S, "A", impression_id="J") is None


def test_a_second_impression_of_an_answer_is_another_and_a_click_is_of_the_one_that_showed_it() -> None:
    attribution = Attribution(WINDOW_S)
    attribution.answered("R", NOW_S, slate(*IDS))
    assert attribution.shown("first", NOW_S, ["A", "B"], [], request_id="R") is not None
    assert attribution.clicked(NOW_S, "C", request_id="R") is None, "it waits for the second"
    second = attribution.shown("second", NOW_S, ["C", "D"], [], request_id="R")
    assert second is not None
    assert second.clicked.tolist() == [True, False]
    correction = attribution.clicked(NOW_S, "B", request_id="R")
    assert correction is not None
    assert (correction.before.tolist(), correction.after.tolist()) == ([False, False], [False, True])


def test_each_impression_and_each_click_counts_once() -> None:
    attribution = Attribution(WINDOW_S)
    rank = slate(*IDS)
    assert attribution.shown("I", NOW_S, IDS, ["A"], otherwise=lambda: rank) is not None
    assert attribution.shown("I", NOW_S, IDS, ["B"], otherwise=lambda: rank) is None
    assert attribution.clicked(NOW_S, "A", impression_id="I") is None
    assert attribution.clicked(NOW_S, "B", impression_id="I") is not None
    assert attribution.clicked(NOW_S, "B", impression_id="I") is None


def test_a_click_that_names_nothing_or_what_was_not_shown_changes_nothing() -> None:
    attribution = Attribution(WINDOW_S)
    attribution.shown("I", NOW_S, IDS, [], otherwise=lambda: slate(*IDS))
    assert attribution.clicked(NOW_S, "A") is None
    assert attribution.clicked(NOW_S, "X", impression_id="I") is None


@pytest.mark.parametrize(("apart_s", "joined"), [(WINDOW_S, True), (WINDOW_S + 1.0, False)])
def test_nothing_is_joined_beyond_the_window(apart_s: float, joined: bool) -> None:
    for sign in (1.0, -1.0):
        later_s = NOW_S + sign * apart_s
        attribution = Attribution(WINDOW_S)
        attribution.answered("R", NOW_S, slate(*IDS))
        assert (attribution.shown("I", later_s, IDS, [], request_id="R") is not None) == joined
        attribution.shown("J", NOW_S, IDS, [], otherwise=lambda: slate(*IDS))
        assert (attribution.clicked(later_s, "A", impression_id="J") is not None) == joined
        attribution.clicked(later_s, "A", impression_id="K")
        early = attribution.shown("K", NOW_S, IDS, [], otherwise=lambda: slate(*IDS))
        assert early is not None
        assert early.clicked.any() == joined


def test_the_oldest_are_forgotten_where_there_are_too_many() -> None:
    attribution = Attribution(WINDOW_S, max_candidates=8)
    for i in range(3):
        attribution.answered(f"R{i}", NOW_S, slate(*IDS))
        attribution.shown(f"J{i}", NOW_S, IDS, [], request_id=f"Q{i}", otherwise=lambda: slate(*IDS))
    assert attribution.shown("I0", NOW_S, IDS, [], request_id="R0") is None
    assert attribution.clicked(NOW_S, "A", impression_id="J0") is None
    assert attribution.clicked(NOW_S, "A", request_id="Q0") is None
    assert attribution.clicked(NOW_S, "A", request_id="Q2") is not None
    assert attribution.shown("I2", NOW_S, IDS, [], request_id="R2") is not None


def test_what_is_older_than_the_window_is_let_go() -> None:
    attribution = Attribution(WINDOW_S)
    for i in range(10):
        attribution.answered(f"R{i}", NOW_S, slate(*IDS))
    for i in range(10):
        attribution.answered(f"S{i}", NOW_S + 2 * WINDOW_S, slate(*IDS))
    assert _remembered(attribution, [f"R{i}" for i in range(10)], NOW_S) == []
    assert len(_remembered(attribution, [f"S{i}" for i in range(10)], NOW_S + 2 * WINDOW_S)) == 10


def test_one_event_from_the_future_makes_little_look_old() -> None:
    attribution = Attribution(WINDOW_S)
    for i in range(10):
        attribution.answered(f"R{i}", NOW_S, slate(*IDS))
    attribution.answered("future", NOW_S + 86_400.0, slate(*IDS))
    assert len(_remembered(attribution, [f"R{i}" for i in range(10)], NOW_S)) == 8


def test_a_window_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match="window_s"):
        Attribution(0.0)


def _remembered(attribution: Attribution, requests: Sequence[str], time_s: float) -> list[str]:
    return [
        name
        for name in requests
        if attribution.shown(f"I-{name}", time_s, IDS, [], request_id=name) is not None
    ]
