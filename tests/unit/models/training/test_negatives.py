"""A negative is never a positive of the same user, and comes as often as its sampler says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from freshet.models.datasets.impression_log import read_impression_log
from freshet.models.datasets.positive_index import PositiveIndex
from freshet.models.training.in_batch_negatives import in_batch_log_q, in_batch_mask
from freshet.models.training.negatives import (
    HardNegatives,
    MixedNegatives,
    NegativeSampler,
    PopularityNegatives,
    SkipNegatives,
    UniformNegatives,
    shown_articles,
)

USERS, ITEMS = 5, 12
VECTORS = np.random.default_rng(5).normal(size=(ITEMS, 3)).astype(np.float32)

pairs = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 3)), max_size=40)


def index_of(clicks: list[tuple[int, int]]) -> PositiveIndex:
    return PositiveIndex([u for u, _ in clicks], [i for _, i in clicks], n_users=USERS, n_items=ITEMS)


def samplers(index: PositiveIndex) -> dict[str, NegativeSampler]:
    uniform, popular = UniformNegatives(index), PopularityNegatives(index)
    hard, by_user = HardNegatives(index, uniform, pool=4), HardNegatives(index, uniform, pool=4)
    hard.refresh(VECTORS)
    by_user.refresh(VECTORS, VECTORS[:USERS])
    mixed = MixedNegatives((uniform, popular, hard))
    return {"uniform": uniform, "popularity": popular, "hard": hard, "by user": by_user, "mixed": mixed}


@given(pairs)
def test_the_index_contains_the_pairs_and_nothing_else(clicks: list[tuple[int, int]]) -> None:
    index = index_of(clicks)

    found = index.contains(np.arange(USERS)[:, None], np.arange(ITEMS)[None, :])

    assert {(int(u), int(i)) for u, i in np.argwhere(found)} == set(clicks)
    assert len(index) == len(set(clicks))
    for user in range(USERS):
        assert index.of(user).tolist() == sorted({i for u, i in clicks if u == user})


@given(pairs, st.integers(0, 1_000), st.integers(1, 6))
def test_no_negative_is_a_positive_of_its_user(clicks: list[tuple[int, int]], seed: int, n: int) -> None:
    index = index_of(clicks)
    rng = np.random.default_rng(seed)
    users, positives = rng.integers(0, USERS, 16), rng.integers(0, ITEMS, 16)

    for name, sampler in samplers(index).items():
        drawn = sampler.sample(users, n, rng, positives)

        assert drawn.shape == (16, n), name
        assert drawn.dtype == np.int32, name
        assert not index.contains(users[:, None], drawn).any(), name
        assert not (drawn == positives[:, None]).any(), name
        assert np.isfinite(sampler.log_q(drawn)).all(), name


@pytest.mark.parametrize("name", ["uniform", "popularity", "hard", "by user", "mixed"])
def test_a_seed_repeats_its_negatives(name: str) -> None:
    index = index_of([(0, 1), (1, 2), (2, 2)])
    users, positives = np.array([0, 1, 2]), np.array([1, 2, 2])

    first, second = (
        samplers(index)[name].sample(users, 5, np.random.default_rng(3), positives) for _ in range(2)
    )

    assert (first == second).all()


def shares_of(sampler: NegativeSampler, user: int, positive: int, draws: int = 40_000) -> NDArray[np.float64]:
    drawn = sampler.sample(np.full(draws, user), 1, np.random.default_rng(0), np.full(draws, positive))
    return np.bincount(drawn.ravel(), minlength=ITEMS) / draws


@pytest.mark.parametrize("name", ["uniform", "popularity"])
@pytest.mark.parametrize("clicked", [1, ITEMS - 2])
def test_negatives_have_the_distribution_of_log_q_without_the_positives(name: str, clicked: int) -> None:
    """Both where refusals are rare and where nearly everything was clicked."""
    others = [(1, 10), (2, 10), (3, 10), (1, 11), (4, 5), (3, 5)]
    index = index_of([*((0, item) for item in range(clicked)), *others])
    sampler = samplers(index)[name]
    expected = np.exp(sampler.log_q(np.arange(ITEMS)))
    assert expected.sum() == pytest.approx(1.0)
    expected[index.of(0)] = 0.0

    shares = shares_of(sampler, user=0, positive=0)

    # Five standard deviations of a share of a half.
    assert shares == pytest.approx(expected / expected.sum(), abs=5 * 0.5 / np.sqrt(40_000))


def test_popularity_is_to_the_power_of_three_quarters() -> None:
    index = index_of([(0, 1), (1, 1), (2, 1), (3, 2)])

    log_q = PopularityNegatives(index, smoothing=1e-9).log_q([1, 2])

    assert np.exp(log_q[0] - log_q[1]) == pytest.approx(3**0.75)


def test_a_mixture_draws_in_its_shares_and_says_so() -> None:
    index = index_of([(0, 0), (1, 10), (2, 10), (3, 10), (1, 11)])
    uniform, popular = UniformNegatives(index), PopularityNegatives(index, power=2.0)
    mixed = MixedNegatives((uniform, popular), (0.25, 0.75))
    items = np.arange(ITEMS)

    assert np.exp(mixed.log_q(items)) == pytest.approx(
        0.25 * np.exp(uniform.log_q(items)) + 0.75 * np.exp(popular.log_q(items))
    )
    parts = [np.exp(sampler.log_q(items)) * (items > 0) for sampler in (uniform, popular)]
    expected = 0.25 * parts[0] / parts[0].sum() + 0.75 * parts[1] / parts[1].sum()
    assert shares_of(mixed, 0, 0) == pytest.approx(expected, abs=5 * 0.5 / np.sqrt(40_000))


def test_hard_negatives_are_the_nearest_unclicked() -> None:
    line = np.stack([np.cos(np.arange(ITEMS) / 10), np.sin(np.arange(ITEMS) / 10)], axis=1)
    index = index_of([(0, 3), (0, 4)])
    hard = HardNegatives(index, UniformNegatives(index), pool=4)
    hard.refresh(line.astype(np.float32))

    near = shares_of(hard, user=0, positive=3)
    other = shares_of(hard, user=1, positive=3)

    assert np.flatnonzero(near).tolist() == [1, 2, 5]
    assert np.flatnonzero(other).tolist() == [1, 2, 4, 5]


def test_a_user_without_a_hard_negative_gets_another() -> None:
    index = index_of([(0, item) for item in range(6)])
    line = np.stack([np.cos(np.arange(ITEMS) / 10), np.sin(np.arange(ITEMS) / 10)], axis=1)
    hard = HardNegatives(index, UniformNegatives(index), pool=2)
    hard.refresh(line.astype(np.float32))

    assert np.flatnonzero(shares_of(hard, user=0, positive=2)).tolist() == [6, 7, 8, 9, 10, 11]


def test_only_eligible_articles_are_drawn() -> None:
    index = index_of([(0, 1)])
    uniform = UniformNegatives(index, eligible=[1, 4, 7])
    hard = HardNegatives(index, uniform, eligible=[1, 4, 7])
    hard.refresh(VECTORS)

    for sampler in (uniform, PopularityNegatives(index, eligible=[1, 4, 7]), hard):
        assert np.flatnonzero(shares_of(sampler, user=0, positive=1)).tolist() == [4, 7]


@pytest.mark.parametrize("name", ["uniform", "popularity", "hard", "mixed"])
def test_a_user_who_clicked_everything_is_named(name: str) -> None:
    index = index_of([(3, item) for item in range(ITEMS)])

    with pytest.raises(ValueError, match=f"user number 3 has clicked all {ITEMS} articles"):
        samplers(index)[name].sample(np.array([3]), 2, np.random.default_rng(0), np.array([0]))


def test_vectors_of_other_articles_are_refused() -> None:
    index = index_of([(0, 1)])

    with pytest.raises(ValueError, match="3 vectors"):
        HardNegatives(index, UniformNegatives(index)).refresh(VECTORS[:3])


@given(pairs)
def test_in_a_batch_the_positives_of_a_user_do_not_count_against_it(clicks: list[tuple[int, int]]) -> None:
    users, items = np.array([0, 0, 1, 2]), np.array([1, 2, 1, 11])

    mask = in_batch_mask(users, items, index_of(clicks))

    for i, user in enumerate(users):
        for j, item in enumerate(items):
            allowed = (int(user), int(item)) not in set(clicks) and item != items[i]
            assert mask[i, j] == (i == j or allowed)


def test_in_batch_negatives_come_as_often_as_they_are_clicked() -> None:
    assert np.exp(in_batch_log_q([6, 3, 1], [0, 1, 2])) == pytest.approx([0.6, 0.3, 0.1])


BEHAVIORS = """\
1\tU1\t11/11/2019 9:00:00 AM\tN8 N9\tN1-1 N2-0 N3-0
2\tU2\t11/11/2019 9:01:00 AM\t\tN1-0 N4-1
3\tU1\t11/11/2019 9:02:00 AM\tN8 N9\tN2-1 N5-0 N3-0
4\tU2\t11/11/2019 9:03:00 AM\tN7\tN6-1
"""


def test_skips_are_what_was_shown_and_clicked_neither_there_nor_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_text(BEHAVIORS)
    log = read_impression_log(tmp_path)
    index = PositiveIndex.of_log(log)
    by_id = {news_id: number for number, news_id in enumerate(log.articles.ids)}
    skips = SkipNegatives(log, index, UniformNegatives(index, eligible=[by_id["N5"]]))

    drawn = skips.sample(np.repeat(np.arange(4), 50), 2, np.random.default_rng(0), np.zeros(200, np.int32))

    ids = [{log.articles.ids[item] for item in part.ravel()} for part in drawn.reshape(4, -1)]
    assert ids == [{"N3"}, {"N1"}, {"N3", "N5"}, {"N5"}]


def test_a_log_knows_the_clicks_the_histories_and_what_was_shown(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_text(BEHAVIORS)
    log = read_impression_log(tmp_path)
    ids = np.array(log.articles.ids)

    index = PositiveIndex.of_log(log)
    early = log.slice(0, 2)

    assert sorted(ids[index.of(0)]) == ["N1", "N2", "N8", "N9"]
    assert sorted(ids[index.of(1)]) == ["N4", "N6", "N7"]
    assert sorted(ids[PositiveIndex.of_log(early).of(1)]) == ["N4"]
    assert sorted(ids[shown_articles(early)]) == ["N1", "N2", "N3", "N4", "N8", "N9"]
