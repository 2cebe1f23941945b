"""The programs of the page on Java, Node and kcat, run as they stand there, with a real broker and worker.

A green run says that what they publish lies where freshet looks for it (right key, right partition, readable)
and that the user's next answer rests on the click. It does not say that a broker which asks for a password
lets them in.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka.partitioner.default import murmur2

from freshet.models.events.events import ArticleVector, DeadLetter, Recommendation
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topics import ARTICLES, CLICKS, DEAD_LETTERS, IMPRESSIONS, REQUESTS, Topic
from freshet.workers.processes.kafka.broker import LocalKafka
from freshet.workers.processes.kafka.jars import ensure_jars, kafka_version
from tests.documents.pages import ROOT, Block, blocks
from tests.external_tools import external_tool
from tests.integration.served_world import World, article, served
from tests.integration.stream_harness import keyed, read_all, send, settings_for
from tests.node_packages import SOURCES, run_node
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

PAGE = ROOT / "docs" / "how-to" / "publish-from-java-node-kcat.md"
TEXT = PAGE.read_text(encoding="utf-8")


def page_blocks(language: str) -> list[Block]:
    return [block for block in blocks(PAGE) if block.language == language]


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A worker that has vectors of the page's articles too, as an embedding worker would have made them."""
    with served(settings_for(kafka, tmp_path_factory.mktemp("stream"))) as world:
        vectors: list[ArticleVector] = [article("N301", "sport"), article("N302", "politics")]
        asyncio.run(
            send(world.settings, [keyed("article-vectors", vector, vector.key) for vector in vectors])
        )
        yield world


def surroundings(world: World) -> dict[str, str]:
    """The environment of a program: where the page says that it looks."""
    return os.environ | {
        "FRESHET_BOOTSTRAP_SERVERS": world.settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": world.settings.topic_prefix,
        "LC_ALL": "C.UTF-8",  # Java 17 reads its arguments by it.
    }


@dataclass(frozen=True)
class Place:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


async def published(world: World) -> dict[Place, Any]:
    """All records on the topics that clients publish to."""
    return {
        Place(topic.name, record.partition, record.offset): record
        for topic in (ARTICLES, IMPRESSIONS, CLICKS, REQUESTS)
        for record in await read_all(world.settings, topic_name(world.settings, topic.name))
    }


async def check_published(world: World, user: str, before: dict[Place, Any]) -> None:
    """One event on each topic since ``before``, by its key, in the key's partition, readable, counted."""
    topics: dict[str, Topic] = {topic.name: topic for topic in (ARTICLES, IMPRESSIONS, CLICKS, REQUESTS)}
    new = {place: record for place, record in (await published(world)).items() if place not in before}
    assert sorted(place.topic for place in new) == sorted(topics)
    for place, record in new.items():
        event = topics[place.topic].event.from_json(record.value)
        key = "N301" if place.topic == ARTICLES.name else user
        assert record.key.decode() == key == getattr(event, topics[place.topic].key)
        assert place.partition == (murmur2(key.encode()) & 0x7FFFFFFF) % world.settings.partitions, place

    async def counted() -> bool:
        return (await asyncio.to_thread(world.recommend, user)).user_clicks == 1

    await world.until(counted, f"the click of {user} to count")


def check_answer(printed: str, user: str) -> None:
    key, _, value = printed.strip().partition(" ")
    answer = Recommendation.from_json(value.encode())
    assert key == answer.user_id == user
    assert len(answer.items) == 5
    assert not answer.degraded


def finished(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    return run.stdout


async def test_the_java_program_publishes_asks_and_prints_the_answer(world: World, tmp_path: Path) -> None:
    (program,) = page_blocks("java")
    source = tmp_path / "Freshet.java"
    source.write_text(program.text, encoding="utf-8")
    external_tool("javac")  # Without it, java runs no source files.
    command = [external_tool("java"), "-XX:TieredStopAtLevel=1", "-cp", f"{ensure_jars()}/*"]
    before = await published(world)
    run = subprocess.run(
        [*command, source, "Zoë-java"],
        env=surroundings(world),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    check_answer(finished(run), "Zoë-java")
    await check_published(world, "Zoë-java", before)


async def test_the_node_program_publishes_asks_and_prints_the_answer(world: World, tmp_path: Path) -> None:
    (program,) = page_blocks("javascript")
    source = tmp_path / "freshet.mjs"
    source.write_text(program.text, encoding="utf-8")
    before = await published(world)
    check_answer(finished(run_node(source, "Zoë-node", environment=surroundings(world))), "Zoë-node")
    await check_published(world, "Zoë-node", before)


def kcat(world: World, block: Block, user: str) -> list[str]:
    """A block's command, for this broker, these topics and a user of its own."""
    external_tool("kcat")
    text = block.text.replace("127.0.0.1:9092", world.settings.bootstrap_servers).replace("U42", user)
    return ["sh", "-euc", re.sub(r"(-t \"?)freshet\.", rf"\g<1>{world.settings.topic_prefix}", text)]


def kcat_blocks() -> list[Block]:
    return [block for block in page_blocks("sh") if "kcat" in block.text]


async def test_kcat_publishes_asks_and_reads_the_answer(world: World) -> None:
    publish, subscribe, ask, _ = kcat_blocks()
    user = "Zoë-kcat"
    before = await published(world)
    pipe = subprocess.PIPE
    with subprocess.Popen(kcat(world, subscribe, user), stdout=pipe, stderr=pipe, encoding="utf-8") as reader:
        try:
            assert reader.stdout is not None and reader.stderr is not None
            for _ in range(world.settings.partitions):
                line = await asyncio.wait_for(asyncio.to_thread(reader.stderr.readline), HANG_S)
                assert "Reached end of topic" in line
            for block in (publish, ask):
                finished(
                    await asyncio.to_thread(
                        subprocess.run,
                        kcat(world, block, user),
                        capture_output=True,
                        encoding="utf-8",
                    )
                )
            answer = await asyncio.wait_for(asyncio.to_thread(reader.stdout.readline), HANG_S)
        finally:
            reader.kill()
    check_answer(answer, user)
    assert Recommendation.from_json(answer.partition(" ")[2].encode()).request_id == "R78"
    await check_published(world, user, before)


async def test_a_dead_letter_says_what_was_wrong_with_a_record(world: World) -> None:
    wrong_key = b'{"user_id":"U1","news_id":"N301","time":"2026-03-02T08:00:00Z"}'
    await send(world.settings, [(CLICKS.name, b"U2", wrong_key)])

    async def buried() -> bool:
        letters = await read_all(world.settings, topic_name(world.settings, DEAD_LETTERS.name))
        return any(letter.key == b"U2" for letter in letters)

    await world.until(buried, "a dead letter")
    *_, read = kcat_blocks()
    printed = finished(
        subprocess.run(kcat(world, read, "U42"), capture_output=True, encoding="utf-8", check=False)
    )
    (line,) = (line for line in printed.splitlines() if line.startswith("U2 "))
    key, _, value = line.partition(" ")
    letter = DeadLetter.from_json(value.encode())
    assert (key, letter.source) == ("U2", "clicks")
    assert "the record's key is b'U2', it must be the user_id 'U1'" in letter.reason


def test_the_page_names_the_versions_that_are_tested() -> None:
    package = json.loads((SOURCES / "package.json").read_bytes())
    assert f"npm install @platformatic/kafka@{package['dependencies']['@platformatic/kafka']}\n" in TEXT
    assert f"<version>{kafka_version()}</version>" in TEXT
