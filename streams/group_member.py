"""Faust's consumer reduced to what freshet takes from it: the group's membership, and the tables' changelogs.

Faust shares the partitions out, brings the tables up to date, and says when the events may be read. Reading
them is left to :class:`freshet.streams.record_reader.RecordReader`, for two reasons that were measured: Faust
spends 90 µs on each record before an agent sees it, and it hands the records of all agents on through one
loop, which stands still while one agent's buffer is full, so that a request waited for a backlog of
impressions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import faust
from faust.transport.drivers import aiokafka
from faust.types import TP

from freshet.streams.progress import Progress


class GroupMember(aiokafka.Consumer):
    """Tells :class:`Progress` which event partitions may be read, and reads only changelogs."""

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Faust's tables are ready: the events of ``tps`` may be read."""
        changelogs, events = self._divided(tps)
        super().resume_partitions(changelogs)
        if events:
            self._progress.resume(events)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """The partitions are about to be shared out anew, or their tables are not ready."""
        changelogs, events = self._divided(tps)
        super().pause_partitions(changelogs | events)
        if events:
            self._progress.pause()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust would report every event partition as one that it has stopped reading."""

    @property
    def _progress(self) -> Progress:
        return cast(GroupTransport, self.transport).progress

    def _divided(self, tps: Iterable[TP]) -> tuple[set[TP], set[TP]]:
        every = set(tps)
        changelogs = {tp for tp in every if self._is_changelog_tp(tp)}
        return changelogs, every - changelogs


# mode gives every subclass of its own a logger of its module; this is a part of Faust's.
GroupMember.logger = aiokafka.Consumer.logger


class GroupTransport(aiokafka.Transport):
    """Faust's transport with :class:`GroupMember` as its consumer."""

    Consumer = GroupMember

    def __init__(self, *args: Any, progress: Progress, **options: Any) -> None:
        super().__init__(*args, **options)
        self.progress = progress


def join_group(app: faust.App, progress: Progress) -> None:
    """Have ``app``, finalized and not yet started, tell ``progress`` which partitions may be read."""
    app.transport = GroupTransport(app.conf.broker_consumer, app, app.loop, progress=progress)
