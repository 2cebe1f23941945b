"""The console's HTTP: who may ask, what is refused, what is told, and that the page loads nothing foreign."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from freshet.models.events.events import Recommendation, RecommendedArticle, from_unix_s
from freshet.streams.errors import KafkaUnreachable, RecommendationTimeout
from freshet.streams.settings import Settings
from freshet.workers.console import desk as console_desk
from freshet.workers.console import server as console_server
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.desk import Desk
from freshet.workers.console.feed import StreamFeed
from freshet.workers.console.guard import LOOPBACK_NAMES
from freshet.workers.console.memory import StreamMemory
from freshet.workers.console.pulse import Pulse
from freshet.workers.console.server import MAX_STREAMS, Console, console_app

NOW_S = 1_800_000_000.0


class Stream:
    """Takes the client's place: remembers what is published, and answers at once."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, ...]] = []
        self.asked = 0
        self.failure: Exception | None = None
        self.closed = False

    def recommend(self, user_id: str, k: int, **asked: Any) -> Recommendation:
        del asked
        if self.failure is not None:
            raise self.failure
        self.asked += 1
        clicks = sum(each[0] == "click" for each in self.published)
        return Recommendation(
            request_id=f"R{self.asked}",
            user_id=user_id,
            time=from_unix_s(NOW_S),
            bundle="b1",
            ranker="b1-0",
            items=tuple(RecommendedArticle(news_id=f"N{i}", score=1.0, title=f"<b>{i}") for i in range(k)),
            # The stream applies a click some answers later.
            user_clicks=clicks if self.asked > 3 else 0,
        )

    def impression(self, user_id: str, candidates: Any, **more: Any) -> None:
        self.published.append(
            ("impression", user_id, tuple(candidates), more["impression_id"], more["request_id"])
        )

    def click(self, user_id: str, news_id: str, **more: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.published.append(("click", user_id, news_id, more["impression_id"], more["request_id"]))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    monkeypatch.setattr(console_desk, "Freshet", lambda *_, **__: stream)
    monkeypatch.setattr(console_desk, "wait_for_broker", lambda *_: None)
    return stream


@pytest.fixture
def memory() -> StreamMemory:
    return StreamMemory()


@pytest.fixture
async def client(stream: Stream, memory: StreamMemory) -> AsyncIterator[TestClient[Any, Any]]:
    settings, clock = Settings(), StreamClock(lambda: NOW_S)
    clock.known.set()
    desk = Desk(settings, memory, clock)
    feed = StreamFeed(settings, memory, clock)
    console = Console(memory, feed, clock, desk, Pulse((), settings), "freshet.* at a broker")
    async with TestClient(TestServer(console_app(console, LOOPBACK_NAMES))) as client:
        yield client


def own(client: TestClient[Any, Any]) -> dict[str, str]:
    """The headers of a page of the console's own."""
    return {"Origin": str(client.make_url("/")).rstrip("/"), "Content-Type": "application/json"}


async def opened(client: TestClient[Any, Any], **body: Any) -> ClientResponse:
    return await client.post("/api/open", data=json.dumps(body), headers=own(client))


async def error_of(answer: ClientResponse) -> str:
    return str((await answer.json())["error"])


@pytest.mark.parametrize("name", ["/", "/app.js", "/style.css", "/icon.svg"])
async def test_the_page_is_served_with_headers_that_forbid_everything_foreign(
    client: TestClient[Any, Any], name: str
) -> None:
    answer = await client.get(name)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_only_the_packages_own_files_are_served(client: TestClient[Any, Any]) -> None:
    for path in ("/../console_run.py", "/..%2Fconsole_run.py", "/nothing.js", "/app.py"):
        answer = await client.get(path)
        assert answer.status == 404, path
        assert "nosniff" in answer.headers["X-Content-Type-Options"]


def test_the_page_names_no_foreign_address_and_holds_no_inline_script_or_style() -> None:
    for file in files("freshet.workers.console").joinpath("static").iterdir():
        text = file.read_text()
        foreign = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", text))
        assert foreign <= {"http://www.w3.org/2000/svg"}, file.name
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text
        if file.name.endswith(".html"):
            assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", ""])
async def test_a_foreign_host_name_is_refused(client: TestClient[Any, Any], host: str) -> None:
    for path in ("/", "/api/users", "/api/front-page?user=U1"):
        assert (await client.get(path, headers={"Host": host})).status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:8080"])
async def test_loopback_by_any_of_its_names_is_ours(client: TestClient[Any, Any], host: str) -> None:
    assert (await client.get("/api/users", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json", "Origin": "null"},
        {"Content-Type": "application/json", "Origin": "http://evil.example"},
        {"Content-Type": "application/json", "Origin": "http://127.0.0.1:1"},
        {"Content-Type": "text/plain", "Origin": "own"},
    ],
)
async def test_another_sites_post_changes_nothing(
    client: TestClient[Any, Any], stream: Stream, headers: dict[str, str]
) -> None:
    if headers.get("Origin") == "own":
        headers = {**headers, "Origin": own(client)["Origin"]}
    answer = await client.post("/api/open", data=b'{"user_id":"U1","news_id":"N1"}', headers=headers)
    assert answer.status == 403
    assert stream.published == []


async def test_another_sites_get_is_refused_where_the_browser_says_so(client: TestClient[Any, Any]) -> None:
    answer = await client.get("/api/front-page?user=U1", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403


async def test_an_article_of_the_front_page_is_opened_as_a_site_would_report_it(
    client: TestClient[Any, Any], stream: Stream
) -> None:
    page = await (await client.get("/api/front-page?user=U1&k=3")).json()
    assert [item["title"] for item in page["items"]] == ["<b>0", "<b>1", "<b>2"]
    for news_id in ("N1", "N2"):
        answer = await opened(client, user_id="U1", news_id=news_id, request_id=page["request_id"])
        assert answer.status == 200
    impression, first, second = stream.published
    assert impression[:3] == ("impression", "U1", ("N0", "N1", "N2"))
    assert impression[4] == page["request_id"]
    assert first == ("click", "U1", "N1", impression[3], page["request_id"])
    assert second == ("click", "U1", "N2", impression[3], page["request_id"])


async def test_an_article_of_a_list_that_is_everybodys_is_a_click_alone(
    client: TestClient[Any, Any], stream: Stream
) -> None:
    assert (await opened(client, user_id="U1", news_id="N7")).status == 200
    assert stream.published == [("click", "U1", "N7", None, None)]


async def test_after_a_click_the_page_gets_an_answer_that_rests_on_it(
    client: TestClient[Any, Any], stream: Stream
) -> None:
    await opened(client, user_id="U1", news_id="N7")
    page = await (await client.get("/api/front-page?user=U1&after=0")).json()
    assert (page["user_clicks"], page["applied"], stream.asked) == (1, True, 4)


async def test_a_list_that_was_not_given_to_this_reader_cannot_be_clicked(
    client: TestClient[Any, Any], stream: Stream
) -> None:
    page = await (await client.get("/api/front-page?user=U1&k=3")).json()
    of = page["request_id"]
    for body in (
        {"user_id": "U1", "news_id": "N1", "request_id": "R-unknown"},
        {"user_id": "U2", "news_id": "N1", "request_id": of},
        {"user_id": "U1", "news_id": "N99", "request_id": of},
    ):
        answer = await opened(client, **body)
        assert answer.status == 409
        assert "Refresh" in await error_of(answer)
    assert stream.published == []


@pytest.mark.parametrize(
    "query", ["user=", "user=a%20b", f"user={'U' * 129}", "user=U1&k=0", "user=U1&k=51", "user=U1&k=x",
              "user=U1&after=-1", "user=U1&k=%C2%B2", "user=U1&k=" + "9" * 5_000]
)  # fmt: skip
async def test_malformed_questions_are_refused_with_a_reason(
    client: TestClient[Any, Any], query: str
) -> None:
    answer = await client.get(f"/api/front-page?{query}")
    assert answer.status == 400
    assert "is needed" in await error_of(answer) or "characters" in await error_of(answer)


async def test_malformed_and_large_bodies_are_refused(client: TestClient[Any, Any], stream: Stream) -> None:
    for body in (
        b"",
        b"[]",
        b'{"user_id":"U1"}',
        b'{"user_id":"a b","news_id":"N1"}',
        b'{"user_id":1,"news_id":"N"}',
    ):
        answer = await client.post("/api/open", data=body, headers=own(client))
        assert answer.status == 400, body
    large = await opened(client, user_id="U1", news_id="N1", more="x" * 5_000)
    assert large.status == 413
    assert (await client.get("/api/users?q=" + "x" * 129)).status == 400
    assert stream.published == []


@pytest.mark.parametrize(
    ("failure", "status", "what_to_do"),
    [
        (RecommendationTimeout("late"), 504, "freshet up"),
        (KafkaUnreachable("Kafka does not answer. Start one with `freshet up`"), 503, "freshet up"),
    ],
)
async def test_a_failure_says_what_to_do(
    client: TestClient[Any, Any], stream: Stream, failure: Exception, status: int, what_to_do: str
) -> None:
    stream.failure = failure
    answer = await client.get("/api/front-page?user=U1")
    assert answer.status == status
    assert what_to_do in await error_of(answer)


async def test_nothing_is_asked_or_clicked_before_the_time_of_the_stream_is_known(
    client: TestClient[Any, Any], stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_desk, "_KNOWN_S", 0.01)
    clock = client.app[console_server.CONSOLE].clock
    monkeypatch.setattr(clock, "known", threading.Event())
    assert (await client.get("/api/front-page?user=U1")).status == 503
    assert (await opened(client, user_id="U1", news_id="N1")).status == 503
    assert (stream.asked, stream.published) == (0, [])


async def told(answer: ClientResponse, name: str) -> Any:
    """The next event of that name."""
    while True:
        line = await answer.content.readline()
        assert line, "the stream ended"
        if line == f"event: {name}\n".encode():
            return json.loads((await answer.content.readline()).removeprefix(b"data: "))


async def test_the_stream_tells_what_changes_and_ends_with_the_console(
    client: TestClient[Any, Any], memory: StreamMemory
) -> None:
    async with client.get("/api/stream?user=U1") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert (await told(answer, "about"))["stream"] == "freshet.* at a broker"
        assert await told(answer, "clicks") == []
        memory.add_click("U1", "N1", NOW_S)
        assert [click["news_id"] for click in await told(answer, "clicks")] == ["N1"]
        client.app[console_server.STREAMS].closing.set()
        while await answer.content.readline():
            pass


async def test_the_number_of_open_pages_is_bounded(client: TestClient[Any, Any]) -> None:
    answers = [await client.get("/api/stream") for _ in range(MAX_STREAMS)]
    assert {answer.status for answer in answers} == {200}
    refused = await client.get("/api/stream")
    assert refused.status == 503
    assert "Close one" in await error_of(refused)
    for answer in answers:
        answer.close()


async def test_a_console_that_stops_waits_for_no_answer(client: TestClient[Any, Any], stream: Stream) -> None:
    asking = asyncio.create_task(client.get("/api/front-page?user=U1&after=99"))
    while not stream.asked:
        await asyncio.sleep(0.01)
    await client.server.close()
    # It would have gone on asking for seconds.
    assert stream.closed
    assert (await asking).status == 503


async def test_what_nobody_expected_is_logged_and_not_told(
    client: TestClient[Any, Any], stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    stream.failure = RuntimeError("a secret path")
    answer = await client.get("/api/front-page?user=U1")
    assert answer.status == 500
    assert "secret" not in await error_of(answer)
    assert "a secret path" in caplog.text
