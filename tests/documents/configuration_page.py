"""``docs/reference/configuration.md``: every setting of :class:`freshet.streams.settings.Settings`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from freshet.streams.settings import Settings
from tests.documents.markdown_text import code, line, table

_INTRODUCTION = """\
# Configuration

Environment variables. Those that a verb shares have options of the same name (`--bootstrap-servers` is
`FRESHET_BOOTSTRAP_SERVERS`), and an option wins. Secrets come from the environment only. Workers of one
system must agree on everything under topics, the vectors and users. A list is written as JSON; names that
end in `_S` are in seconds.
"""

_FORMATS = {"password": "secret", "path": "path"}
_TYPES = {
    "array": "numbers",
    "boolean": "`true`, `false`",
    "integer": "whole number",
    "number": "number",
    "string": "",
}
_SECTION = re.compile(r"^    # (?P<section>.+)$")
_FIELD = re.compile(r"^    (?P<field>\w+): ")


def configuration_page() -> str:
    """The page's text: a table for each part of the settings.

    Raises:
        ValueError: A setting has no docstring.
    """
    properties = Settings.model_json_schema(mode="validation")["properties"]
    lines = [_INTRODUCTION]
    for section, names in _sections().items():
        lines += [f"## {section}", ""]
        rows = [_row(name, properties[name]) for name in names]
        lines += [*table(["variable", "default", "allowed", "meaning"], rows), ""]
    return "\n".join(lines)


def _sections() -> dict[str, list[str]]:
    """Names of the settings by the comment that heads them in the source: the first after an empty line."""
    sections: dict[str, list[str]] = {}
    names: list[str] = []
    before = ""
    for text in inspect.getsource(Settings).splitlines():
        if before == "" and (heading := _SECTION.match(text)):
            names = sections.setdefault(heading["section"], [])
        elif (field := _FIELD.match(text)) and field["field"] in Settings.model_fields:
            names.append(field["field"])
        before = text.strip()
    if lost := set(Settings.model_fields).difference(*sections.values()):
        raise ValueError(f"no comment heads the part of Settings that has {', '.join(sorted(lost))}")
    return sections


def _row(name: str, schema: Mapping[str, Any]) -> list[str]:
    meaning = Settings.model_fields[name].description
    if not meaning:
        raise ValueError(f"Settings.{name} needs a docstring below it: it is what the reference says")
    return [code(f"FRESHET_{name.upper()}"), code(_default(name)), _allowed(schema), line(meaning)]


def _default(name: str) -> str:
    default = Settings.model_fields[name].default
    if default is None:
        return ""
    return json.dumps(default) if isinstance(default, tuple | bool) else str(default)


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a value must be, in words, beyond its being text."""
    schema = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if "pattern" in schema:
        return code(schema["pattern"])
    bounds = [
        f"{words} {schema[key]:g}"
        for key, words in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in schema
    ]
    return " ".join([_TYPES[schema["type"]], *bounds]).strip()
