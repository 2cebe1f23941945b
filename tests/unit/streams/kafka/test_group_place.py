"""A worker that has lost its place in its group is told apart from a spare one."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import TopicPartition

from freshet.streams.kafka.group_place import GroupDescription, Member, Place, loss_of

_PARTITIONS = [TopicPartition("clicks", partition) for partition in range(4)]


def _member(*reading: int, restored: int = 0) -> Member:
    return Member("stream", ["clicks"], "w1", frozenset(("clicks", p) for p in reading), restored)


def _group(state: str = "Stable", **given: list[int]) -> GroupDescription:
    """What a broker says of a group; ``w2`` has a static id."""
    members: list[dict[str, Any]] = [
        {
            "group_instance_id": name if name == "w2" else None,
            "client_id": "faust" if name == "w2" else name,
            "member_assignment": {
                "assigned_partitions": [
                    {"topic": "clicks", "partitions": partitions},
                    {"topic": "a-tables-changelog", "partitions": partitions},
                ]
            }
            if partitions
            else b"",
        }
        for name, partitions in given.items()
    ]
    return GroupDescription.of({"group_state": state, "members": members}, _PARTITIONS)


def test_who_reads_what_it_was_given_lacks_nothing() -> None:
    assert loss_of(_member(0, 1), _group(w1=[0, 1], w2=[2, 3])) is None


def test_a_spare_worker_lacks_nothing() -> None:
    assert loss_of(_member(), _group(w1=[], w2=[0, 1, 2, 3])) is None


@pytest.mark.parametrize(
    ("reading", "group", "what"),
    [
        ((), _group(w2=[0, 1, 2, 3]), "is not a member of the consumer group stream"),
        # It goes on as if nothing had happened, having heard of nothing.
        ((0, 1), _group(w2=[0, 1, 2, 3]), "is not a member of the consumer group stream"),
        ((), _group(state="Empty"), "is not a member of the consumer group stream"),
        (
            (0,),
            _group(w1=[0, 1], w2=[2, 3]),
            "does not read clicks[1], which the consumer group stream has",
        ),
        ((), _group(w1=[], w2=[0, 1]), "has given this worker no partition, while nobody reads clicks[2]"),
    ],
)
def test_who_does_not_read_what_it_should_is_found(
    reading: tuple[int, ...], group: GroupDescription, what: str
) -> None:
    loss = loss_of(_member(*reading), group)
    assert loss is not None
    assert what in loss.what
    assert not loss.waiting


def test_while_a_group_shares_its_partitions_out_nobody_is_to_blame() -> None:
    group = _group(state="PreparingRebalance", w1=[], w2=[])
    loss = loss_of(_member(), group)
    assert loss is not None
    assert loss.waiting
    assert loss_of(_member(0), group) is None, "it has not stopped reading yet"


def test_a_loss_lasts_from_when_it_was_first_seen() -> None:
    place, lost = Place(), _group(w2=[0, 1, 2, 3])
    place.note(_member(), lost, 100.0)
    place.note(_member(), lost, 130.0)
    assert place.lost_s == 30.0
    place.note(_member(0), _group(w1=[0]), 140.0)
    assert (place.loss, place.lost_s) == (None, 0.0)


def test_a_worker_that_restores_its_tables_has_lost_nothing_yet() -> None:
    place, given = Place(), _group(w1=[0], w2=[1, 2, 3])
    for now_s, restored in ((0.0, 10), (50.0, 20), (100.0, 30)):
        place.note(_member(restored=restored), given, now_s)
        assert place.lost_s == 0.0
    place.note(_member(restored=30), given, 170.0)
    assert place.lost_s == 70.0, "it has stopped"


def test_the_time_in_which_nobody_could_tell_does_not_count() -> None:
    place, lost = Place(), _group(w2=[0, 1, 2, 3])
    place.note(_member(), lost, 0.0)
    place.note(_member(), lost, 5.0)
    place.unknown()
    place.note(_member(), lost, 500.0)
    place.note(_member(), lost, 503.0)
    assert place.lost_s == 8.0
