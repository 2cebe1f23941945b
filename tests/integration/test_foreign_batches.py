"""Producers choose codecs and transactions, and disks damage batches: all that can be read is, and no more.

One worker of each kind is given, on every topic that clients publish to: records in each codec of Kafka, a
transaction that was committed, one that was aborted, a batch that cannot be decoded before a good record, and
a record larger than a fetch. A green run does not say that the batches of all other producers are read:
those here are written by aiokafka.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from freshet.models.embedding.projection import Projection
from freshet.models.events.events import (
    Article,
    Click,
    Control,
    DeadLetter,
    Impression,
    Recommendation,
    RecommendationRequest,
    UserVector,
    parse_vector_key,
)
from freshet.models.ports import EncoderInfo, FloatMatrix
from freshet.streams.kafka import topics
from freshet.streams.kafka.connection import MAX_REQUEST_BYTES, client_config, topic_name
from freshet.streams.kafka.group_lag import GroupLag, embedding_group, stream_group
from freshet.streams.kafka.outbox import partition_of
from freshet.streams.kafka.topic_admin import ensure_topics
from freshet.streams.kafka.topic_history import read_controls
from freshet.streams.settings import Settings
from freshet.workers.processes.embedding.worker import EmbeddingWorker
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.damaged_batches import (
    Damage,
    damage_on_disk,
    fewer_records,
    not_compressed,
    unknown_codec,
    unknown_format,
    wrong_checksum,
)
from tests.integration.stream_harness import (
    Record,
    StreamProcess,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
    stream_process,
    vectors,
    wait_for,
)
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_DAMAGES: dict[str, Damage] = {
    "articles": wrong_checksum,
    "impressions": unknown_format,
    "clicks": unknown_codec,
    "recommendation-requests": not_compressed,
    "control": fewer_records,
}
_IN_A_BATCH = 3
_SHOWN = ("N0", "N1")


def _records(name: str) -> list[Record]:
    """What a publisher called ``name`` says, one record on each topic."""
    time, user = datetime.now(UTC), f"U-{name}"
    impression = Impression(impression_id=f"I-{name}", user_id=user, time=time, candidates=_SHOWN)
    control = Control(kind="push-on", subject=user, time=time)
    article = Article(news_id=f"A-{name}", published_at=time, title=name)
    request = RecommendationRequest(request_id=f"R-{name}", user_id=user, time=time)
    return [
        keyed("articles", article, article.news_id),
        keyed("impressions", impression, user),
        keyed("clicks", Click(user_id=user, news_id="N0", time=time), user),
        keyed("recommendation-requests", request, user),
        keyed("control", control, control.key),
    ]


class NameEncoder:
    """A text is its length."""

    info = EncoderInfo("names", "mean", 16)

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        return np.array([np.full(16, 1 + len(title)) for title, _ in texts], dtype=np.float32)


class World:
    """A broker, what was published, and the workers that have read it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tower = Projection(NameEncoder.info, settings.dimension)
        self.damaged: dict[str, tuple[int, int, bytes]] = {}
        """By topic: partition, first offset and bytes of the batch that cannot be decoded."""
        self.too_large = (-1, -1)
        """Partition and offset of the record that is larger than a fetch."""
        self.worker: StreamProcess | None = None
        self.health_url = ""

    async def publish(self) -> None:
        articles = [keyed("article-vectors", v, v.key) for v in vectors(self.settings, 4)]
        await send(self.settings, articles)
        for codec in _CODECS:
            async with _producer(self.settings, compression_type=None if codec == "none" else codec) as of:
                await self._send(of, _records(codec))
        for topic, key, value in _records("damaged"):
            await self._send_batch(topic, key, value)
        # Behind them, in the same partitions.
        await send(self.settings, _records("damaged"))
        self.too_large = await self._send_too_large()
        # At the end of the partitions: nothing comes after the transactions' markers.
        await self.transact("committed", commit=True)
        await self.transact("aborted", commit=False)

    async def transact(self, name: str, *, commit: bool) -> None:
        async with _producer(self.settings, transactional_id=f"{self.settings.topic_prefix}{name}") as of:
            await of.begin_transaction()
            await self._send(of, _records(name))
            await (of.commit_transaction() if commit else of.abort_transaction())

    async def _send(self, producer: AIOKafkaProducer, records: Iterable[Record]) -> None:
        for topic, key, value in records:
            await producer.send_and_wait(topic_name(self.settings, topic), value, key=key)

    async def _send_batch(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        assert key is not None
        number = partition_of(key.decode(), self.settings.partitions)
        async with _producer(self.settings, compression_type="zstd") as producer:
            batch = producer.create_batch()
            for _ in range(_IN_A_BATCH):
                batch.append(key=key, value=value, timestamp=None)
            sent = await producer.send_batch(batch, topic_name(self.settings, topic), partition=number)
            self.damaged[topic] = (number, (await sent).offset, b"")

    async def _send_too_large(self) -> tuple[int, int]:
        name = topic_name(self.settings, "clicks")
        admin = KafkaAdminClient(**client_config(self.settings))
        try:
            limit = {"max.message.bytes": str(4 * MAX_REQUEST_BYTES)}
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, limit)])
        finally:
            admin.close()
        async with _producer(self.settings, max_request_size=4 * MAX_REQUEST_BYTES) as producer:
            sent = await producer.send_and_wait(name, b"x" * 2 * MAX_REQUEST_BYTES, key=b"U-large")
        return sent.partition, sent.offset

    def damage(self, folder: Path) -> None:
        """Damage the batches on the disk of the stopped broker whose topics are in ``folder``."""
        for topic, (number, offset, _) in self.damaged.items():
            segment = folder / f"{topic_name(self.settings, topic)}-{number}" / f"{0:020}.log"
            self.damaged[topic] = (number, offset, damage_on_disk(segment, offset, _DAMAGES[topic]))

    async def lags(self) -> dict[str, int]:
        """Of each partition that is not wholly done, what is left."""
        groups = dict([stream_group(self.settings), embedding_group(self.settings, self.tower.bundle)])
        return await asyncio.to_thread(self._lags, groups)

    def _lags(self, groups: dict[str, list[str]]) -> dict[str, int]:
        broker = GroupLag(self.settings)
        try:
            found = broker.positions(groups)
        finally:
            broker.close()
        return {f"{tp.topic}[{tp.partition}]": at.lag for tp, at in found.items() if at.lag}

    async def wait_until_done(self) -> None:
        assert self.worker is not None
        last: dict[str, int] = {}

        async def done() -> bool:
            nonlocal last
            try:
                last = await self.lags()
            except KafkaError:
                return False  # a new broker creates the topic of offsets when it is first asked
            return not last

        try:
            await wait_for(done, "everything to be done", [self.worker])
        except AssertionError as error:
            raise AssertionError(f"{error}, left: {last}") from None

    async def users(self) -> dict[str, UserVector]:
        return {event.user_id: event for event in await events_on(self.settings, "user-vectors", UserVector)}

    async def answered(self) -> set[str]:
        answers = await events_on(self.settings, "recommendations", Recommendation)
        return {answer.request_id for answer in answers}

    async def letters(self) -> dict[tuple[str, int | None, int | None], DeadLetter]:
        letters = await events_on(self.settings, "dead-letters", DeadLetter)
        assert len(letters) == len({(letter.source, letter.partition, letter.offset) for letter in letters})
        return {(letter.source, letter.partition, letter.offset): letter for letter in letters}


