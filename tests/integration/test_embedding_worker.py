"""Articles on the real Kafka become vectors, once and for all, whatever is among them and whatever fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from freshet.models.articles.exact_index import ExactIndex
from freshet.models.embedding.projection import Projection
from freshet.models.events.events import Article, ArticleVector, DeadLetter
from freshet.models.ports import EncoderInfo, FloatMatrix, IndexedArticle, IndexUnavailable
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.group_lag import GroupLag, embedding_group
from freshet.streams.kafka.group_place import Loss, loss_of
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding.worker import EmbeddingWorker
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.broker


class LetterEncoder:
    """Counts the letters of a text, so that equal texts have equal vectors; fails on the word ``poison``."""

    info = EncoderInfo("letters", "mean", 26)

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        vectors = np.zeros((len(texts), 26), dtype=np.float32)
        for row, pair in enumerate(texts):
            text = " ".join(pair).lower()
            if "poison" in text:
                raise RuntimeError("cannot read this")
            for letter in text:
                if letter.isascii() and letter.isalpha():
                    vectors[row, ord(letter) - ord("a")] += 1
        return vectors


class SlowEncoder(LetterEncoder):
    """An encoder that takes its time for every text."""

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        time.sleep(0.2 * len(texts))
        return super().encode(texts)


class FailingIndex(ExactIndex):
    """An index that is out of order for the first few writes."""

    def __init__(self, d: int, failures: int) -> None:
        super().__init__(d)
        self.failures = failures

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        if self.failures:
            self.failures -= 1
            raise IndexUnavailable("out of order")
        super().upsert(articles)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the worker may handle it."""


class KilledAfterWriting(ExactIndex):
    """An index whose process dies right after the write."""

    def upsert(self, articles: Sequence[IndexedArticle]) -> None:
        super().upsert(articles)
        raise Killed


class Stream:
    """The topics around the worker, seen from outside."""

    def __init__(self, settings: Settings) -> None:
        ensure_topics(settings)
        self.settings = settings
        self._producer = KafkaProducer(**client_config(settings))

    def publish(self, *articles: Article) -> None:
        for article in articles:
            self.publish_raw(article.news_id.encode(), article.to_json())

    def publish_raw(self, key: bytes, value: bytes | None, partition: int | None = None) -> None:
        articles = topic_name(self.settings, topics.ARTICLES.name)
        self._producer.send(articles, key=key, value=value, partition=partition).get(timeout=HANG_S)

    def records(self, topic: topics.Topic, wanted: int) -> list[Any]:
        """All records of ``topic``, at least ``wanted``, each partition's in order."""
        consumer = KafkaConsumer(**client_config(self.settings), auto_offset_reset="earliest")
        try:
            name = topic_name(self.settings, topic.name)
            consumer.assign(
                [TopicPartition(name, number) for number in range(self.settings.partitions)],
            )
            records: list[Any] = []
            deadline = time.monotonic() + HANG_S
            while len(records) < wanted:
                assert time.monotonic() < deadline, f"{len(records)} of {wanted} records on {name}"
                for batch in consumer.poll(timeout_ms=200).values():
                    records += batch
            return records
        finally:
            consumer.close()

    def vectors(self, wanted: int) -> list[ArticleVector]:
        return [
            ArticleVector.from_json(record.value) for record in self.records(topics.ARTICLE_VECTORS, wanted)
        ]

    def committed(self, bundle: str) -> int:
        """How many records of ``articles`` the worker's group is done with."""
        consumer = KafkaConsumer(
            **client_config(self.settings), group_id=embedding_group(self.settings, bundle)[0]
        )
        try:
            name = topic_name(self.settings, topics.ARTICLES.name)
            return sum(
                consumer.committed(TopicPartition(name, number)) or 0
                for number in range(self.settings.partitions)
            )
        finally:
            consumer.close()

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def stream(settings: Settings) -> Iterator[Stream]:
    stream = Stream(settings)
    yield stream
    stream.close()


@pytest.fixture
def tower() -> Projection:
    return Projection(LetterEncoder.info, 8)


@contextmanager
def running(worker: EmbeddingWorker) -> Iterator[None]:
    """The worker in a thread; what it died of is raised here."""
    died: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            died.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(HANG_S)
        assert not thread.is_alive()
    if died:
        raise died[0]


def article(news_id: str, title: str = "", category: str = "") -> Article:
    return Article(
        news_id=news_id, published_at=datetime(2026, 5, 1, tzinfo=UTC), title=title, category=category
    )


