"""Editorial rules, applied to a ranking after every other step.

Precedence of the rules, the strongest first:

1. ``withdraw``, ``embargo`` and ``max-age``: the article is not shown.
2. ``at-most`` and a quota's upper bounds: no list holds more, even if it stays empty. Pins and lower bounds
   use a limit's places before the ranking does.
3. ``bury``: the article ranks below all articles that are not buried, pinned ones included.
4. ``pin``: the article takes its position, if 1 to 3 allow it.
5. A quota's lower bounds: the best of the topic replace the last of the list, if 1 to 4 leave room.

Between two rules of one rank, a rule for all answers precedes a request's, then the names' alphabetical order
decides. Guarantees, for any ranking and any rules:

- 1 to 3 hold in every answer. Where 4, 5 or the requested length give way, ``unmet`` of the slate says so.
- Articles that no rule moves keep their order among themselves.
- The same ranking and rules give the same answer, whatever the order of the rules.

A ranking of candidates that the request names keeps all of them: rules of rank 1 put an article at its end,
below the buried ones, and rules about how many articles a list holds do not apply.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from freshet.models.events.editorial_rules import AtMost, Pin, Quota, UnmetRule
from freshet.models.recommend.editorial.rule_book import ActiveRules, RuledArticles, matches, topics
from freshet.models.recommend.slate import Slate

_ROUNDING: Final = 1e-9
"""A share of 0.3 of 10 articles is 3 of them, whatever the product in floating point."""


def enforce(slate: Slate) -> Slate:
    """Picks the first ``k`` of the slate's order that the rules in force allow.

    Fewer than ``k`` are picked where the rules or the candidates leave fewer. Reads ``order``, ``rules`` and
    ``ruled``; sets ``picks``, ``moved_by`` and ``unmet``.
    """
    k, tiers = slate.request.k, _Tiers.of(slate)
    length = min(k, len(tiers.plain) + len(tiers.buried))
    while True:
        draft = _Draft(slate.ruled, tiers, slate.rules, k, length)
        draft.pin()
        draft.meet_quotas()
        draft.fill()
        if len(draft.chosen) == length:
            picks, moved_by, unmet = draft.arranged()
            return replace(slate, picks=np.array(picks, np.intp), moved_by=moved_by, unmet=unmet)
        # Shares are of the list as it is: a shorter one may hold fewer of a topic.
        length = len(draft.chosen)


def reorder(slate: Slate) -> Slate:
    """Picks all of the slate's order: pins at their places, then buried articles, then hidden ones.

    Reads and sets the same fields as :func:`enforce`.
    """
    ruled, rules, tiers = slate.ruled, slate.rules, _Tiers.of(slate)
    length = len(slate.order)
    draft = _Draft(ruled, tiers, ActiveRules(pins=rules.pins), length, length)
    draft.pin()
    draft.fill()
    picks, moved_by, unmet = draft.arranged()
    present = {ruled.ids[i] for i in slate.order.tolist()}
    named = {pin.name for pin in rules.pins if pin.news_id in present}
    counting = dict.fromkeys(rule.name for rule in (*rules.limits, *rules.quotas))
    return replace(
        slate,
        picks=np.array([*picks, *tiers.removed], np.intp),
        moved_by=moved_by | {i: (name,) for i, name in tiers.removed.items()},
        unmet=(
            *(rule for rule in unmet if rule.rule in named),
            *(UnmetRule(rule=name, reason="a ranking keeps all its candidates") for name in counting),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Tiers:
    """Positions of the candidates, best first, by how the rules restrict them."""

    plain: list[int]
    buried: dict[int, str]
    """Names of the rules that bury, by position."""
    removed: dict[int, str]
    """Names of the rules that hide, by position."""

    @classmethod
    def of(cls, slate: Slate) -> Self:
        removed, buried = slate.rules.removed(slate.ruled), slate.rules.buried(slate.ruled)
        order = slate.order.tolist()
        return cls(
            [i for i in order if i not in removed and i not in buried],
            {i: buried[i] for i in order if i in buried and i not in removed},
            {i: removed[i] for i in order if i in removed},
        )


@dataclass(slots=True)
class _Draft:
    """A list of a given length under construction: first come, first served, within the limits."""

    articles: RuledArticles
    tiers: _Tiers
    rules: ActiveRules
    k: int
    length: int
    chosen: dict[int, None] = field(default_factory=dict)
    pinned: dict[int, tuple[int, Pin]] = field(default_factory=dict)
    """Candidate and pin by place on the list, from 1."""
    wanted: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Names of the quotas for which a candidate was chosen."""
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Chosen articles by limit and topic."""
    refused: dict[str, None] = field(default_factory=dict)
    """Names of limits that kept an article out."""
    unmet: dict[str, str] = field(default_factory=dict)
    """Reasons by the names of rules that are not fulfilled."""
    topics_of: list[Sequence[str]] = field(init=False)
    """Topics of the candidates, by limit."""

    def __post_init__(self) -> None:
        self.topics_of = [topics(rule, self.articles) for rule in self.rules.limits]

    def pin(self) -> None:
        """Places the pinned articles that may be shown."""
        position_of = {self.articles.ids[i]: i for i in (*self.tiers.plain, *self.tiers.buried)}
        hidden = {self.articles.ids[i]: name for i, name in self.tiers.removed.items()}
        for pin in self.rules.pins:
            i = position_of.get(pin.news_id)
            if i is None:
                rule = hidden.get(pin.news_id)
                self._miss(pin, "it is not to be shown" if rule is None else f"{rule} hides it")
            elif i in self.tiers.buried:
                self._miss(pin, f"{self.tiers.buried[i]} buries it")
            elif i in self.chosen:
                other = next(other for j, other in self.pinned.values() if j == i)
                if other.position != pin.position:
                    self._miss(pin, f"{other.name} pins it at {other.position}")
            else:
                self._place(pin, i)

    def _place(self, pin: Pin, i: int) -> None:
        position = pin.position
        while position in self.pinned:
            position += 1
        if position > self.k:
            self._miss(pin, f"the list ends at {self.k}, and no position from {pin.position} on is free")
        elif len(self.chosen) >= self.length:
            self._miss(pin, f"the list has only {self.length} articles")
        elif self._take(i, pin):
            self.pinned[position] = (i, pin)

    def meet_quotas(self) -> None:
        """Chooses the best of each topic of which the list must hold some."""
        for quota in self.rules.quotas:
            least = least_of(quota, self.length)
            members = set(matches(quota, self.articles))
            have = len(members & self.chosen.keys())
            for i in self.tiers.plain:
                if have >= least or len(self.chosen) >= self.length:
                    break
                if i in members and i not in self.chosen and self._take(i):
                    self.wanted[i].append(quota.name)
                    have += 1
            if have < least:
                topic = quota.category or quota.subcategory
                self._miss(quota, f"{have} of {least} articles of {topic}: no other may be shown")

    def fill(self) -> None:
        """Fills up with the best articles, and where they do not suffice with buried ones."""
        for i in (*self.tiers.plain, *self.tiers.buried):
            if len(self.chosen) >= self.length:
                break
            if i not in self.chosen:
                self._take(i)

    def arranged(self) -> tuple[list[int], dict[int, tuple[str, ...]], tuple[UnmetRule, ...]]:
        """The list, pinned articles in their places; the rules that moved each position; unmet rules."""
        pinned = {i for i, _ in self.pinned.values()}
        free = [i for i in self.tiers.plain if i in self.chosen and i not in pinned]
        buried = [i for i in self.tiers.buried if i in self.chosen]
        moved_by: dict[int, tuple[str, ...]] = {i: (self.tiers.buried[i],) for i in buried}
        moved_by.update(self._brought_by_quotas(free))
        order: list[int] = []
        rest = iter(free)
        for position in sorted(self.pinned):
            while len(order) + 1 < position and (i := next(rest, None)) is not None:
                order.append(i)
            i, pin = self.pinned[position]
            order.append(i)
            moved_by[i] = (pin.name,)
            if len(order) != pin.position:
                self._miss(pin, f"it stands at {len(order)}, not at {pin.position}")
        order += [*rest, *buried]
        if len(order) < self.k:
            for name in self.refused:
                self.unmet.setdefault(name, f"for its limit the list has {len(order)} of {self.k} articles")
        unmet = tuple(UnmetRule(rule=rule, reason=reason) for rule, reason in self.unmet.items())
        return order, moved_by, unmet

    def _brought_by_quotas(self, free: list[int]) -> dict[int, tuple[str, ...]]:
        """Articles chosen for a quota that the ranking alone would have left out, with the quotas' names."""
        if not self.wanted:
            return {}
        alone = _Draft(self.articles, self.tiers, self.rules, self.k, self.length)
        alone.pin()
        alone.fill()
        return {i: tuple(self.wanted[i]) for i in free if i in self.wanted and i not in alone.chosen}

    def _take(self, i: int, pin: Pin | None = None) -> bool:
        """Chooses a candidate, unless a limit is reached."""
        touched = []
        for number, (rule, of_all) in enumerate(zip(self.rules.limits, self.topics_of, strict=True)):
            topic = of_all[i]
            if topic:
                if self.counts[number, topic] >= _most(rule, self.length):
                    self.refused[rule.name] = None
                    if pin is not None:
                        self._miss(pin, f"{rule.name} allows no more of {topic}")
                    return False
                touched.append((number, topic))
        self.counts.update(touched)
        self.chosen[i] = None
        return True

    def _miss(self, rule: Pin | Quota, reason: str) -> None:
        self.unmet[rule.name] = reason


def _most(rule: AtMost | Quota, length: int) -> int:
    """The most articles of its topic that a list of ``length`` articles may hold."""
    most = length if rule.at_most is None else rule.at_most
    if isinstance(rule, Quota) and rule.at_most_share is not None:
        most = min(most, math.floor(rule.at_most_share * length + _ROUNDING))
    return most


def least_of(quota: Quota, length: int) -> int:
    """The fewest articles of its topic that a list of ``length`` articles must hold."""
    share = quota.at_least_share or 0.0
    return max(quota.at_least or 0, math.ceil(share * length - _ROUNDING))
