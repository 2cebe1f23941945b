"""An event time as an option of the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from freshet.models.events.times import parse_time


class EventTime(click.ParamType):
    """RFC 3339; UTC where no offset is given, midnight where a date is alone."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time that ``value`` names."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value, default_zone=UTC)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