def test_an_article_gets_a_vector_on_the_topic_and_in_the_index(stream: Stream, tower: Projection) -> None:
    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        stream.publish(article("N1", "Storm closes passes", "weather"))
        (event,) = stream.vectors(1)
        wait_until(lambda: stream.committed(tower.bundle) == 1, "the offset is committed")

    assert (event.news_id, event.bundle, event.title) == ("N1", tower.bundle, "Storm closes passes")
    indexed = index.get(["N1"])["N1"]
    assert np.array_equal(np.array(event.vector, dtype=np.float32), indexed.vector)
    assert (indexed.category, indexed.published_at_s) == ("weather", event.published_at.timestamp())


def test_an_update_replaces_the_vector_and_keeps_what_is_not_the_embeddings(
    stream: Stream, tower: Projection
) -> None:
    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        stream.publish(article("N1", "Storm"))
        wait_until(lambda: index.count() == 1, "the article is indexed")
        before = index.get(["N1"])["N1"]
        index.set_popularity({"N1": 7.0})
        index.set_withdrawn(["N1"])
        stream.publish(article("N1", "Cup final"))
        first, second = stream.vectors(2)

    after = index.get(["N1"])["N1"]
    assert (first.title, second.title) == ("Storm", "Cup final")
    assert index.count() == 1
    assert not np.array_equal(before.vector, after.vector)
    assert (after.title, after.popularity, after.withdrawn) == ("Cup final", 7.0, True)


def test_unreadable_records_become_dead_letters_and_the_next_article_is_embedded(
    stream: Stream, tower: Projection
) -> None:
    stream.publish_raw(b"N1", b"{not json", partition=0)
    stream.publish_raw(b"N2", b'{"news_id": "N2"}', partition=0)
    stream.publish_raw(b"other", article("N3", "Storm").to_json(), partition=0)
    stream.publish_raw(b"\xff", None, partition=0)
    stream.publish_raw(b"N4", article("N4", "Storm").to_json(), partition=0)

    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        letters = [DeadLetter.from_json(record.value) for record in stream.records(topics.DEAD_LETTERS, 4)]
        wait_until(lambda: index.count() == 1, "the good article is indexed")
        wait_until(lambda: stream.committed(tower.bundle) == 5, "the bad records are done with")

    assert set(index.get(["N1", "N2", "N3", "N4"])) == {"N4"}
    letters.sort(key=lambda letter: letter.offset or 0)
    assert [(letter.source, letter.partition, letter.offset) for letter in letters] == [
        ("articles", 0, offset) for offset in range(4)
    ]
    assert b64decode(letters[0].value or "") == b"{not json"
    for letter, reason in zip(letters, ["JSON", "published_at", "key", "tombstone"], strict=True):
        assert reason in letter.reason


def test_an_article_that_the_encoder_fails_on_costs_no_other_its_vector(
    stream: Stream, tower: Projection
) -> None:
    stream.publish(*(article(f"N{row}", "poison" if row == 5 else "Storm") for row in range(12)))

    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        (record,) = stream.records(topics.DEAD_LETTERS, 1)
        wait_until(lambda: index.count() == 11, "all others are indexed")

    letter = DeadLetter.from_json(record.value)
    assert record.key == b"N5"
    assert "cannot read this" in letter.reason


def test_an_encoder_that_fails_on_every_text_commits_nothing(stream: Stream, tower: Projection) -> None:
    class Broken(LetterEncoder):
        def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
            raise RuntimeError("the device is gone")

    stream.publish(article("N1", "Storm"))
    worker = EmbeddingWorker(stream.settings, Broken(), tower)

    with pytest.raises(RuntimeError, match="the device is gone"):
        worker.run()
    assert stream.committed(tower.bundle) == 0


def test_an_article_without_text_gets_the_vector_of_its_category(stream: Stream, tower: Projection) -> None:
    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        stream.publish(article("N1", category="sports"), article("N2", "Cup final", "sports"))
        wait_until(lambda: index.count() == 2, "both are indexed")

    found = index.get(["N1", "N2"])
    assert np.linalg.norm(found["N1"].vector) == pytest.approx(1, abs=1e-5)
    assert found["N1"].vector @ found["N2"].vector > 0


def test_a_tombstone_deletes_the_article(stream: Stream, tower: Projection) -> None:
    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        stream.publish(article("N1", "Storm"))
        wait_until(lambda: index.count() == 1, "the article is indexed")
        stream.publish_raw(b"N1", None)
        wait_until(lambda: index.count() == 0, "the article is deleted")
        records = stream.records(topics.ARTICLE_VECTORS, 2)

    key = f"{tower.bundle}/N1".encode()
    assert [(record.key, record.value is None) for record in records] == [(key, False), (key, True)]


