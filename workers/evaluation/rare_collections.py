"""Makes garbage collection rare in work that creates millions of objects.

Reference counting still frees everything outside cycles. Searching the state of an evaluation for cycles took
an eighth of its time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 1_000_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cycles once in a million new objects, and ignore the objects made before the block."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
