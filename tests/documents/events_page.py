"""``docs/reference/events.md``: topics, and every event with its fields and its golden file as an example."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from freshet.models.events.events import MAX_EVENT_BYTES, Event, json_schema
from freshet.streams.kafka.topics import TOPICS, Topic
from tests.documents.markdown_text import code, line, prose, table
from tests.repository import ROOT

GOLDEN = ROOT / "tests" / "golden" / "v1"

_INTRODUCTION = f"""\
# Events

Topics are the only contract between freshet's parts, and with you. Each record's value is one JSON object,
version 1. Unknown fields are ignored, and a field that is not required may be left out. A missing or
malformed field, a record over {MAX_EVENT_BYTES >> 20} MiB, or a key that is not the event's makes a record
a [dead letter](#deadletter). Ids have 1 to 128 characters without white space. Times are RFC 3339 with an
offset, as a string that is not digits alone, and are kept in UTC. Event time decides every result, the time
of processing none.

The key is the id that the table names, in UTF-8, and the partitioner is Kafka's own: murmur2 of the key,
the default of the console tools and of Java's client; in librdkafka set `partitioner=murmur2_random`.

The examples are the golden files of [tests/golden/v1](../../tests/golden/v1), which every version must
read, and write again byte for byte. They show every field; a record has those that say something.

## Topics

Every name begins with the [prefix](configuration.md#where-things-are), by default `freshet.`.
"""
_DAY_MS = 24 * 3_600 * 1_000
_WIDTH = 110


def events_page() -> str:
    """The page's text, in the order of the topics."""
    rows = [
        [
            code(topic.name),
            f"[{topic.event.__name__}](#{topic.event.__name__.lower()})",
            code(topic.key) if "'" not in topic.key else topic.key,
            topic.cleanup,
            _kept(topic),
            _publisher(topic),
        ]
        for topic in TOPICS
    ]
    heading = ["topic", "event", "key", "cleanup", "kept for", "published by"]
    lines = [_INTRODUCTION, *table(heading, rows), ""]
    parts: dict[str, Mapping[str, Any]] = {}
    for topic in TOPICS:
        schema = json_schema(topic.event)
        parts |= schema.get("$defs", {})
        lines += _event(topic, schema)
    lines += ["## Parts of events", ""]
    for name in sorted(parts):
        lines += _part(name, parts[name])
    return "\n".join(lines)


def _publisher(topic: Topic) -> str:
    return "you" if topic.published_by == "clients" else "freshet"


def _kept(topic: Topic) -> str:
    if topic.retention_ms < 0:
        return "ever, the last of each key"
    days = topic.retention_ms / _DAY_MS
    return f"{days:g} day{'s' if days > 1 else ''}" if days >= 1 else f"{days * 24:g} h"


def _event(topic: Topic, schema: Mapping[str, Any]) -> list[str]:
    meaning = prose(inspect.getdoc(topic.event) or "")
    return [
        *(f"## {topic.event.__name__}", ""),
        f"Topic {code(topic.name)}, published by {_publisher(topic)}. {meaning}",
        "",
        *_fields(schema),
        "",
        *("```json", example(topic.event), "```", ""),
    ]


def _part(name: str, schema: Mapping[str, Any]) -> list[str]:
    return [f"### {name}", "", prose(str(schema.get("description", ""))), "", *_fields(schema), ""]


def example(event: type[Event]) -> str:
    """The event's golden file, laid out to be read: a value on one line where there is room for it."""
    file_name = re.sub(r"(?<!^)(?=[A-Z])", "-", event.__name__).lower() + ".json"
    return _laid_out(json.loads((GOLDEN / file_name).read_bytes()), 0)


def _laid_out(value: Any, indent: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (indent > 0 and indent + len(flat) < _WIDTH):
        return flat
    inner, open_, close = " " * (indent + 2), *("{}" if isinstance(value, dict) else "[]")
    if isinstance(value, dict):
        entries = [f"{inner}{json.dumps(name)}: {_laid_out(value[name], indent + 2)}" for name in value]
    else:
        entries = [f"{inner}{_laid_out(entry, indent + 2)}" for entry in value]
    return "\n".join([open_, ",\n".join(entries), " " * indent + close])


def _fields(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required", ())
    rows = []
    for name, field in schema["properties"].items():
        default = field.get("default")
        if name in required:
            default = "required"
        else:
            default = "" if default is None or isinstance(default, list | dict) else code(json.dumps(default))
        rows.append([code(name), _type(field), default, line(field.get("description", ""))])
    return table(["field", "type", "default", "meaning"], rows)


def _type(schema: Mapping[str, Any]) -> str:  # noqa: PLR0911  # one return for each kind of schema  # one return for each kind of schema
    """What a schema allows, in words; a part of an event is a link to it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(option) for option in options if option.get("type") != "null")
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(json.dumps(value)) for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list{_at_most(schema, 'maxItems')} of {_type(schema['items'])}"
        case "object":
            # Keys that are ids are held to a pattern.
            (values,) = schema.get("patternProperties", {"": schema.get("additionalProperties")}).values()
            return f"object{_at_most(schema, 'maxProperties')} of {_type(values)}"
        case "string":
            if schema.get("format") == "date-time":
                return "time"
            return "id" if "pattern" in schema else f"text{_at_most(schema, 'maxLength')}"
        case "integer" | "number" as kind:
            bounds = [
                f" {word} {schema[key]:g}"
                for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
                if key in schema
            ]
            return f"{'whole number' if kind == 'integer' else 'number'}{''.join(bounds)}"
        case other:
            return str(other)


def _at_most(schema: Mapping[str, Any], key: str) -> str:
    return f" (at most {schema[key]})" if key in schema else ""
