"""Reads which bundles were promoted, from the topic ``control``, and promotes one.

Two promotions at the same moment leave the later one in service, everywhere; clocks may differ, so that a
promotion is always dated after the last one that its publisher has seen.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from freshet.models.embedding.promotions import promotions_of
from freshet.models.events.events import Control
from freshet.streams.client import Freshet
from freshet.streams.kafka.topic_history import read_controls
from freshet.streams.settings import Settings

_STEP = timedelta(microseconds=1)


def read_promotions(settings: Settings) -> list[Control]:
    """Every promotion and rollback so far, the first one first.

    Records that cannot be read are skipped: the stream workers make them dead letters.

    Raises:
        KafkaUnreachable: No broker answers in time, or the topic ``control`` does not exist.
    """
    return promotions_of(read_controls(settings))


def promote(settings: Settings, bundle: str, *, rollback: bool = False) -> Control:
    """Promote ``bundle``: workers serve it from now on.

    Args:
        settings: Where Kafka is.
        bundle: A bundle's id, or :data:`freshet.models.embedding.promotions.UNTRAINED`.
        rollback: Whether this reverses the latest promotion.

    Raises:
        KafkaUnreachable: No broker answers, or the topic ``control`` does not exist.
        PublishFailed: Kafka did not acknowledge it.
        ValidationError: ``bundle`` cannot be a bundle's id.
    """
    earlier = read_promotions(settings)
    now = datetime.now(UTC)
    at = max(now, earlier[-1].time + _STEP) if earlier else now
    control = Control(kind="bundle-promoted", subject=bundle, time=at, rollback=rollback or None)
    with Freshet(settings) as client:
        client.control(control)
    return control
