"""Headers of records that carry traces: a record of several causes names each of the latest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

Headers = Sequence[tuple[str, bytes]]


NO_HEADERS: Headers = ()


MAX_CAUSES = 16
"""Traces that one record names as its causes: a slate batch comes of hundreds of events."""


def joined(causes: Iterable[Headers]) -> Headers:
    """The headers of a record with several causes: a ``traceparent`` for each of the latest of them."""
    return tuple(header for headers in list(causes)[-MAX_CAUSES:] for header in headers)
