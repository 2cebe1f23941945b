"""How every process logs: one readable line per record on standard error, libraries only when it matters."""

from __future__ import annotations

import logging
import sys

_THIRD_PARTIES = ("faust", "mode", "aiokafka", "kafka", "qdrant_client", "httpx", "transformers", "asyncio")


def set_up_logs(verbose: bool = False) -> None:
    """Log to standard error: freshet from INFO on, libraries from WARNING on, everything if ``verbose``."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for name in _THIRD_PARTIES:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    # They warn of what is normal: a rebalance, a group whose coordinator is still being elected, a busy core.
    for name in ("aiokafka.consumer.group_coordinator", "faust.app.base", "kafka.net.selector"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)
