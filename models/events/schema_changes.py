"""Breaking changes between two versions of a JSON Schema.

A schema can make two promises:

- **accepts**: the new schema allows every record that the old one allowed. It applies to topics that freshet
  reads, because clients continue to publish in the old format.
- **produces**: the old schema allowed every record that the new one allows. It applies to topics that freshet
  publishes, because clients continue to read in the old format.

Records may have fields that a schema does not name, and readers ignore those. So a new optional field breaks
neither promise, while a removed field breaks both: it would be ignored, or missed. A changed default breaks
both too, because a record that leaves the field out means the old one.

The comparison is conservative: keywords that it does not interpret (``allOf``, ``pattern``) may be dropped
from the wider schema, and must otherwise be equal. The alternatives of a ``oneOf`` are taken to exclude each
other, as in a tagged union. Titles, descriptions and examples are ignored.
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
    """One breaking difference between two schemas."""

    where: str
    """Path from the record to the place, such as ``items[].news_id``; empty for the record itself."""
    what: str

    def __str__(self) -> str:
        return f"{self.where or 'the record'}: {self.what}"


def breaking_changes(
    old: Schema, new: Schema, promise: Promise, *, old_root: Schema, new_root: Schema
) -> list[Break]:
    """Differences by which ``new`` breaks the promise of ``old``; an empty list if there is none.

    >>> old, new = {"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}
    >>> [str(change) for change in breaking_changes(old, new, "accepts", old_root=old, new_root=new)]
    ['the record: minimum was 0 and is 1']

    Args:
        old: The old schema.
        new: The new schema.
        promise: The promise to check.
        old_root: Document in which references of ``old`` (``#/...``) are looked up.
        new_root: Document in which references of ``new`` are looked up.
    """
    comparison = _Comparison(promise, old_root, new_root)
    return list(dict.fromkeys(comparison.schemas(old, new, "")))


def resolved(schema: Schema, root: Schema) -> Schema:
    """Resolve a schema's reference and merge the keywords beside it; without one, return the schema.

    Raises:
        KeyError: The reference points to nothing.
    """
    while "$ref" in schema:
        target: Any = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[step]
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


class _Comparison:
    """Comparison of two schemas. ``wide`` must allow everything that ``narrow`` allows."""

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
        """Check that the wide schema has an alternative for each alternative of the narrow one."""
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
        """Alternatives for the same records as ``narrow``, by name, tag or type."""
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
    """Keywords common to all alternatives of a schema, and the alternatives: itself if there are none."""
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return {key: value for key, value in schema.items() if key not in {name, "default"}}, schema[name]
    return _ANY, [schema]


def _goes_on(old: Any, new: Any) -> bool:
    """Whether a default is unchanged, except for new fields."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(name in new and _goes_on(value, new[name]) for name, value in old.items())
    return bool(old == new)


def _inner(schema: Schema, name: str) -> Schema:
    """Schema within a schema; ``true`` and a missing one allow anything, ``false`` nothing."""
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
