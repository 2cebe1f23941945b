"""A rule on the command line is the rule that is set; what means nothing is refused in the options' terms."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner

from freshet.models.events.editorial_rules import (
    AtMost,
    Bury,
    EditorialRule,
    Embargo,
    MaxAge,
    Pin,
    Quota,
    Withdraw,
)
from freshet.models.events.events import EventError
from freshet.workers.cli.commands.rules import set_
from freshet.workers.cli.main import main
from freshet.workers.cli.rule_options import KINDS, in_words, rule_of_options, rules_of_json, when

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENING = datetime(2026, 3, 2, 18, tzinfo=UTC)

CASES: list[tuple[str, dict[str, Any], EditorialRule, str]] = [
    ("pin", {"news": ("N1",)}, Pin(name="r", news_id="N1"), "N1 at position 1"),
    (
        "bury",
        {"news": ("N1", "N2"), "categories": ("video",)},
        Bury(name="r", news_ids=("N1", "N2"), categories=("video",)),
        "N1, N2, all of video below all others",
    ),
    (
        "embargo",
        {"news": ("N1",), "until": NOON},
        Embargo(name="r", news_ids=("N1",), until=NOON),
        "N1 not before its end",
    ),
    (
        "withdraw",
        {"subcategories": ("golf",), "since": NOON},
        Withdraw(name="r", subcategories=("golf",), since=NOON),
        "all of golf not shown",
    ),
    ("max-age", {"max_age_h": 48.0}, MaxAge(name="r", max_age_s=172_800.0), "no articles older than 48 h"),
    (
        "at-most",
        {"per": "category", "at_most": "3"},
        AtMost(name="r", per="category", at_most=3),
        "at most 3 of one category",
    ),
    (
        "quota",
        {"categories": ("travel",), "at_least": "1", "at_most": "30%"},
        Quota(name="r", category="travel", at_least=1, at_most_share=0.3),
        "at least 1 and at most 30% of the list of travel",
    ),
]


@pytest.mark.parametrize(("kind", "given", "rule", "words"), CASES, ids=[case[0] for case in CASES])
def test_options_make_the_rule_and_words_say_what_it_does(
    kind: str, given: dict[str, Any], rule: EditorialRule, words: str
) -> None:
    assert rule_of_options("r", kind, given) == rule
    assert in_words(rule) == words


def test_every_kind_has_a_case_and_is_a_choice_of_the_command_line() -> None:
    assert {case[0] for case in CASES} == set(KINDS)
    (kind,) = (parameter.type for parameter in set_.params if parameter.name == "kind")
    assert isinstance(kind, click.Choice)
    assert set(kind.choices) == set(KINDS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["r", "pin", "--news", "N1", "--per", "category"], "--per does not apply to a rule of the kind pin"),
        (["r", "pin", "--news", "N1", "--news", "N2"], "name one article, not 2"),
        (["r", "embargo", "--news", "N1"], "until"),
        (["r", "quota", "--category", "c", "--at-most", "few"], "a share such as 30%"),
        (["r", "at-most", "--per", "category", "--at-most", "30%"], "--at-most does not apply"),
        (["r", "bury"], "name news_ids"),
        (["r"], "NAME and KIND"),
        (["two words", "pin", "--news", "N1"], "name"),
    ],
)
def test_what_is_no_rule_is_wrong_usage(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, ["rules", "set", *arguments])
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_a_file_has_one_rule_or_several_and_a_bad_one_is_numbered() -> None:
    pin, bury = Pin(name="a", news_id="N1"), Bury(name="b", news_ids=("N2",))
    assert rules_of_json(pin.model_dump_json()) == [pin]
    both = json.dumps([json.loads(rule.model_dump_json()) for rule in (pin, bury)])
    assert rules_of_json(both) == [pin, bury]
    with pytest.raises(EventError, match=r"rule 2: .*kind"):
        rules_of_json(f"[{pin.model_dump_json()}, {{}}]")
    with pytest.raises(EventError, match="not JSON"):
        rules_of_json("{")


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        (None, None, "now"),
        (None, EVENING, "until 2026-03-02 18:00 UTC"),
        (EVENING, None, "from 2026-03-02 18:00 UTC"),
        (None, NOON, "over since 2026-03-02 12:00 UTC"),
    ],
)
def test_it_is_told_when_a_rule_holds(since: datetime | None, until: datetime | None, words: str) -> None:
    assert when(Pin(name="r", news_id="N1", since=since, until=until), NOON) == words
