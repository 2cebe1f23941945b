"""Editorial rules for recommended lists: one immutable model for each kind of rule.

A rule applies from ``since`` until just before ``until``, in event time; an unset bound is open.
:mod:`freshet.models.recommend.editorial.rule_book` defines their effects and their precedence.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.config import JsonDict

from freshet.models.events.wire import MAX_K, EventError, EventPart, Id, Label, UtcTime, refusal

MAX_RULES = 100
"""Maximum number of rules in one request."""

_Named = Annotated[tuple[Id, ...], Field(max_length=100)]
_Labels = Annotated[tuple[Annotated[Label, Field(min_length=1)], ...], Field(max_length=100)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[int, Field(ge=0, le=MAX_K)]

# The validators below, as far as a JSON Schema can express them.
_NAMES_SOMETHING: JsonDict = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "array", "minItems": 1}}}
        for name in ("news_ids", "categories", "subcategories")
    ]
}
_ENDS: JsonDict = {
    "required": ["until"],
    "properties": {"until": {"type": "string"}, "since": {"type": "null"}},
}
_OF_ONE_TOPIC: JsonDict = {
    "oneOf": [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in ("category", "subcategory")
    ]
}
_BOUNDED: JsonDict = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "number"}}}
        for name in ("at_least", "at_most", "at_least_share", "at_most_share")
    ]
}


class _Rule(EventPart):
    name: Id
    """Name by which the rule is set, explained and removed."""
    since: UtcTime | None = None
    until: UtcTime | None = None

    @model_validator(mode="after")
    def _holds_for_a_while(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("until must be later than since")
        return self


class _RuleOfArticles(_Rule):
    """Rule for the articles, categories and subcategories that it names."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_NAMES_SOMETHING]})

    news_ids: _Named = ()
    categories: _Labels = ()
    subcategories: _Labels = ()

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.news_ids or self.categories or self.subcategories):
            raise ValueError("name news_ids, categories or subcategories")
        return self


class Pin(_Rule):
    """Show an article at a position."""

    kind: Literal["pin"] = "pin"
    news_id: Id
    position: Annotated[int, Field(ge=1, le=MAX_K)] = 1
    """1 is the first."""


class Bury(_RuleOfArticles):
    """Show articles below all others: only if a list would be too short without them."""

    kind: Literal["bury"] = "bury"


class Embargo(_RuleOfArticles):
    """Do not show articles before ``until``."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_NAMES_SOMETHING, _ENDS]})

    kind: Literal["embargo"] = "embargo"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.until is None or self.since is not None:
            raise ValueError("an embargo needs until, the time of its end, and no since")
        return self


class Withdraw(_RuleOfArticles):
    """Do not show articles."""

    kind: Literal["withdraw"] = "withdraw"


class MaxAge(_Rule):
    """Do not show articles older than ``max_age_s``, of all or of the named categories and subcategories.

    Age counts from publication, otherwise from the first impression; an article of unknown age is too old.
    """

    kind: Literal["max-age"] = "max-age"
    max_age_s: Annotated[float, Field(gt=0)]
    categories: _Labels = ()
    subcategories: _Labels = ()


class AtMost(_Rule):
    """Show at most ``at_most`` articles of any one topic; articles without a topic are not counted."""

    kind: Literal["at-most"] = "at-most"
    per: Literal["category", "subcategory"]
    at_most: Annotated[int, Field(ge=1, le=MAX_K)]


class Quota(_Rule):
    """Bounds on the number of a list's articles in one category or subcategory; shares are of its length."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_OF_ONE_TOPIC, _BOUNDED]})

    kind: Literal["quota"] = "quota"
    category: Annotated[Label, Field(min_length=1)] | None = None
    subcategory: Annotated[Label, Field(min_length=1)] | None = None
    at_least: _Number | None = None
    at_most: _Number | None = None
    at_least_share: _Share | None = None
    at_most_share: _Share | None = None

    @model_validator(mode="after")
    def _bounds_one_topic(self) -> Self:
        if (self.category is None) == (self.subcategory is None):
            raise ValueError("a quota is of a category or of a subcategory")
        if not (self.bounded_below or self.bounded_above):
            raise ValueError("a quota needs at_least, at_most, at_least_share or at_most_share")
        for lowest, highest in ((self.at_least, self.at_most), (self.at_least_share, self.at_most_share)):
            if lowest is not None and highest is not None and lowest > highest:
                raise ValueError(f"a quota of at least {lowest:g} and at most {highest:g} cannot be met")
        return self

    @property
    def bounded_below(self) -> bool:
        """Whether there is a lower bound."""
        return self.at_least is not None or self.at_least_share is not None

    @property
    def bounded_above(self) -> bool:
        """Whether there is an upper bound."""
        return self.at_most is not None or self.at_most_share is not None


EditorialRule = Annotated[
    Pin | Bury | Embargo | Withdraw | MaxAge | AtMost | Quota, Field(discriminator="kind")
]
"""Editorial rule of any kind."""

_RULE: TypeAdapter[EditorialRule] = TypeAdapter(EditorialRule)


def parse_rule(value: bytes | str) -> EditorialRule:
    """Decode a rule from a JSON object.

    >>> parse_rule('{"kind": "pin", "name": "lead", "news_id": "N1"}')
    Pin(name='lead', since=None, until=None, kind='pin', news_id='N1', position=1)

    Raises:
        EventError: It is not JSON, or no rule.
    """
    try:
        return _RULE.validate_json(value)
    except ValidationError as error:
        raise EventError(refusal("EditorialRule", error)) from error


class UnmetRule(EventPart):
    """A rule that an answer could not fulfil."""

    rule: Id
    reason: Annotated[str, Field(max_length=500)]
