"""A verb of freshet in a process whose faults a test switches on and off: run it with freshet's arguments.

The faults stand in the file ``faults`` of the data folder, as JSON, and hold for as long as they stand there:

- ``{"hang": ["clicks"]}``: an aiokafka consumer that reads one of these topics hangs from its next fetch on,
  as some do after a broker's restart: the call never returns, and nothing else tells.
- ``{"stuck": true}``: the batch of clicks and impressions under way does not end.
- ``{"fail": ["clicks"]}``: the next fetch of a consumer that reads one of these topics raises.
- ``{"memory_texts": 4}``: the encoder's device has memory for so many texts in one batch and no more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from freshet.streams.state.user_states import UserStates
from freshet.workers.cli.main import main

_POLL_S = 0.1
_FILE = Path(os.environ["FRESHET_DATA_DIR"]) / "faults"
_PREFIX = os.environ["FRESHET_TOPIC_PREFIX"]
_getmany = AIOKafkaConsumer.getmany
_write = UserStates.write


def _faults() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_FILE.read_text())
    except FileNotFoundError:
        return {}
    return found


async def _faulty(consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
    def is_to(fault: str) -> bool:
        topics = {tp.topic.removeprefix(_PREFIX) for tp in consumer.assignment()}
        return not topics.isdisjoint(_faults().get(fault, ()))

    while is_to("hang"):
        await asyncio.sleep(_POLL_S)
    if is_to("fail"):
        raise RuntimeError("as the test wants")
    return await _getmany(consumer, *args, **kwargs)


async def _stuck(states: UserStates, *args: Any) -> None:
    while _faults().get("stuck"):
        await asyncio.sleep(_POLL_S)
    await _write(states, *args)


def _short_of_memory() -> None:
    import torch

    from freshet.models.embedding.text.encoder import TransformerEncoder

    computed = TransformerEncoder._computed

    def limited(encoder: TransformerEncoder, texts: list[Any]) -> Any:
        if len(texts) > _faults().get("memory_texts", len(texts)):
            raise torch.OutOfMemoryError("as the test wants")
        return computed(encoder, texts)

    TransformerEncoder._computed = limited


if __name__ == "__main__":
    AIOKafkaConsumer.getmany = _faulty
    UserStates.write = _stuck  # type: ignore[method-assign] # a fault is put in the place of what works
    if sys.argv[1] == "embed":
        _short_of_memory()
    main()
