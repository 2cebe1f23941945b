"""The published JSON Schemas: valid, as strict as the events where a schema can be, never stricter on output.

Patterns are ECMA-262's, as JSON Schema has it: there ``$`` is the very end, while Python's ``$`` also stands
before a last newline. The validator here differs from ``jsonschema``'s own in that alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from pydantic import ValidationError as Refusal

from freshet.models.events.events import Control, Event, EventError, RecommendationRequest, json_schema
from freshet.models.events.json_schemas import component_schemas, event_name
from tests.event_strategies import EVENTS as WRITTEN
from tests.minimal_events import MINIMAL
from tests.repository import ROOT

GOLDEN = ROOT / "tests" / "golden" / "v1"
EXAMPLES = ROOT / "models" / "events" / "examples"
each_event = pytest.mark.parametrize("event", MINIMAL, ids=event_name)

BEYOND_A_SCHEMA = {
    "value_error",  # what the models' own validators say of two fields together
    "finite_number",  # 1e999 is a number in JSON
    "string_unicode",  # half of a surrogate pair
    "int_parsing_size",  # pydantic's own limit on digits
}
"""Types of pydantic's errors that a JSON Schema has no word for."""


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield ValidationError(f"{value!r} does not match {pattern}")


Validator = extend(Draft202012Validator, {"pattern": _pattern})
VALIDATORS = {event: Validator(json_schema(event)) for event in MINIMAL}


def golden(event: type[Event]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / f"{event_name(event)}.json").read_bytes())
    return read


@each_event
def test_a_schema_is_valid_by_its_dialects_own_schema(event: type[Event]) -> None:
    Draft202012Validator.check_schema(json_schema(event))


@each_event
def test_golden_files_and_minimal_records_are_valid(event: type[Event]) -> None:
    VALIDATORS[event].validate(golden(event))
    VALIDATORS[event].validate(MINIMAL[event])


@each_event
def test_the_packages_examples_are_the_golden_files(event: type[Event]) -> None:
    """`make reference` copies them."""
    name = f"{event_name(event)}.json"
    assert (EXAMPLES / name).read_bytes() == (GOLDEN / name).read_bytes()
    assert json_schema(event)["examples"] == [golden(event)]


def test_no_example_is_left_over() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {path.name for path in GOLDEN.iterdir()}


@each_event
def test_a_schema_needs_no_dialect_of_openapi(event: type[Event]) -> None:
    assert '"discriminator"' not in json.dumps(json_schema(event))


def test_the_schemas_of_all_events_together_refer_to_each_other_as_told() -> None:
    components = component_schemas(list(MINIMAL), "#/components/schemas/{model}")
    assert {event.__name__ for event in MINIMAL} <= components.keys()
    refs = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(components)))
    assert refs == {f"#/components/schemas/{name}" for name in components} - {
        f"#/components/schemas/{event.__name__}" for event in MINIMAL
    }


@given(WRITTEN)
def test_what_freshet_writes_is_valid(event: Event) -> None:
    VALIDATORS[type(event)].validate(json.loads(event.to_json()))


Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The way to every value within a value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from places(part, (*path, name))


def changed(value: Any, path: Path_, change: Any) -> Any:
    """A copy with the place at ``path`` replaced, or removed where ``change`` is ``...``."""
    result = copy.deepcopy(value)
    place = result
    for step in path[:-1]:
        place = place[step]
    if change is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = change
    return result


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 1 << 63, 201, 10_001])
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.sampled_from(
        ["", "a b", "\n", "I1\n", "\ufeff", "\u0085", "\u3000", "x" * 129, "2026-03-02T08:00:00"]
    )
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@given(st.data(), st.sampled_from(list(MINIMAL)))
def test_what_the_event_refuses_the_schema_refuses_where_it_can(
    data: st.DataObject, event: type[Event]
) -> None:
    """One place of a golden record is changed to anything, or removed."""
    record = golden(event)
    change = data.draw(st.just(...) | json_values)
    value = changed(record, data.draw(st.sampled_from(list(places(record)))), change)
    try:
        event.from_json(json.dumps(value).encode())
    except EventError as error:
        refusal = error.__cause__
        assert isinstance(refusal, Refusal)
        if any(problem["type"] not in BEYOND_A_SCHEMA for problem in refusal.errors()):
            assert not VALIDATORS[event].is_valid(value), refusal
    else:
        if value.get("version") is not True:  # which Python takes for 1
            VALIDATORS[event].validate(value)


RULES = ("bury", "embargo", "withdraw", "quota")


@pytest.mark.parametrize(
    ("rule", "valid"),
    [
        ({"kind": "pin", "news_id": "N1"}, True),
        ({"news_id": "N1"}, False),
        ({"kind": "pinned", "news_id": "N1"}, False),
        ({"kind": "bury", "categories": ["news"]}, True),
        *(({"kind": kind}, False) for kind in RULES),
        *(({"kind": kind, "news_ids": []}, False) for kind in RULES),
        ({"kind": "embargo", "news_ids": ["N1"]}, False),
        ({"kind": "embargo", "news_ids": ["N1"], "until": None}, False),
        ({"kind": "embargo", "news_ids": ["N1"], "until": "2026-03-02T08:00:00Z"}, True),
        (
            {
                "kind": "embargo",
                "news_ids": ["N1"],
                "since": "2026-03-01T08:00:00Z",
                "until": "2026-03-02T08:00:00Z",
            },
            False,
        ),
        ({"kind": "quota", "category": "news"}, False),
        ({"kind": "quota", "category": "news", "at_most": None}, False),
        ({"kind": "quota", "category": "news", "at_least": 1}, True),
        ({"kind": "quota", "category": "news", "subcategory": None, "at_least_share": 0.5}, True),
        ({"kind": "quota", "category": "news", "subcategory": "local", "at_least": 1}, False),
        ({"kind": "quota", "at_least": 1}, False),
    ],
)
@pytest.mark.parametrize("event", [Control, RecommendationRequest], ids=event_name)
def test_a_rule_is_as_valid_by_the_schema_as_by_the_event(
    event: type[Event], rule: dict[str, Any], valid: bool
) -> None:
    rule = {"name": "r1"} | rule
    asked = {"kind": "rule-set", "subject": "r1", "rule": rule} if event is Control else {"rules": [rule]}
    record = MINIMAL[event] | asked
    assert VALIDATORS[event].is_valid(record) is valid
    if valid:
        event.from_json(json.dumps(record).encode())
    else:
        with pytest.raises(EventError):
            event.from_json(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("kind", "needs"),
    [("rule-set", "rule"), ("experiment-started", "experiment"), ("experiment-stopped", "experiment")],
)
def test_an_instruction_needs_what_it_is_about(kind: str, needs: str) -> None:
    whole = golden(Control) | {"kind": kind}
    assert VALIDATORS[Control].is_valid(whole)
    assert not VALIDATORS[Control].is_valid(whole | {needs: None})
    del whole[needs]
    assert not VALIDATORS[Control].is_valid(whole)
