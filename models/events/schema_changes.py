"""What breaks when one version of a JSON Schema takes the place of another, and for whom.

Two promises, and a schema can be held to both:

- **accepts**: every record that the old schema allowed, the new one allows. What freshet reads is held to it,
  because clients go on publishing what they publish today.
- **produces**: every record that the new schema allows, the old one allowed. What freshet publishes is held
  to it, because clients go on reading as they read today.

Records may have fields that a schema does not name, and readers ignore those. So a new optional field breaks
neither promise, while a field that is gone breaks both: it would be ignored, or missed. A default that
changes breaks both too, because whoever leaves the field out means the old one.

The comparison errs on the side of breaking: keywords that it does not understand (``allOf``, ``pattern``) may
be dropped on the side that has to be the wider, and must otherwise be equal. The alternatives of a ``oneOf``
are taken to exclude each other, as those of a tagged union do. Titles, descriptions and examples count for
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]
Promise = Literal["accepts", "produces"]

_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_COMPARED = frozenset(
    {*_LEAST, *_MOST, "$ref", "additionalProperties", "anyOf", "const", "default", "enum", "items", "oneOf"}
    | {"properties", "propertyNames", "required", "type"}
)
_REMARKS = frozenset({"$defs", "$id", "$schema", "description", "examples", "title"})
_ANY: Schema = {}


@dataclass(frozen=True, slots=True)
class Break:
    """One difference by which records, or their readers, that were right become wrong."""

    where: str
    """The way from the record to the place: ``items[].news_id``; empty for the record itself."""
    what: str

    def __str__(self) -> str:
        """``items[].news_id: is required now``."""
        return f"{self.where or 'the record'}: {self.what}"


def breaking_changes(
    old: Schema, new: Schema, promise: Promise, *, old_root: Schema, new_root: Schema
) -> list[Break]:
    """The ways in which ``new`` breaks a promise that ``old`` made; an empty list if it keeps it.

    Args:
        old: The schema until now.
        new: The schema from now on.
        promise: Which.
        old_root: The document in which references of ``old`` (``#/...``) are looked up.
        new_root: That of ``new``.
    """
    comparison = _Comparison(promise, old_root, new_root)
    return list(dict.fromkeys(comparison.schemas(old, new, "")))


def resolved(schema: Schema, root: Schema) -> Schema:
    """What a schema's reference leads to, with the words beside the reference; itself where it has none.

    Raises:
        KeyError: The reference leads nowhere.
    """
    while "$ref" in schema:
        target: Any = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


class _Comparison:
    """One pass through two schemas. ``wide`` is the one that has to allow whatever ``narrow`` allows."""

    def __init__(self, promise: Promise, old_root: Schema, new_root: Schema) -> None:
        self._accepts = promise == "accepts"
        self._old_root = old_root
        self._new_root = new_root
        self._under_way: set[tuple[str, str]] = set()

    def schemas(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        refs = (old.get("$ref", ""), new.get("$ref", ""))
        if all(refs):
            if refs in self._under_way:
                return
            self._under_way.add(refs)
        old, new = resolved(old, self._old_root), resolved(new, self._new_root)
        if "default" in old and not _goes_on(old["default"], new.get("default")):
            yield Break(where, f"its default was {old.get('default')!r} and is {new.get('default')!r}")
        yield from self._alternatives(old, new, where)
        if all(refs):
            self._under_way.discard(refs)

    def _alternatives(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        """Each alternative of the narrow schema has to be allowed by one of the wide schema."""
        (old_beside, olds), (new_beside, news) = _alternatives(old), _alternatives(new)
        if olds == [old] and news == [new]:
            yield from self._single(old, new, where)
            return
        yield from self._single(old_beside, new_beside, where)
        narrows, wides = (olds, news) if self._accepts else (news, olds)
        for narrow in narrows:
            found = [
                list(self.schemas(*((narrow, wide) if self._accepts else (wide, narrow)), where))
                for wide in self._alike(narrow, wides)
            ]
            if not found:
                was = "allowed, and is no longer" if self._accepts else "not allowed, and is now"
                yield Break(where, f"{self._named(narrow, self._accepts)} was {was}")
            else:
                yield from min(found, key=len)

    def _alike(self, narrow: Schema, wides: list[Schema]) -> list[Schema]:
        """The alternatives that are for the same records as ``narrow``, by name, tag or type."""
        mark = self._named(narrow, self._accepts)
        named = [wide for wide in wides if self._named(wide, not self._accepts) == mark]
        return named or [wide for wide in wides if not resolved(wide, self._root(not self._accepts))]

    def _named(self, schema: Schema, old: bool) -> str:
        whole = resolved(schema, self._root(old))
        tags = [
            f"{name} {field['const']!r}"
            for name, field in whole.get("properties", {}).items()
            if "const" in field
        ]
        if tags:
            return ", ".join(sorted(tags))
        kinds = sorted(_types(whole))
        return "a value of type " + " or ".join(kinds) if kinds else "any value"

    def _root(self, old: bool) -> Schema:
        return self._old_root if old else self._new_root

    def _single(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        narrow, wide = (old, new) if self._accepts else (new, old)
        yield from self._types(narrow, wide, where)
        yield from self._values(narrow, wide, where)
        yield from self._bounds(old, new, narrow, wide, where)
        yield from self._fields(old, new, where)
        for name in sorted((wide.keys() | narrow.keys()) - _COMPARED - _REMARKS):
            if name in wide and wide[name] != narrow.get(name):
                yield Break(where, f"{name} was {_shown(old, name)} and is {_shown(new, name)}")

    def _types(self, narrow: Schema, wide: Schema, where: str) -> Iterator[Break]:
        allowed = _types(wide)
        if not allowed:
            return
        if "number" in allowed:
            allowed = allowed | {"integer"}
        given = _types(narrow)
        if not given or not given <= allowed:
            old, new = (narrow, wide) if self._accepts else (wide, narrow)
            yield Break(where, f"its type was {_kind(old)} and is {_kind(new)}")

    def _values(self, narrow: Schema, wide: Schema, where: str) -> Iterator[Break]:
        allowed, given = _constants(wide), _constants(narrow)
        if allowed is None:
            return
        if given is None:
            yield Break(where, f"any value {'was' if self._accepts else 'is'} allowed, not only {allowed}")
            return
        for value in given:
            if value not in allowed:
                change = "is no longer allowed" if self._accepts else "is new"
                yield Break(where, f"the value {value!r} {change}")

    def _bounds(self, old: Schema, new: Schema, narrow: Schema, wide: Schema, where: str) -> Iterator[Break]:
        for name in (*_LEAST, *_MOST):
            if name not in wide:
                continue
            sign = 1 if name in _MOST else -1
            if name not in narrow or sign * narrow[name] > sign * wide[name]:
                yield Break(where, f"{name} was {_shown(old, name)} and is {_shown(new, name)}")

    def _fields(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        before, after = old.get("properties", _ANY), new.get("properties", _ANY)
        for name in before:
            path = f"{where}.{name}" if where else name
            if name not in after:
                yield Break(path, "is gone")
            else:
                yield from self.schemas(before[name], after[name], path)
        was, now = set(old.get("required", ())), set(new.get("required", ()))
        demanded = now - was if self._accepts else (was - now) & after.keys()
        for name in sorted(demanded):
            path = f"{where}.{name}" if where else name
            yield Break(path, "is required now" if self._accepts else "may be missing now")
        for name, step in (("items", "[]"), ("additionalProperties", "{}"), ("propertyNames", "{name}")):
            if name in old or name in new:
                yield from self.schemas(_inner(old, name), _inner(new, name), where + step)


def _alternatives(schema: Schema) -> tuple[Schema, list[Schema]]:
    """What holds for a schema whatever the alternative, and its alternatives: itself where it has none."""
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return {key: value for key, value in schema.items() if key not in {name, "default"}}, schema[name]
    return _ANY, [schema]


def _goes_on(old: Any, new: Any) -> bool:
    """Whether a default is what it was; fields of it may have come."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(name in new and _goes_on(value, new[name]) for name, value in old.items())
    return bool(old == new)


def _inner(schema: Schema, name: str) -> Schema:
    """A schema within a schema; ``true`` and a missing one allow anything, ``false`` nothing."""
    inner = schema.get(name, True)
    return inner if isinstance(inner, Mapping) else (_ANY if inner else {"enum": []})


def _types(schema: Schema) -> set[str]:
    kinds = schema.get("type", ())
    return {kinds} if isinstance(kinds, str) else set(kinds)


def _kind(schema: Schema) -> str:
    return " or ".join(sorted(_types(schema))) or "any"


def _constants(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _shown(schema: Schema, name: str) -> str:
    return repr(schema[name]) if name in schema else "not set"
