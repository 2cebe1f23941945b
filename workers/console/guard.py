"""Who may talk to the console: a browser whose page it is, on this machine, and nobody in its name.

- A request whose ``Host`` is not an address of the console is refused: a foreign name that resolves to
  loopback (DNS rebinding) would make a foreign page ours.
- What changes something needs the page's own ``Origin`` and JSON, which no foreign form can send; and nothing
  is answered to a request that the browser marks as another site's.
- Every answer forbids caching, framing, sniffing of types, and in the page all but the package's own files.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def guard(names: Collection[str]) -> Middleware:
    """A middleware that lets through what the module's text says.

    Args:
        names: Host names and addresses of the console, without ports.
    """
    ours = frozenset(name.casefold() for name in names)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _refusal(request, ours)
        if refusal is None:
            return await handler(request)
        return web.json_response({"error": refusal}, status=403)

    return middleware


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Of every answer, whatever made it: a signal handler of aiohttp's ``on_response_prepare``."""
    del request
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)


def _refusal(request: web.Request, ours: Collection[str]) -> str | None:
    host = request.headers.get("Host", "")
    if _name(f"//{host}") not in ours:
        return (
            "This is not an address of the console. Open it as it was printed when it was started; "
            "--allow-host names further ones."
        )
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        return "Another site's page asked for this."
    if request.method in {"GET", "HEAD"}:
        return None
    origin = request.headers.get("Origin", "")
    if _netloc(origin) != host.casefold() or not host:
        return "Only the console's own page may do this."
    if request.content_type != "application/json":
        return "Only JSON is taken (Content-Type: application/json)."
    return None


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").casefold()
    except ValueError:
        return ""


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.casefold()
    except ValueError:
        return ""
