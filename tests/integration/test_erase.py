"""An erased user is gone from the stream, stays gone, and may begin anew: on a real broker."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freshet.models.events.events import Recommendation
from freshet.models.users.codec import decode
from freshet.streams.client import Freshet
from freshet.streams.client.erasure import erase_user
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.partitioned_table import USER_STATE, changelog_name
from freshet.streams.kafka.topics import USER_VECTORS
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.integration.served_world import World, articles, ids_of
from tests.integration.stream_harness import (
    StreamProcess,
    ensure_topics,
    events_on,
    keyed,
    read_all,
    send,
    settings_for,
    wait_for,
    wait_until_drained,
)

pytestmark = pytest.mark.broker

_GONE, _STAYS = "U-gone", "U-stays"


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = settings_for(kafka, tmp_path_factory.mktemp("erase"))
    ensure_topics(settings)
    asyncio.run(send(settings, [keyed("article-vectors", a, a.key) for a in articles()]))
    worker = StreamProcess(settings, settings.data_dir)
    try:
        with Freshet(settings) as client:
            world = World(settings, worker, client)
            world.recommend("U-first")
            yield world
            worker = world.worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


async def test_a_user_never_seen_gets_a_receipt_too_and_a_wrong_id_an_error(world: World) -> None:
    receipt = _freshet(world, "erase", "U-nobody")
    assert receipt.exit_code == 0
    assert "erased by offset" in receipt.stdout
    wrong = _freshet(world, "erase", "two words")
    assert wrong.exit_code == 1
    assert "subject" in wrong.stderr


async def test_an_erased_user_is_gone_stays_gone_and_begins_anew(world: World) -> None:
    world.client.set_push(_GONE, True)
    world.click(_GONE, "P14", "P13")
    world.click(_STAYS, "S14")
    known = await world.after_clicks(_GONE, 2)
    await world.after_clicks(_STAYS, 1)
    old_state = await _state_of(world, _GONE, clicks=2)
    await _state_of(world, _STAYS, clicks=1)

    receipt = json.loads(_freshet(world, "erase", _GONE, "--json").stdout)
    assert receipt["complete"]
    assert receipt["user_id"] == _GONE
    _assert_a_receipt_names_every_place(world.settings, receipt)
    await _assert_gone(world, _GONE, but=_STAYS)
    offsets = {erased["topic"]: erased["offset"] for erased in receipt["erased"]}
    assert offsets == {
        topic: [
            record.offset for record in await read_all(world.settings, topic) if record.key == _GONE.encode()
        ][-1]
        for topic in (_changelog(world.settings), _vectors(world.settings))
    }

    # Now a stranger, even to a request of the same event time as the one before.
    assert world.recommend(_GONE).user_clicks == 0
    assert known.user_clicks == 2

    async def like_a_stranger() -> bool:
        # Statistics of the clicks may arrive between two requests: once all are in, the answers agree.
        return ids_of(world.recommend(_GONE)) == ids_of(world.recommend("U-never-seen"))

    await world.until(like_a_stranger, "the answer that anybody gets")

    # The same events again, with a history, change nothing.
    world.click(_GONE, "P14", "P13")
    world.client.impression(
        _GONE, ["P12", "S1"], ["P12"], time=articles()[0].published_at, history=["P14", "P13"]
    )
    await wait_until_drained(world.settings, [world.worker], ["clicks", "impressions", "slate-batches"])
    assert world.recommend(_GONE).user_clicks == 0
    await _assert_gone(world, _GONE, but=_STAYS)

    # What comes after the erasure is another user's, without the push of the old one.
    world.client.impression(_GONE, ["S2", "P12"], ["S2"], time=datetime.now(UTC), history=["P14"])
    assert (await world.after_clicks(_GONE, 1)).user_clicks == 1
    state = decode(await _state_of(world, _GONE, clicks=1))
    assert [news_id for _, news_id in state.recent] == ["S2"]
    answers = await events_on(world.settings, "recommendations", Recommendation)
    assert not [answer for answer in answers if answer.pushed and answer.time > _time(receipt)]

    # Neither a crash with its store brings anything back ...
    world.worker.kill()
    world.worker = StreamProcess(world.settings, world.settings.data_dir)
    assert (await world.after_clicks(_GONE, 1)).user_clicks == 1

    # ... nor one that loses it, after a second erasure.
    assert erase_user(world.settings, _GONE).complete
    world.worker.kill()
    shutil.rmtree(world.settings.data_dir / "tables")

    # Nor a state that somebody's disk or a crash between the two tombstones has left; nor is an erasure lost
    # that nobody is there to carry out.
    await send(world.settings, [(_unprefixed(world.settings), _GONE.encode(), old_state)])
    failed = _freshet(world, "erase", _STAYS, "--timeout", "0.2", "--json")
    assert failed.exit_code == 1
    assert "no worker has confirmed the erasure" in failed.stderr
    assert not json.loads(failed.stdout)["complete"]
    world.worker = StreamProcess(world.settings, world.settings.data_dir)

    async def erased() -> bool:
        states = await _last(world.settings, _changelog(world.settings))
        vectors = await _last(world.settings, _vectors(world.settings))
        return not any((states[_GONE], states[_STAYS], vectors[_GONE], vectors[_STAYS]))

    await wait_for(erased, "both users to be erased", [world.worker])
    assert world.recommend(_GONE).user_clicks == 0
    assert world.recommend(_STAYS).user_clicks == 0
    assert world.worker.stop() == 0


def _freshet(world: World, *arguments: str) -> Result:
    environment = {
        "FRESHET_BOOTSTRAP_SERVERS": world.settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": world.settings.topic_prefix,
        "COLUMNS": "200",
    }
    return CliRunner(env=environment).invoke(main, list(arguments))


def _assert_a_receipt_names_every_place(settings: Settings, receipt: dict[str, Any]) -> None:
    assert receipt["control_topic"] == topic_name(settings, "control")
    assert [erased["topic"] for erased in receipt["erased"]] == [_vectors(settings), _changelog(settings)]
    expiring = {each["topic"]: each for each in receipt["expiring"]}
    assert expiring.keys() == {
        topic_name(settings, name)
        for name in (
            "impressions",
            "clicks",
            "recommendation-requests",
            "recommendations",
            "dead-letters",
            "slate-batches",
            "ranker-examples",
        )
    }
    assert expiring[topic_name(settings, "clicks")]["before_offset"] == 2
    at = _time(receipt)
    for place in [*receipt["expiring"], *receipt["erased"]]:
        gone_by = place.get("gone_by") or place.get("earlier_gone_by")
        assert at < datetime.fromisoformat(gone_by)
    week_s = 7 * 86_400
    (vectors, _) = receipt["erased"]
    assert (datetime.fromisoformat(vectors["earlier_gone_by"]) - at).total_seconds() == week_s


async def _assert_gone(world: World, user_id: str, but: str) -> None:
    for topic in (_changelog(world.settings), _vectors(world.settings)):
        last = await _last(world.settings, topic)
        assert last[user_id] is None
        assert last[but] is not None


async def _state_of(world: World, user_id: str, clicks: int) -> bytes:
    """The user's state on the changelog, where it comes some moments after the answers that know it."""

    async def written() -> bytes | None:
        value = (await _last(world.settings, _changelog(world.settings))).get(user_id)
        return value if value is not None and decode(value).clicks == clicks else None

    found: bytes = await world.until(written, f"the state of {clicks} clicks of {user_id}")
    return found


async def _last(settings: Settings, topic: str) -> dict[str, bytes | None]:
    """What is left of a topic once it is compacted, tombstones included."""
    return {record.key.decode(): record.value for record in await read_all(settings, topic)}


def _time(receipt: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(receipt["erased_at"])


def _changelog(settings: Settings) -> str:
    return changelog_name(settings, USER_STATE)


def _unprefixed(settings: Settings) -> str:
    return _changelog(settings).removeprefix(settings.topic_prefix)


def _vectors(settings: Settings) -> str:
    return topic_name(settings, USER_VECTORS.name)
