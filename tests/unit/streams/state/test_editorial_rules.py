"""Workers come to the same rules, whatever they were told in between and how often they restart."""

from __future__ import annotations

from freshet.models.events.editorial_rules import EditorialRule, Pin, Withdraw
from freshet.models.events.events import Control, from_unix_s
from freshet.streams.state.editorial_rules import EditorialRules, rules_of

TIME = from_unix_s(1_700_000_000.0)


def set_(rule: EditorialRule) -> Control:
    return Control(kind="rule-set", subject=rule.name, time=TIME, rule=rule)


def removed(name: str) -> Control:
    return Control(kind="rule-removed", subject=name, time=TIME)


LEAD, OTHER_LEAD = Pin(name="lead", news_id="N1"), Pin(name="lead", news_id="N2")
GONE = Withdraw(name="gone", news_ids=("N3",))


def test_the_last_that_was_said_of_a_name_counts() -> None:
    assert rules_of([set_(LEAD), set_(GONE), set_(OTHER_LEAD)]) == (GONE, OTHER_LEAD)
    assert rules_of([set_(LEAD), set_(GONE), removed("lead")]) == (GONE,)
    assert rules_of([set_(LEAD), removed("lead"), set_(LEAD)]) == (LEAD,)


def test_a_compacted_topic_leads_to_the_same_rules() -> None:
    said = [set_(LEAD), set_(GONE), removed("gone"), set_(OTHER_LEAD)]
    compacted = list({control.key: control for control in said}.values())
    assert rules_of(compacted) == rules_of(said) == (OTHER_LEAD,)


def test_removing_what_is_not_set_and_other_instructions_change_nothing() -> None:
    rules = EditorialRules()
    rules.apply(set_(LEAD))
    before = rules.book
    rules.apply(Control(kind="article-withdrawn", subject="N1", time=TIME))
    assert rules.book is before
    rules.apply(removed("no-such-rule"))
    assert rules.book.rules == (LEAD,)
