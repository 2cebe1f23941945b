"""Where Rich's tables and bars are shown: text from outside in them is text, and steers no terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - the one that wraps it
from rich.segment import Segment
from rich.text import Text

from freshet.workers.terminal.printable import STEERING


class Terminal(Console):
    """Rich's console without markup, emoji codes and steering characters in what it is given.

    The characters are left out, not spelt out: to Rich they have no width, and a column stays straight.

    Args:
        markup: Read markup, for a program's own text only: what is not must be escaped in it.
        options: Of Rich's console.
    """

    def __init__(self, *, markup: bool = False, **options: Any) -> None:
        super().__init__(markup=markup, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What ``renderable`` looks like; Rich's own control sequences are kept."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=STEERING.sub("", segment.text))


def bullet(line: str) -> Text:
    """One of the lines that tell what a process has done, and where it is."""
    return Text.assemble(("•", "green"), f" {line}")
