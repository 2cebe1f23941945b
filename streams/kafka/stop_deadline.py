"""A deadline for stopping: the broker may be gone for good and never take what is done."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

_WAIT_S = 10.0
"""The time given to a stop, which usually takes half a second."""


class StopDeadline:
    """One deadline for all steps of a stop."""

    def __init__(self) -> None:
        self._at_s = math.inf
        """Deadline by the loop's clock."""

    def set(self) -> None:
        """Start the countdown."""
        self._at_s = asyncio.get_running_loop().time() + _WAIT_S

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Leave the block at the deadline, and every later block at once; log it the first time."""
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
