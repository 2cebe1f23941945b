"""A Faust table addressed by partition, for agents that handle many events at a time.

Faust's mapping interface writes to the partition of the event being handled *now*, which in a batch is not
the event that the write belongs to. Here every read and write names its partition. The changelog, its
compaction and the recovery after a crash or a rebalance stay Faust's.

Order of a write: changelog first, delivered, then the local store. So the store is never ahead of the
changelog: whatever it holds survives the loss of its disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import faust
import rocksdict
from faust.stores.rocksdb import RocksDBOptions
from faust.types import TP

from freshet.streams.kafka.outbox import Outbox
from freshet.streams.settings import Settings

USER_STATE = "user-state"
"""Name of the table of users' states."""

_MEMORY_BYTES = 128 << 20
"""Size of the block cache of all tables of a process, with their write buffers."""
_WRITE_BUFFERS_BYTES = 32 << 20
"""Share of the write buffers; beyond it the largest is flushed."""


class TableMemory(RocksDBOptions):
    """Options under which the tables of a process share one bounded memory, however many partitions it owns.

    Each partition of each table is a database. With buffers of their own, 16 databases took up to 48 MB each
    before the first was flushed, which looked like a leak for as long as it took to fill them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cache = rocksdict.Cache(_MEMORY_BYTES)
        self._buffers = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(
            _WRITE_BUFFERS_BYTES, False, self._cache
        )

    def as_options(self) -> rocksdict.Options:
        """Faust's options, with the shared memory in place of a database's own."""
        options: rocksdict.Options = super().as_options()
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_bloom_filter(self.bloom_filter_size, block_based=True)
        blocks.set_block_cache(self._cache)
        blocks.set_cache_index_and_filter_blocks(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._buffers)
        return options


def changelog_name(settings: Settings, table: str) -> str:
    """Full name of a table's changelog topic, for readers that run no worker."""
    return f"{settings.topic_prefix}stream-{table}-changelog"


class PartitionedTable:
    """Bytes by key in one of several partitions, kept in RocksDB and in a changelog topic."""

    def __init__(self, app: faust.App, name: str, partitions: int) -> None:
        self._table: Any = app.Table(
            name,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            # Recovery applies the changelog in batches of this size; Faust's default is 1,000.
            recovery_buffer_size=5_000,
            options={"driver": "rocksdict"},
        )

    def share(self, memory: TableMemory) -> None:
        """Share ``memory`` with the process' other tables; in the event loop, before the app starts."""
        # Faust hands the table's own options on to its store as numbers only.
        store: Any = self._table.data
        store.rocksdb_options = memory

    @property
    def changelog(self) -> str:
        """The changelog topic's full name."""
        return str(self._table.changelog_topic_name)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return the value of ``key`` in ``partition``, or ``None``."""
        value: bytes | None = self._db(partition).get(key)
        return value

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over every key and value of ``partition``."""
        offset_key: bytes = self._table.data.offset_key
        return ((key, value) for key, value in self._db(partition).items() if key != offset_key)

    def write_changelog(
        self, outbox: Outbox, partition: int, items: Iterable[tuple[bytes, bytes | None]]
    ) -> None:
        """Add ``items`` to the next flush of ``outbox``; ``None`` deletes."""
        changelog = self.changelog  # Faust builds the name at each access
        for key, value in items:
            outbox.add_record(changelog, partition, key, value)

    def write_store(self, partition: int, items: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write ``items``, which the changelog holds up to ``offset``, to the local store."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._db(partition).write(batch)
        self._table.data.set_persisted_offset(TP(self.changelog, partition), offset)

    def _db(self, partition: int) -> Any:
        # The store's only way to a given partition; its public methods take it from the current event.
        return self._table.data._db_for_partition(partition)
