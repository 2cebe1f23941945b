"""A replay's clock, options and resume point; without a broker."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as kafka_python_murmur2

from freshet.streams.kafka.outbox import partition_of
from freshet.streams.settings import Settings
from freshet.workers.replay.pacing import ReplayClock
from freshet.workers.replay.report import ReplayError, ReplayOptions
from freshet.workers.replay.resume import ResumePoint, resume_path
from freshet.workers.replay.run import replay


def test_the_replay_clock_runs_at_its_speed() -> None:
    real = [100.0]
    clock = ReplayClock(60.0, 5_000.0, lambda: real[0])
    assert clock.now_s() == 5_000.0
    assert clock.wait_s(5_120.0) == pytest.approx(2.0)
    real[0] += 2.0
    assert clock.now_s() == pytest.approx(5_120.0)
    assert clock.wait_s(5_060.0) == 0.0


def test_at_full_speed_everything_is_due() -> None:
    clock = ReplayClock(None, 5_000.0)
    assert clock.now_s() == math.inf
    assert clock.wait_s(1e12) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"speed": 0.0}, {"speed": math.inf}, {"window": 0}, {"max_lag": -1}, {"skip": 3, "resume": True}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ReplayError):
        ReplayOptions(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_articles_come_first_at_full_speed_and_in_time_otherwise() -> None:
    assert ReplayOptions().articles_first
    assert not ReplayOptions(speed=60.0).articles_first
    assert ReplayOptions(speed=60.0, articles="first").articles_first


def test_a_resume_point_saved_is_the_one_loaded(tmp_path: Path) -> None:
    path = resume_path(Settings(data_dir=tmp_path), "f00")
    assert ResumePoint.load(path) is None
    point = ResumePoint(folder="/a", impressions=5, articles=2, untimed_reported=True, shift_s=1.5)
    point.save(path)
    assert ResumePoint.load(path) == point


def test_a_damaged_resume_point_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "point.json"
    path.write_text("{")
    with pytest.raises(ReplayError, match="without --resume"):
        ResumePoint.load(path)


def test_two_prefixes_resume_apart(tmp_path: Path) -> None:
    one, two = (
        resume_path(Settings(data_dir=tmp_path, topic_prefix=prefix), "f00") for prefix in ("a.", "b.")
    )
    assert one != two


@given(st.text(min_size=1, max_size=50), st.integers(1, 64))
def test_both_kafka_clients_and_the_replay_agree_on_a_keys_partition(key: str, partitions: int) -> None:
    raw = key.encode()
    assert murmur2(raw) & 0x7FFFFFFF == kafka_python_murmur2(raw) & 0x7FFFFFFF
    assert partition_of(key, partitions) == (kafka_python_murmur2(raw) & 0x7FFFFFFF) % partitions


def test_a_log_that_would_run_ahead_of_the_clock_is_refused_before_anything_is_published(
    tmp_path: Path,
) -> None:
    (tmp_path / "news.tsv").write_text("")
    (tmp_path / "behaviors.tsv").write_text(
        "1\tU\t1/1/2020 9:00:00 AM\t\tN1-0 N2-1\n2\tU\t1/4/2020 9:00:00 AM\t\tN1-0 N2-1\n"
    )
    nowhere = Settings(bootstrap_servers="127.0.0.1:1", data_dir=tmp_path / "data")
    with pytest.raises(ReplayError, match=r"72\.0 h ahead of the clock"):
        replay(nowhere, tmp_path, ReplayOptions(shift_to_now=True))


def test_a_folder_that_is_not_minds_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"behaviors\.tsv"):
        replay(Settings(data_dir=tmp_path), tmp_path)
