"""A block in which Python seldom looks for unreachable cycles, for work that makes millions of objects.

Reference counts free all else at once, as ever. Looking through all that an evaluation has learned took an
eighth of its time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 1_000_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cycles once in a million new objects, and never look at those made before the block."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