class _Producer:
    def __init__(self, settings: Settings, **options: object) -> None:
        self._producer = AIOKafkaProducer(**client_config(settings), **options)

    async def __aenter__(self) -> AIOKafkaProducer:
        await self._producer.start()
        return self._producer

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()


def _producer(settings: Settings, **options: object) -> _Producer:
    return _Producer(settings, **options)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _embedding(world: World) -> Iterator[None]:
    worker = EmbeddingWorker(world.settings, NameEncoder(), world.tower)
    thread = threading.Thread(target=worker.run, name="embedding")
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(HANG_S)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("foreign")
    # A broker of its own: it is stopped and its disk is damaged.
    with LocalKafka(folder) as broker:
        settings = settings_for(broker, folder / "worker")
        ensure_topics(settings)
        world = World(settings)
        asyncio.run(world.publish())
        broker.stop()
        world.damage(folder / "kafka" / "data")
        broker.start()
        world.settings = settings.model_copy(update={"bootstrap_servers": broker.bootstrap_servers})
        port = _free_port()
        world.health_url = f"http://127.0.0.1:{port}/healthz"
        with (
            stream_process(world.settings, settings.data_dir, FRESHET_METRICS_PORT=str(port)) as worker,
            _embedding(world),
        ):
            world.worker = worker
            asyncio.run(world.wait_until_done())
            yield world
            assert worker.stop() == 0


async def test_every_codec_is_read(world: World) -> None:
    users = await world.users()
    answered = await world.answered()
    embedded = await _embedded(world)
    for codec in _CODECS:
        assert users[f"U-{codec}"].clicks == 1
        assert f"R-{codec}" in answered
        assert f"A-{codec}" in embedded


async def test_a_committed_transaction_counts_and_an_aborted_one_does_not(world: World) -> None:
    users = await world.users()
    answered = await world.answered()
    embedded = await _embedded(world)
    told = {control.subject for control in await asyncio.to_thread(read_controls, world.settings)}
    assert users["U-committed"].clicks == 1
    assert "R-committed" in answered
    assert "A-committed" in embedded
    assert "U-committed" in told
    assert "U-aborted" not in users
    assert "R-aborted" not in answered
    assert "A-aborted" not in embedded
    assert "U-aborted" not in told


async def test_a_batch_that_cannot_be_decoded_is_a_dead_letter_and_stops_nothing(world: World) -> None:
    letters = await world.letters()
    for topic, (number, first, data) in world.damaged.items():
        last = first + _IN_A_BATCH - 1
        letter = letters.pop((topic, number, last))
        assert letter.reason.startswith(f"the batch of offsets {first} to {last} cannot be decoded: ")
        assert letter.value is not None
        assert b64decode(letter.value) == data
    large = letters.pop(("clicks", *world.too_large))
    assert large.value_bytes == 2 * MAX_REQUEST_BYTES
    assert letters == {}
    # The good record behind each.
    assert (await world.users())["U-damaged"].clicks == 1
    assert "A-damaged" in await _embedded(world)


async def test_the_markers_of_transactions_are_no_lag(world: World) -> None:
    assert await world.lags() == {}
    assert await asyncio.to_thread(_status, world.health_url) == 200


async def test_a_transaction_that_stays_open_is_no_lag_and_is_not_read(world: World) -> None:
    async with _producer(world.settings, transactional_id=f"{world.settings.topic_prefix}open") as producer:
        await producer.begin_transaction()
        await world._send(producer, _records("open"))
        await send(world.settings, _records("open"))
        await world.wait_until_done()
        assert "U-open" not in await world.users()
        await producer.commit_transaction()
    await world.wait_until_done()
    assert (await world.users())["U-open"].clicks == 2


async def _embedded(world: World) -> set[str]:
    records = await read_all(world.settings, topic_name(world.settings, topics.ARTICLE_VECTORS.name))
    keys = (parse_vector_key(record.key) for record in records)
    return {news_id for bundle, news_id in keys if bundle == world.tower.bundle}


def _status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=HANG_S) as response:
        return int(response.status)
