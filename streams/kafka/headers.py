"""Record headers that carry traces: a record with several causes names the latest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[str, bytes]]

NO_HEADERS: Headers = ()

MAX_CAUSES = 16
"""The most traces that one record names as its causes: hundreds of events lead to one slate batch."""


def joined(causes: Iterable[Headers]) -> Headers:
    """Headers of a record with several causes: a ``traceparent`` for each of the latest."""
    return tuple(header for headers in list(causes)[-MAX_CAUSES:] for header in headers)