def test_an_outage_of_the_index_loses_nothing_and_commits_nothing(stream: Stream, tower: Projection) -> None:
    index = FailingIndex(tower.d, failures=3)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        stream.publish(article("N1", "Storm"))
        wait_until(lambda: index.failures < 3, "the worker has met the outage")
        assert stream.committed(tower.bundle) == 0
        stream.publish(article("N2", "Cup final"))
        wait_until(lambda: index.count() == 2, "both are indexed after the outage")
        wait_until(lambda: stream.committed(tower.bundle) == 2, "both are done with")


def test_stopping_during_an_outage_leaves_the_articles_to_the_next_worker(
    stream: Stream, tower: Projection
) -> None:
    down = FailingIndex(tower.d, failures=10**6)
    worker = EmbeddingWorker(stream.settings, LetterEncoder(), tower, down)
    with running(worker):
        wait_until(lambda: len(worker.owned()) == stream.settings.partitions, "all partitions are its own")
        stream.publish(article("N1", "Storm"))
        wait_until(lambda: down.failures < 10**6, "the worker has met the outage")
        wait_until(lambda: not worker.owned(), "an outage is not held against it")

    up = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, up)):
        wait_until(lambda: up.count() == 1, "the next worker embeds it")


def test_an_article_of_a_worker_killed_before_its_commit_is_embedded_again_the_same(
    stream: Stream, tower: Projection
) -> None:
    stream.publish(article("N1", "Storm", "weather"))
    killed = KilledAfterWriting(tower.d)
    with pytest.raises(Killed), running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, killed)):
        wait_until(lambda: killed.count() == 1, "the worker has written")
        killed_vector = killed.get(["N1"])["N1"].vector
    assert stream.committed(tower.bundle) == 0

    index = ExactIndex(tower.d)
    with running(EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)):
        wait_until(lambda: stream.committed(tower.bundle) == 1, "the redelivered article is done with")

    assert np.array_equal(index.get(["N1"])["N1"].vector, killed_vector)
    assert [event.news_id for event in stream.vectors(1)] == ["N1"]


def test_a_worker_too_slow_for_its_poll_interval_takes_fewer_articles_until_it_keeps_its_place(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"max_poll_interval_s": 2.5, "session_timeout_s": 3.0})
    stream, broker = Stream(settings), GroupLag(settings)
    tower = Projection(SlowEncoder.info, 8)
    articles = [article(f"N{number}", "abc") for number in range(20)]
    stream.publish(*articles)
    worker = EmbeddingWorker(settings, SlowEncoder(), tower)
    member = worker.member()

    def loss() -> Loss | None:
        return loss_of(worker.member(), broker.describe(member.group, member.topics))

    try:
        with running(worker):
            # The first polls bring more than it embeds in its interval: it is thrown out, and comes back.
            wait_until(lambda: stream.committed(tower.bundle) == len(articles), "every article to be done")
            wait_until(lambda: loss() is None, "its place in the group")
        found = loss()
        assert found is not None
        assert "not a member" in found.what
    finally:
        broker.close()
        stream.close()


def test_two_workers_share_the_articles(stream: Stream, tower: Projection) -> None:
    index = ExactIndex(tower.d)
    first = EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)
    second = EmbeddingWorker(stream.settings, LetterEncoder(), tower, index)
    with running(first), running(second):
        assert first.ready.wait(HANG_S)
        assert second.ready.wait(HANG_S)
        stream.publish(*(article(f"N{row}", f"Storm number {row}") for row in range(40)))
        wait_until(lambda: index.count() == 40, "all are indexed")
        wait_until(lambda: stream.committed(tower.bundle) == 40, "all are done with")

    assert {event.news_id for event in stream.vectors(40)} == {f"N{row}" for row in range(40)}


def test_the_process_finishes_and_commits_when_told_to_stop(stream: Stream) -> None:
    freshet = Path(sys.executable).parent / "freshet"
    options = ["--bootstrap-servers", stream.settings.bootstrap_servers]
    options += ["--topic-prefix", stream.settings.topic_prefix, "--metrics-port", "0"]
    options += ["--partitions", str(stream.settings.partitions)]
    stream.publish(article("N1", "Storm closes passes", "weather"))

    with subprocess.Popen([freshet, "embed", *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            (event,) = stream.vectors(1)
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=HANG_S)

    assert process.returncode == 0, log
    assert event.bundle.startswith("untrained-minilm-mean-64-")
    assert stream.committed(event.bundle) == 1
    assert "SIGTERM: finishing the batch at hand" in log
    assert "Traceback" not in log


def test_an_index_of_another_dimension_is_refused(settings: Settings, tower: Projection) -> None:
    with pytest.raises(ValueError, match="the index holds 9 dimensions"):
        EmbeddingWorker(settings, LetterEncoder(), tower, ExactIndex(9))
