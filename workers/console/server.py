"""Server of the console's page, its JSON requests and its stream of server-sent events.

Guarantee: input is bounded (ids, lists, bodies, open streams); output is JSON or one of the package's own
files; a failure is a text in the answer's ``error`` that says what to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from freshet.models.events.events import EventPart, Id
from freshet.workers.console.clock import StreamClock
from freshet.workers.console.desk import MAX_LIST, ConsoleError, Desk
from freshet.workers.console.feed import StreamFeed
from freshet.workers.console.guard import add_headers, guard
from freshet.workers.console.memory import StreamMemory
from freshet.workers.console.pulse import Pulse

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4_096
MAX_QUERY = 128
MAX_STREAMS = 16
"""Largest number of pages open at the same time."""

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LIST = 8
_USERS = 40
_CLOSE_S = 5.0
_SEND_S = 0.5
_LISTS_S = 2.0
"""Interval of the lists: for 100,000 articles they take 0.2 s of a busy core."""
_PING_S = 15.0
_TICK_S = 10.0
"""Resolution of the page's clock: each tick is sent."""
_LOOK_S = 2.0

_ID: TypeAdapter[str] = TypeAdapter(Id)


class Opened(EventPart):
    """Body of a click."""

    user_id: Id
    news_id: Id
    request_id: Id | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """Parts that the page's answers come from."""

    memory: StreamMemory
    feed: StreamFeed
    clock: StreamClock
    desk: Desk
    pulse: Pulse
    described: str
    """Name of the stream, for the page's heading."""


@dataclass(slots=True)
class _Streams:
    """Number of open event streams, and whether to end them."""

    open: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)


class _Lists:
    """Trending and newest articles, computed at intervals for all open pages together."""

    def __init__(self, console: Console) -> None:
        self._memory = console.memory
        self._clock = console.clock
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {}
        self._found_at_s = -math.inf

    def now(self) -> dict[str, Any]:
        """Return the lists, by the names of their events."""
        with self._lock:
            if time.monotonic() - self._found_at_s >= _LISTS_S:
                now_s = self._clock.now_s
                self._found = {
                    "trending": self._memory.trending(_LIST, now_s),
                    "newest": self._memory.newest(_LIST, now_s),
                }
                self._found_at_s = time.monotonic()
            return self._found


CONSOLE = web.AppKey("console", Console)
LISTS = web.AppKey("lists", _Lists)
STREAMS = web.AppKey("streams", _Streams)


def console_app(console: Console, names: Collection[str]) -> web.Application:
    """Make the application, ready to be served.

    Args:
        console: Parts that answers come from.
        names: Host names and addresses that requests may use.
    """
    app = web.Application(middlewares=[guard(names), _report_errors], client_max_size=MAX_BODY_BYTES)
    app[CONSOLE] = console
    app[LISTS] = _Lists(console)
    app[STREAMS] = _Streams()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_close)
    app.cleanup_ctx.append(_looking)
    app.router.add_get("/", _page)
    app.router.add_get("/{file:[a-z-]+[.](?:css|html|js|svg)}", _page)
    app.router.add_get("/api/front-page", _front_page)
    app.router.add_get("/api/users", _users)
    app.router.add_get("/api/stream", _stream)
    app.router.add_post("/api/open", _open)
    return app


