"""The time that a worker which stops gives the broker to take what is done: a broker may be gone for good."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

_WAIT_S = 10.0
"""Half a second is usual."""


class StopDeadline:
    """One deadline for all steps of a stop."""

    def __init__(self) -> None:
        self._at_s = math.inf
        """By the loop's clock."""

    def set(self) -> None:
        """Begin to count."""
        self._at_s = asyncio.get_running_loop().time() + _WAIT_S

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Leave the block at the deadline, and every later block at once; the first time, say so."""
        try:
            async with asyncio.timeout_at(self._at_s):
                yield
        except TimeoutError:
            if self._at_s > -math.inf:
                log.warning(
                    "stopping without the broker: what it did not take within %.0f s is done again by "
                    "whoever reads these partitions next",
                    _WAIT_S,
                )
            self._at_s = -math.inf
