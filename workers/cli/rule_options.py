"""Parses editorial rules from options or JSON, and describes them in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from freshet.models.events.editorial_rules import (
    AtMost,
    Bury,
    EditorialRule,
    Embargo,
    MaxAge,
    Pin,
    Quota,
    Withdraw,
    parse_rule,
)
from freshet.models.events.events import EventError

KINDS: Mapping[str, type[Pin | Bury | Embargo | Withdraw | MaxAge | AtMost | Quota]] = MappingProxyType(
    {
        "pin": Pin,
        "bury": Bury,
        "embargo": Embargo,
        "withdraw": Withdraw,
        "max-age": MaxAge,
        "at-most": AtMost,
        "quota": Quota,
    }
)

_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "news_id": "--news",
        "news_ids": "--news",
        "category": "--category",
        "categories": "--category",
        "subcategory": "--subcategory",
        "subcategories": "--subcategory",
        "at_least_share": "--at-least",
        "at_most_share": "--at-most",
        "max_age_s": "--max-age",
        "since": "--from",
    }
)


def rule_of_options(name: str, kind: str, given: Mapping[str, Any]) -> EditorialRule:
    """Make a rule from options.

    Args:
        name: Name of the rule.
        kind: One of ``KINDS``.
        given: ``news``, ``categories`` and ``subcategories`` (tuples), ``at_least`` and ``at_most`` (``"3"``
            or ``"30%"``), ``max_age_h``, and the rule's other fields; ``None`` and empty ones were not given.

    Raises:
        EventError: An option does not belong to the kind, one is missing, or a value is refused.
    """
    fields: dict[str, Any] = {"name": name, "kind": kind}
    allowed = KINDS[kind].model_fields
    for option, value in given.items():
        if value is None or value == ():
            continue
        field, wire = _field(option, value, single=kind in {"pin", "quota"})
        if field not in allowed:
            raise EventError(
                f"{_OPTIONS.get(field, '--' + field)} does not apply to a rule of the kind {kind}"
            )
        fields[field] = wire
    return parse_rule(json.dumps(fields))


def rules_of_json(text: str | bytes) -> list[EditorialRule]:
    """Parse the rules of a JSON text: one object, or a list of objects.

    Raises:
        EventError: The text is not JSON, or part of it is no rule; the message says which.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise EventError(f"not JSON: {error}") from error
    rules = []
    for number, each in enumerate(found if isinstance(found, list) else [found], start=1):
        try:
            rules.append(parse_rule(json.dumps(each)))
        except EventError as error:
            raise EventError(f"rule {number}: {error}") from error
    return rules


def in_words(rule: EditorialRule) -> str:
    """Describe what a rule does, without its name and time."""
    match rule:
        case Pin():
            words = f"{rule.news_id} at position {rule.position}"
        case Bury():
            words = f"{_articles(rule)} below all others"
        case Embargo():
            words = f"{_articles(rule)} not before its end"
        case Withdraw():
            words = f"{_articles(rule)} not shown"
        case MaxAge():
            topics = ", ".join((*rule.categories, *rule.subcategories)) or "articles"
            words = f"no {topics} older than {rule.max_age_s / 3_600:g} h"
        case AtMost():
            words = f"at most {rule.at_most} of one {rule.per}"
        case Quota():
            words = f"{_bounds(rule)} of {rule.category or rule.subcategory}"
    return words


def when(rule: EditorialRule, now: datetime) -> str:
    """Say whether a rule holds at ``now``, and until or from when."""
    if rule.until is not None and rule.until <= now:
        return f"over since {_minute(rule.until)}"
    if rule.since is not None and now < rule.since:
        return f"from {_minute(rule.since)}" + (f" to {_minute(rule.until)}" if rule.until else "")
    return "now" if rule.until is None else f"until {_minute(rule.until)}"


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _articles(rule: Bury | Embargo | Withdraw) -> str:
    topics = [f"all of {topic}" for topic in (*rule.categories, *rule.subcategories)]
    return ", ".join((*rule.news_ids, *topics))


def _bounds(rule: Quota) -> str:
    bounds = (
        ("at least {}", rule.at_least),
        ("at least {:.0%} of the list", rule.at_least_share),
        ("at most {}", rule.at_most),
        ("at most {:.0%} of the list", rule.at_most_share),
    )
    return " and ".join(words.format(bound) for words, bound in bounds if bound is not None)


def _field(option: str, value: Any, *, single: bool) -> tuple[str, Any]:
    """Convert an option to a field and its JSON value."""
    if option in {"news", "categories", "subcategories"}:
        if not single:
            return ("news_ids" if option == "news" else option), list(value)
        if len(value) > 1:
            raise EventError(f"name one {'article' if option == 'news' else 'category'}, not {len(value)}")
        one = {"news": "news_id", "categories": "category", "subcategories": "subcategory"}[option]
        return one, value[0]
    if option in {"at_least", "at_most"}:
        return _bound(option, value)
    if option == "max_age_h":
        return "max_age_s", value * 3_600.0
    return option, value.isoformat() if isinstance(value, datetime) else value


def _bound(option: str, value: str) -> tuple[str, int | float]:
    """Parse a bound: ``3`` articles, or ``30%`` of a list."""
    try:
        if value.endswith("%"):
            return f"{option}_share", float(value.removesuffix("%")) / 100.0
        return option, int(value)
    except ValueError as error:
        name = option.replace("_", "-")
        raise EventError(
            f"--{name} is {value!r}, must be a number of articles, or a share such as 30%"
        ) from error
