"""A change of a schema is found exactly where it breaks a promise: each kind by hand, all of them by law."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from freshet.models.events.schema_changes import Promise, breaking_changes

Schema = dict[str, Any]
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
MAYBE: Schema = {"anyOf": [ID, {"type": "null"}], "default": None}
TAGGED: Schema = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "pin"}, "at": {"type": "integer"}},
            "required": ["kind"],
        },
        {"type": "object", "properties": {"kind": {"const": "bury"}}, "required": ["kind"]},
    ]
}


def record(required: tuple[str, ...] = ("id",), **fields: Schema) -> Schema:
    return {"type": "object", "properties": {"id": ID} | fields, "required": list(required)}


def breaks(old: Schema, new: Schema, promise: Promise) -> list[str]:
    return [str(found) for found in breaking_changes(old, new, promise, old_root=old, new_root=new)]


NEITHER: tuple[Promise, ...] = ()
ACCEPTS: tuple[Promise, ...] = ("accepts",)
PRODUCES: tuple[Promise, ...] = ("produces",)
BOTH: tuple[Promise, ...] = ("accepts", "produces")


@pytest.mark.parametrize(
    ("old", "new", "broken", "said"),
    [
        pytest.param(record(), record(), NEITHER, "", id="nothing"),
        pytest.param(record(), record(note=MAYBE), NEITHER, "", id="an optional field comes"),
        pytest.param(
            record(), record() | {"title": "t", "description": "d", "examples": [1]}, NEITHER, "", id="words"
        ),
        pytest.param(record(note=MAYBE), record(), BOTH, "note: is gone", id="an optional field goes"),
        pytest.param(
            record(), record((), id=ID), PRODUCES, "id: may be missing now", id="no longer required"
        ),
        pytest.param(
            record(note=MAYBE),
            record(("id", "note"), note=MAYBE),
            ACCEPTS,
            "note: is required now",
            id="required",
        ),
        pytest.param(
            record(), record(("id", "new"), new=ID), ACCEPTS, "new: is required now", id="required and new"
        ),
        pytest.param(
            record(n={"type": "number"}),
            record(n={"type": "integer"}),
            ACCEPTS,
            "n: its type was number and is integer",
            id="a type is narrowed",
        ),
        pytest.param(
            record(n={"type": "integer"}),
            record(n={"type": "string"}),
            BOTH,
            "n: its type was integer and is string",
            id="a type is another",
        ),
        pytest.param(
            record(n={"type": "integer"}),
            record(n={}),
            PRODUCES,
            "n: its type was integer and is any",
            id="a type is dropped",
        ),
        pytest.param(
            record(n=ID), record(n=MAYBE), PRODUCES, "n: a value of type null", id="null is allowed"
        ),
        pytest.param(
            record(n=MAYBE), record(n=ID), ACCEPTS, "n: a value of type null", id="null is forbidden"
        ),
        pytest.param(
            record(e={"enum": ["a", "b"]}),
            record(e={"enum": ["a"]}),
            ACCEPTS,
            "e: the value 'b' is no longer allowed",
            id="a value goes",
        ),
        pytest.param(
            record(e={"enum": ["a"]}),
            record(e={"enum": ["a", "b"]}),
            PRODUCES,
            "e: the value 'b' is new",
            id="a value comes",
        ),
        pytest.param(
            record(e={"type": "string"}),
            record(e={"type": "string", "enum": ["a"]}),
            ACCEPTS,
            "e: any value was allowed",
            id="values are listed",
        ),
        pytest.param(
            record(v={"const": 1}), record(v={"const": 2}), BOTH, "v: the value", id="a constant is another"
        ),
        pytest.param(
            record(),
            record(id=ID | {"maxLength": 64}),
            ACCEPTS,
            "id: maxLength was 128 and is 64",
            id="shorter",
        ),
        pytest.param(
            record(),
            record(id=ID | {"maxLength": 256}),
            PRODUCES,
            "id: maxLength was 128 and is 256",
            id="longer",
        ),
        pytest.param(
            record(n={"type": "number", "minimum": 0}),
            record(n={"type": "number"}),
            PRODUCES,
            "n: minimum was 0 and is not set",
            id="a bound goes",
        ),
        pytest.param(
            record(n={"type": "number"}),
            record(n={"type": "number", "exclusiveMinimum": 0}),
            ACCEPTS,
            "n: exclusiveMinimum was not set and is 0",
            id="a bound comes",
        ),
        pytest.param(
            record(),
            record(id=ID | {"pattern": "^a"}),
            ACCEPTS,
            "id: pattern was not set and is '^a'",
            id="a pattern comes",
        ),
        pytest.param(
            record(id=ID | {"pattern": "^a"}), record(), PRODUCES, "id: pattern was '^a'", id="a pattern goes"
        ),
        pytest.param(
            record(id=ID | {"pattern": "^a"}),
            record(id=ID | {"pattern": "^b"}),
            BOTH,
            "id: pattern was '^a' and is '^b'",
            id="a pattern changes",
        ),
        pytest.param(
            record(),
            record() | {"allOf": [{"required": ["other"]}]},
            ACCEPTS,
            "the record: allOf was not set",
            id="a condition comes",
        ),
        pytest.param(
            record(ids={"type": "array", "items": ID, "maxItems": 9}),
            record(ids={"type": "array", "items": {"type": "integer"}, "maxItems": 9}),
            BOTH,
            "ids[]: its type was string and is integer",
            id="the items are others",
        ),
        pytest.param(
            record(by={"type": "object", "additionalProperties": {"type": "number"}}),
            record(by={"type": "object", "additionalProperties": {"type": "string"}}),
            BOTH,
            "by{}: its type was number and is string",
            id="a mapping's values are others",
        ),
        pytest.param(
            record(by={"type": "object"}),
            record(by={"type": "object", "propertyNames": {"maxLength": 3}}),
            ACCEPTS,
            "by{name}: maxLength was not set",
            id="a mapping's names are bounded",
        ),
        pytest.param(
            record(k={"type": "integer", "default": 10}),
            record(k={"type": "integer", "default": 20}),
            BOTH,
            "k: its default was 10 and is 20",
            id="a default changes",
        ),
        pytest.param(
            record(f={"type": "object", "default": {"a": 1}}),
            record(f={"type": "object", "default": {"a": 1, "b": 2}}),
            NEITHER,
            "",
            id="a default gets a field",
        ),
        pytest.param(
            record(("id", "k"), k={"type": "integer"}),
            record(k={"type": "integer", "default": 10}),
            PRODUCES,
            "k: may be missing now",
            id="a required field gets a default",
        ),
        pytest.param(
            record(rule=TAGGED),
            record(rule={"oneOf": TAGGED["oneOf"][:1]}),
            ACCEPTS,
            "rule: kind 'bury' was allowed, and is no longer",
            id="a kind goes",
        ),
        pytest.param(
            record(rule={"oneOf": TAGGED["oneOf"][:1]}),
            record(rule=TAGGED),
            PRODUCES,
            "rule: kind 'bury' was not allowed, and is now",
            id="a kind comes",
        ),
        pytest.param(
            record(rule=TAGGED),
            record(
                rule={
                    "oneOf": [
                        {**TAGGED["oneOf"][0], "required": ["kind", "at"]},
                        TAGGED["oneOf"][1],
                    ]
                }
            ),
            ACCEPTS,
            "rule.at: is required now",
            id="within one kind of several",
        ),
    ],
)
def test_a_change_breaks_the_promises_that_it_breaks_and_no_other(
    old: Schema, new: Schema, broken: tuple[Promise, ...], said: str
) -> None:
    for promise in BOTH:
        found = breaks(old, new, promise)
        assert bool(found) == (promise in broken), (promise, found)
        assert not found or any(line.startswith(said) for line in found), (said, found)


def test_references_are_followed_in_the_document_of_each_side_and_may_be_cycles() -> None:
    def found(old: str, new: str) -> list[str]:
        roots = [{"node": record(next={"$ref": "#/node"}, leaf={"type": leaf})} for leaf in (old, new)]
        reference = {"$ref": "#/node"}
        changes = breaking_changes(reference, reference, "accepts", old_root=roots[0], new_root=roots[1])
        return [str(change) for change in changes]

    assert found("string", "string") == []
    assert found("string", "integer") == ["leaf: its type was string and is integer"]


NAMES = ("a", "b")
scalars = st.sampled_from([None, True, 0, 1, 2, 0.5, "", "x", "yy"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=5,
)
small = st.integers(0, 2)


def _object(fields: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": fields, "required": [name for name in required if name in fields]}


def _with(kind: str, least: str, most: str) -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional={least: small, most: small})


leaves = st.one_of(
    st.just({}),
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"const": 1, "type": "integer"}]),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["", "x", "yy"]), min_size=1, max_size=2)}),
    _with("string", "minLength", "maxLength"),
    _with("integer", "minimum", "exclusiveMaximum"),
    _with("number", "exclusiveMinimum", "maximum"),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda items, bounds: {"items": items} | bounds, inner, _with("array", "minItems", "maxItems")
        ),
        st.builds(
            _object,
            st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
            st.lists(st.sampled_from(NAMES)),
        ),
        st.builds(lambda *options: {"anyOf": list(options)}, inner, inner),
        st.builds(lambda values: {"type": "object", "additionalProperties": values}, inner),
    ),
    max_leaves=4,
)


def closed(schema: Any) -> Any:
    """The schema of records without fields that it does not name, which readers would ignore."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return inner | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