@web.middleware
async def _report_errors(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Convert errors to the JSON that the page reads."""
    try:
        answer: web.StreamResponse = await handler(request)
    except ConsoleError as error:
        return web.json_response({"error": str(error)}, status=error.status)
    except web.HTTPException as error:
        return web.json_response({"error": f"{error.status} {error.reason}"}, status=error.status)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        text = "The console failed at this; its log says where. Please report this bug."
        return web.json_response({"error": text}, status=500)
    return answer


async def _looking(app: web.Application) -> Any:
    """Read the metrics pages regularly while the application runs."""
    pulse = app[CONSOLE].pulse

    async def look() -> None:
        while True:
            await asyncio.to_thread(pulse.look)
            await asyncio.sleep(_LOOK_S)

    task = asyncio.create_task(look())
    yield
    task.cancel()


async def _close(app: web.Application) -> None:
    """End the event streams, so that the shutdown need not wait for them."""
    app[STREAMS].closing.set()
    # Kafka's client waits for a slow broker; stopping the console must not.
    closing = threading.Thread(target=app[CONSOLE].desk.close, name="console-close", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, _CLOSE_S)


async def _page(request: web.Request) -> web.Response:
    name = request.match_info.get("file", "index.html")
    file = files("freshet.workers.console") / "static" / name
    if not file.is_file():
        raise web.HTTPNotFound
    return web.Response(
        body=file.read_bytes(), content_type=_TYPES[f".{name.rpartition('.')[2]}"], charset="utf-8"
    )


async def _front_page(request: web.Request) -> web.Response:
    user_id = _checked_id(request.query.get("user", ""))
    k = _checked_number(request.query.get("k", "10"), 1, MAX_LIST)
    after = request.query.get("after")
    after_clicks = None if after is None else _checked_number(after, 0, 1 << 53)
    return _json(await request.app[CONSOLE].desk.front_page(user_id, k, after_clicks))


async def _users(request: web.Request) -> web.Response:
    query = request.query.get("q", "")
    if len(query) > MAX_QUERY:
        raise ConsoleError(f"A search has {MAX_QUERY} characters at most.", 400)
    return _json({"users": request.app[CONSOLE].memory.users(query, _USERS)})


async def _open(request: web.Request) -> web.Response:
    try:
        opened = Opened.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConsoleError(f"{where or 'body'}: {first['msg']}", 400) from error
    await request.app[CONSOLE].desk.open(opened.user_id, opened.news_id, opened.request_id)
    return _json({})


async def _stream(request: web.Request) -> web.StreamResponse:
    """Stream everything that changes without a request, each part when it has changed."""
    streams, console, lists = request.app[STREAMS], request.app[CONSOLE], request.app[LISTS]
    user = request.query.get("user")
    user_id = None if user is None else _checked_id(user)
    if streams.open >= MAX_STREAMS:
        raise ConsoleError(f"{MAX_STREAMS} pages of this console are open. Close one and reload.", 503)
    streams.open += 1
    try:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await _send_changes(response, streams.closing, lambda: _parts(console, user_id) | lists.now())
        return response
    finally:
        streams.open -= 1


async def _send_changes(
    response: web.StreamResponse, closing: asyncio.Event, parts_now: Callable[[], dict[str, Any]]
) -> None:
    """Send changed parts until the page is closed or the console stops."""
    loop = asyncio.get_running_loop()
    sent: dict[str, bytes] = {}
    ping_s = loop.time() + _PING_S
    try:
        await response.write(b"retry: 1000\n\n")
        while not closing.is_set():
            parts = await asyncio.to_thread(parts_now)
            for name, part in parts.items():
                value = orjson.dumps(part)
                if sent.get(name) != value:
                    sent[name] = value
                    await response.write(b"event: %b\ndata: %b\n\n" % (name.encode(), value))
            if loop.time() > ping_s:
                ping_s = loop.time() + _PING_S
                await response.write(b":\n\n")
            try:
                await asyncio.wait_for(closing.wait(), _SEND_S)
            except TimeoutError:
                continue
    except ConnectionResetError:
        return


def _parts(console: Console, user_id: str | None) -> dict[str, Any]:
    now_s = console.clock.now_s
    parts = {
        "about": {"stream": console.described, "live": console.clock.live, "problem": console.feed.problem},
        "pulse": console.pulse.view,
        "users": console.memory.users("", _USERS),
        "time": {"now_s": now_s // _TICK_S * _TICK_S},
    }
    if user_id is not None:
        parts["clicks"] = console.memory.clicks_of(user_id)
    return parts


def _checked_id(value: str) -> str:
    try:
        return _ID.validate_python(value)
    except ValidationError as error:
        raise ConsoleError("A user's id has 1 to 128 characters, none of them white space.", 400) from error


def _checked_number(value: str, least: int, most: int) -> int:
    # isdecimal() alone would take digits of any script, and any number of them.
    if value.isascii() and value.isdecimal() and len(value) <= len(str(most)) and least <= int(value) <= most:
        return int(value)
    raise ConsoleError(f"A whole number from {least} to {most} is needed.", 400)


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
