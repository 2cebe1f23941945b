"""JSON Schemas (draft 2020-12) of the events, against which clients in other languages can check records.

A schema accepts every record that freshet writes. It rejects every record that freshet rejects for a reason
that a schema can express: a missing field, a type, a bound, an id, a time without an offset, a rule without
its kind. Only freshet checks the rest: that clicks are among the candidates, that ``1.0`` is no integer, that
a record has at most 1 MiB. The schemas require RFC 3339 times; freshet reads some other spellings too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from freshet.models.events.wire import Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_EXAMPLES = files("freshet.models.events") / "examples"
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")


class _Published(GenerateJsonSchema):
    """Pydantic's schemas without titles that only repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: ``News Id`` beside ``news_id`` adds nothing."""
        return False


def event_name(event: type[Event]) -> str:
    """Name of the event's files.

    >>> from freshet.models.events.events import RecommendationRequest
    >>> event_name(RecommendationRequest)
    'recommendation-request'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", event.__name__).lower()


def json_schema(event: type[Event]) -> dict[str, Any]:
    """JSON Schema of an event, self-contained, with the event's golden file as its example."""
    schema = event.model_json_schema(mode="validation", schema_generator=_Published)
    _publish(schema, schema.get("$defs", {}))
    identity = {
        "$schema": DIALECT,
        "$id": f"urn:freshet:{event.model_fields['version'].default}:{event_name(event)}",
    }
    return identity | schema | {"examples": [example(event)]}


def component_schemas(events: Sequence[type[Event]], ref_template: str) -> dict[str, Any]:
    """Schemas of events and of their parts by class name, for one common document.

    Args:
        events: Event classes.
        ref_template: Reference to another schema, with ``{model}`` for its class name.
    """
    _, schema = models_json_schema(
        [(event, "validation") for event in events], ref_template=ref_template, schema_generator=_Published
    )
    components: dict[str, Any] = schema["$defs"]
    for component in components.values():
        _publish(component, components)
    return components


def example(event: type[Event]) -> dict[str, Any]:
    """Golden file of an event, which shows all of its fields."""
    read: dict[str, Any] = json.loads((_EXAMPLES / f"{event_name(event)}.json").read_text("utf-8"))
    return read


def _publish(schema: dict[str, Any], parts: dict[str, Any]) -> None:
    """Rewrite pydantic's schema in place, so that every validator reads it alike."""
    for node in _nodes(schema):
        if isinstance(node.get("description"), str):
            node["description"] = _markdown(node["description"])
        if "discriminator" in node:
            # OpenAPI's keyword. Without it, a rule that leaves its kind out could be any of them.
            tag = node.pop("discriminator")["propertyName"]
            for option in node["oneOf"]:
                part = parts[option["$ref"].rpartition("/")[2]]
                part["required"] = [*part.get("required", []), *({tag} - set(part.get("required", [])))]
                part["properties"][tag].pop("default", None)
        if len(node.get("patternProperties", {})) == 1:
            # Names that do not match the pattern would not be checked at all.
            ((pattern, value),) = node.pop("patternProperties").items()
            node["propertyNames"] = node.get("propertyNames", {}) | {"pattern": pattern}
            node["additionalProperties"] = value


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object within a schema, including itself, but not ``default``, which is a value."""
    if isinstance(schema, dict):
        yield schema
        for name, inner in schema.items():
            if name != "default":
                yield from _nodes(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _nodes(inner)


def _markdown(docstring: str) -> str:
    """Convert a docstring's reStructuredText to Markdown, one line per paragraph."""
    text = _ROLE.sub(r"`\1`", docstring).replace("``", "`")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
