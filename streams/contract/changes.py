"""Finds changes of the contract that break clients, between two AsyncAPI documents.

Both are documents of :mod:`freshet.streams.contract.document`. A new version must accept what clients publish
as before, and produce what they read as before (:mod:`freshet.models.events.schema_changes`). Both rules hold
for topics between workers: old and new workers run side by side during a roll-out, and compacted topics keep
the records of old ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freshet.models.events.schema_changes import Break, Promise, breaking_changes, resolved
from freshet.streams.contract.document import KEY_EXTENSION, PARTITIONER_EXTENSION

Document = Mapping[str, Any]

_PROMISES: Mapping[str, Promise] = {"receive": "accepts", "send": "produces"}
_MUST_STAY = ("cleanup.policy",)
_MAY_GROW = ("retention.ms", "delete.retention.ms", "max.message.bytes")


def contract_breaks(old: Document, new: Document) -> list[Break]:
    """Find where ``new`` breaks the promises of ``old``; additions break none.

    Raises:
        KeyError: One of them is not a document of :func:`freshet.streams.contract.document.contract`.
    """
    return [*_channels(old, new), *_operations(old, new)]


def additions(old: Document, new: Document) -> list[str]:
    """Name the channels, operations and fields that are in ``new`` but not in ``old``."""
    found = [
        f"{part} {name}"
        for part in ("channels", "operations")
        for name in new[part].keys() - old[part].keys()
    ]
    before, after = old["components"]["schemas"], new["components"]["schemas"]
    for name in before.keys() & after.keys():
        fields = after[name].get("properties", {}).keys() - before[name].get("properties", {}).keys()
        found += [f"{name}.{field}" for field in fields]
    return sorted(found)


def _channels(old: Document, new: Document) -> Iterator[Break]:
    for name, before in old["channels"].items():
        after = new["channels"].get(name)
        if after is None:
            yield Break(name, "the topic is gone")
            continue
        for part in ("address", KEY_EXTENSION, PARTITIONER_EXTENSION):
            if before[part] != after[part]:
                yield Break(name, f"{part} was {before[part]!r} and is {after[part]!r}")
        yield from _configuration(name, before, after)
        for message in before["messages"].keys() - after["messages"].keys():
            yield Break(name, f"{message} is gone")


def _configuration(name: str, old: Document, new: Document) -> Iterator[Break]:
    before, after = (channel["bindings"]["kafka"]["topicConfiguration"] for channel in (old, new))
    for key in _MUST_STAY:
        if before.get(key) != after.get(key):
            yield Break(name, f"{key} was {before.get(key)} and is {after.get(key)}")
    for key in _MAY_GROW:
        # -1 keeps for ever, and so does a key that is not set.
        was, now = (float("inf") if kept.get(key, -1) < 0 else kept[key] for kept in (before, after))
        if now < was:
            yield Break(name, f"{key} was {before.get(key, 'not set')} and is {after[key]}")


def _operations(old: Document, new: Document) -> Iterator[Break]:
    for name, before in old["operations"].items():
        after = new["operations"].get(name)
        if after is None:
            yield Break(name, "the operation is gone")
            continue
        for part in ("action", "channel", "reply"):
            if before.get(part) != after.get(part):
                yield Break(name, f"{part} was {before.get(part)!r} and is {after.get(part)!r}")
        for reference in before["messages"]:
            yield from _message(name, reference, old, new, _PROMISES[before["action"]])


def _message(
    name: str, reference: Document, old: Document, new: Document, promise: Promise
) -> Iterator[Break]:
    try:
        before, after = resolved(reference, old), resolved(reference, new)
    except KeyError:
        return  # The channel's messages say so.
    title = before["name"]
    if before["contentType"] != after["contentType"]:
        yield Break(title, f"contentType was {before['contentType']} and is {after['contentType']}")
    key, new_key = (message["bindings"]["kafka"]["key"] for message in (before, after))
    for found in breaking_changes(key, new_key, promise, old_root=old, new_root=new):
        yield Break(f"{title} (key)", found.what)
    for found in breaking_changes(before["payload"], after["payload"], promise, old_root=old, new_root=new):
        where = f"{title}.{found.where}" if found.where else title
        yield Break(where, f"{found.what} ({name})")
