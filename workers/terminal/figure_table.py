"""Tables of figures for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table


def figure_table(*headers: str, names: int = 1, no_wrap: bool = False, **options: Any) -> Table:
    """Make a table whose first ``names`` columns hold names, and whose other columns hold figures."""
    return Table(
        *(
            Column(header, justify="left" if place < names else "right", no_wrap=no_wrap)
            for place, header in enumerate(headers)
        ),
        **options,
    )
