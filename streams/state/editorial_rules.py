"""Editorial rules in force, as the records on ``control`` define them.

Guarantee: ``control`` is compacted by the rule's name and read from its beginning before the first answer, so
every worker applies the same rules, before and after any restart. The time of a request, not the clock,
decides whether a rule holds for its answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from freshet.models.events.editorial_rules import EditorialRule
from freshet.models.events.events import Control
from freshet.models.recommend.editorial.rule_book import RuleBook
from freshet.streams.kafka.topic_history import read_controls
from freshet.streams.settings import Settings


class EditorialRules:
    """Rules by name; the last one set under a name counts."""

    def __init__(self) -> None:
        self._rules: dict[str, EditorialRule] = {}
        self.book = RuleBook()
        """All rules, including expired and future ones."""

    def apply(self, control: Control) -> None:
        """Set, replace or remove a rule; other controls are ignored."""
        if control.kind == "rule-set" and control.rule is not None:
            self._rules[control.subject] = control.rule
        elif control.kind == "rule-removed":
            self._rules.pop(control.subject, None)
        else:
            return
        self.book = RuleBook(self._rules.values())


def rules_of(controls: Iterable[Control]) -> tuple[EditorialRule, ...]:
    """Rules that remain after ``controls``."""
    rules = EditorialRules()
    for control in controls:
        rules.apply(control)
    return rules.book.rules


def read_rules(settings: Settings) -> tuple[EditorialRule, ...]:
    """All rules that are set now, including expired and future ones.

    Raises:
        KafkaUnreachable: No broker answers in time, or the topic ``control`` does not exist.
    """
    return rules_of(read_controls(settings))