def inner_schemas(schema: Schema) -> Iterator[tuple[Any, str | int]]:
    """Where in a schema others are: what holds each, and under which name."""
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield schema, name
            yield from inner_schemas(schema[name])
    for holder in (schema.get("properties", {}), schema.get("anyOf", [])):
        for place in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, place
            yield from inner_schemas(holder[place])


@st.composite
def successors(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema, and one that differs from it in one place."""
    old = draw(schemas)
    new = copy.deepcopy(old)
    places = list(inner_schemas(new))
    if not places:
        return old, draw(leaves)
    holder, place = draw(st.sampled_from(places))
    holder[place] = draw(leaves)
    return old, new


@given(successors(), st.lists(values, min_size=5, max_size=15))
def test_what_was_valid_stays_valid_where_nothing_is_said_to_break(
    pair: tuple[Schema, Schema], records: list[Any]
) -> None:
    """The law of **accepts**, on records without fields that the old schema does not name."""
    old, new = pair
    if breaks(old, new, "accepts"):
        return
    before, after = Draft202012Validator(closed(old)), Draft202012Validator(new)
    for value in records:
        assert not before.is_valid(value) or after.is_valid(value), value


@given(successors())
def test_what_one_side_must_accept_the_other_must_not_exceed(pair: tuple[Schema, Schema]) -> None:
    """**produces** is **accepts** in the other direction, but for fields: none may go in either."""
    old, new = pair
    if "properties" not in str(old):
        assert bool(breaks(old, new, "accepts")) == bool(breaks(new, old, "produces"))


@given(schemas)
def test_no_change_breaks_nothing(schema: Schema) -> None:
    assert breaks(schema, schema, "accepts") == breaks(schema, schema, "produces") == []
