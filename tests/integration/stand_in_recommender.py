"""A stand-in for the recommender's worker: it answers each request with as many articles as asked for."""

from __future__ import annotations

import threading

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from freshet.models.events.events import Recommendation, RecommendationRequest, RecommendedArticle
from freshet.streams.kafka.connection import client_config, topic_name
from freshet.streams.kafka.consumers import kafka_consumer
from freshet.streams.kafka.topics import RECOMMENDATIONS, REQUESTS, Topic
from freshet.streams.settings import Settings
from tests.waiting import HANG_S

SILENT = "SILENT"
"""The user whom the stand-in never answers."""


def assigned(settings: Settings, topic: Topic) -> KafkaConsumer:
    """A consumer of the whole topic from its beginning."""
    consumer = kafka_consumer(settings, auto_offset_reset="earliest")
    name = topic_name(settings, topic.name)
    consumer.assign([TopicPartition(name, number) for number in consumer.partitions_for_topic(name)])
    return consumer


class StandIn:
    """Answers each request with as many articles as asked for, named after the user."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.requests: list[RecommendationRequest] = []
        self.producer = KafkaProducer(**client_config(settings))

    def send(self, user_id: str, value: bytes) -> None:
        name = topic_name(self._settings, RECOMMENDATIONS.name)
        self.producer.send(name, key=user_id.encode(), value=value).get(timeout=HANG_S)

    def _run(self) -> None:
        with assigned(self._settings, REQUESTS) as consumer:
            while not self._closing.is_set():
                for records in consumer.poll(timeout_ms=100).values():
                    for record in records:
                        request = RecommendationRequest.from_json(record.value)
                        assert record.key.decode() == request.user_id
                        self.requests.append(request)
                        if request.user_id != SILENT:
                            self.send(request.user_id, answer(request).to_json())

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self.producer.close()


def answer(request: RecommendationRequest) -> Recommendation:
    names = request.candidates or [f"{request.user_id}-{rank}" for rank in range(request.k)]
    return Recommendation(
        request_id=request.request_id,
        user_id=request.user_id,
        time=request.time,
        bundle="b1",
        ranker="fixed",
        items=tuple(RecommendedArticle(news_id=name, score=1.0) for name in names),
    )
