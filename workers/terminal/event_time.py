"""Type of options that are event times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from freshet.models.events.times import parse_time


class EventTime(click.ParamType):
    """RFC 3339 time; in UTC where no offset is given, at midnight where only a date is."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse ``value``; fail with a usage error that names the option."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value, default_zone=UTC)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
