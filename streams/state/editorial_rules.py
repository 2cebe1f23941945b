"""The editorial rules in force, as ``control`` tells of them.

Guarantee: ``control`` is compacted by the rule's name and read from its beginning before the first answer,
so every worker obeys the same rules, before and after any restart. Whether a rule holds is decided by the
time of the request that is answered, not by the clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from freshet.models.events.editorial_rules import EditorialRule
from freshet.models.events.events import Control
from freshet.models.recommend.editorial.rule_book import RuleBook
from freshet.streams.kafka.topic_history import read_controls
from freshet.streams.settings import Settings


class EditorialRules:
    """Rules by name; the last that was set of a name counts."""

    def __init__(self) -> None:
        self._rules: dict[str, EditorialRule] = {}
        self.book = RuleBook()
        """All of them, those whose time is over or yet to come included."""

    def apply(self, control: Control) -> None:
        """Set, replace or remove a rule; what is no such instruction is ignored."""
        if control.kind == "rule-set" and control.rule is not None:
            self._rules[control.subject] = control.rule
        elif control.kind == "rule-removed":
            self._rules.pop(control.subject, None)
        else:
            return
        self.book = RuleBook(self._rules.values())


def rules_of(controls: Iterable[Control]) -> tuple[EditorialRule, ...]:
    """The rules that are left of what was set and removed, by name."""
    rules = EditorialRules()
    for control in controls:
        rules.apply(control)
    return rules.book.rules


def read_rules(settings: Settings) -> tuple[EditorialRule, ...]:
    """The rules that are set now, by name, whether their time is now or not.

    Raises:
        KafkaUnreachable: No broker answers in time, or the topic ``control`` does not exist.
    """
    return rules_of(read_controls(settings))
