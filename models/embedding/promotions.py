"""Bundle in service: the result of promotions and rollbacks, in the order of their times.

A promotion puts its bundle on top of a stack, a rollback takes the top away; what is on top is served. All
``bundle-promoted`` records are kept for ever (each has a key of its own), so that every process that has read
them comes to the same stack, in whatever order its partitions were read.
"""

from __future__ import annotations

from collections.abc import Iterable

from freshet.models.events.events import Control

UNTRAINED = "untrained"
"""Id that is served before the first promotion: no trained bundle."""


def promoted(controls: Iterable[Control]) -> tuple[str, ...]:
    """Bundles in the order of their promotions, without those rolled back; the last one is served.

    Args:
        controls: Any control records; only ``bundle-promoted`` count. What a rollback names is served even
            where another one came in between.
    """
    stack: list[str] = []
    for control in promotions_of(controls):
        if control.rollback and stack:
            stack.pop()
        if served(stack) != control.subject:
            stack.append(control.subject)
    return tuple(stack)


def promotions_of(controls: Iterable[Control]) -> list[Control]:
    """Promotions and rollbacks among ``controls``, in the order of time."""
    chosen = {control.key: control for control in controls if control.kind == "bundle-promoted"}
    return sorted(chosen.values(), key=lambda control: (control.time, control.subject))


def served(stack: Iterable[str]) -> str:
    """Bundle that is served after the promotions of ``stack``; ``UNTRAINED`` after none."""
    return ([UNTRAINED, *stack])[-1]


def before(stack: tuple[str, ...]) -> str | None:
    """Bundle that a rollback would serve; ``None`` where nothing was promoted."""
    return served(stack[:-1]) if stack else None
