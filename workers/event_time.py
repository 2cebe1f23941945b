"""An event time as an option of the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click


class EventTime(click.ParamType):
    """ISO 8601; UTC where no offset is given."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time that ``value`` names."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError as error:
            self.fail(f"{error}; write 2026-03-02T08:00", param, ctx)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time
