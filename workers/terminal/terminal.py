"""Console for Rich's tables and bars, in which untrusted text cannot control the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - the one that wraps it
from rich.segment import Segment
from rich.text import Text

from freshet.workers.terminal.printable import CONTROL_CHARACTERS


class Terminal(Console):
    """Rich's console without markup, emoji codes and control characters.

    Control characters are removed, not escaped: they have no width for Rich, so that columns stay aligned.

    Args:
        markup: Interpret markup, for the program's own text only: all other text must be escaped.
        options: Options of Rich's console.
    """

    def __init__(self, *, markup: bool = False, **options: Any) -> None:
        super().__init__(markup=markup, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render without control characters; Rich's own control sequences are kept."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=CONTROL_CHARACTERS.sub("", segment.text))
            )


def bullet(line: str) -> Text:
    """Format a line of a process's progress."""
    return Text.assemble(("•", "green"), f" {line}")
