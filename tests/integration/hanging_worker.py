"""``freshet stream``, or another verb, in which some aiokafka consumers hang when they are told to.

What aiokafka's consumers sometimes do after a broker's restart: fetching never returns, and nothing else
tells. A consumer hangs that reads one of the topics (short names, comma-separated) in the file named by
``TEST_HANG_FILE``, from its next fetch on, for as long as they stand there. Run as a program, with the
arguments of ``freshet``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from freshet.workers.cli import main

_POLL_S = 0.1
_FILE = Path(os.environ["TEST_HANG_FILE"])
_PREFIX = os.environ["FRESHET_TOPIC_PREFIX"]
_getmany = AIOKafkaConsumer.getmany


def _hangs(consumer: AIOKafkaConsumer) -> bool:
    if not _FILE.exists():
        return False
    names = {_PREFIX + name for name in _FILE.read_text().split(",")}
    return any(tp.topic in names for tp in consumer.assignment())


async def _hanging(consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
    while _hangs(consumer):
        await asyncio.sleep(_POLL_S)
    return await _getmany(consumer, *args, **kwargs)


if __name__ == "__main__":
    AIOKafkaConsumer.getmany = _hanging
    main()
