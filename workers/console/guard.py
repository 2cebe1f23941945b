"""Access control of the console: only its own page, in a browser, may send it requests.

- A request whose ``Host`` is not an address of the console is refused: with a foreign name that resolves to
  loopback (DNS rebinding), a foreign page would have the console's origin.
- A request that changes something needs the page's ``Origin`` and a JSON body, which no foreign form can
  send. A request that the browser marks as cross-site is refused.
- Every response forbids caching, framing, MIME sniffing and, in the page, all but the package's own files.
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
    """Make the middleware that refuses requests from other pages, as the module describes.

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
    """Add the security headers to every response: a handler of aiohttp's ``on_response_prepare``."""
    del request
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)


def _refusal(request: web.Request, ours: Collection[str]) -> str | None:
    host = request.headers.get("Host", "")
    if _name(f"//{host}") not in ours:
        return (
            "This is not an address of the console. Open the address that was printed at its start; "
            "--allow-host allows further ones."
        )
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        return "Another site's page asked for this."
    if request.method in {"GET", "HEAD"}:
        return None
    origin = request.headers.get("Origin", "")
    if _netloc(origin) != host.casefold() or not host:
        return "Only the console's own page may do this."
    if request.content_type != "application/json":
        return "Only JSON is accepted (Content-Type: application/json)."
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
