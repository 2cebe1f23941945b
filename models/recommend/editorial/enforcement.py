"""Editorial rules, enforced on a ranking after all else.

Which rule gives way to which, the strongest first:

1. ``withdraw``, ``embargo`` and ``max-age``: the article is not shown.
2. ``at-most`` and a quota's upper bounds: no list holds more, be it empty. Pins and lower bounds use
   a limit's places before the ranking does.
3. ``bury``: the article stands below all that is not buried, pinned articles included.
4. ``pin``: the article stands at its position, if 1 to 3 allow it to be there.
5. A quota's lower bounds: the best of the topic replace the last of the list, if 1 to 4 leave room.

Of two rules of one rank the one in force for all answers comes before a request's, then the one whose name
comes first. Guarantees, for any ranking and any rules:

- 1 to 3 hold in every answer. Where 4, 5 or the length asked for give way, the answer says so
  (:attr:`Enforced.unmet`).
- Articles that no rule moves keep their order among themselves.
- The same ranking and rules give the same answer, in whatever order the rules come.

A ranking of given candidates keeps all of them, so rules of rank 1 put an article at its end, below what is
buried, and rules about how many articles a list holds do not apply.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from freshet.models.events.editorial_rules import AtMost, Pin, Quota, UnmetRule
from freshet.models.recommend.editorial.rule_book import ActiveRules, RuledArticles, meant, topics

_ROUNDING: Final = 1e-9
"""A share of 0.3 of 10 articles is 3 of them, whatever the product in floating point."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """A list after the rules."""

    order: list[int]
    """Positions in the candidates, in the order shown."""
    moved_by: Mapping[int, tuple[str, ...]]
    """Names of the rules that put a candidate where it is; the others are not in it."""
    unmet: tuple[UnmetRule, ...]


def enforce(articles: RuledArticles, order: Sequence[int], k: int, rules: ActiveRules) -> Enforced:
    """The first ``k`` of a ranking that the rules allow.

    Args:
        articles: The n candidates.
        order: All or some of the positions 0 to n - 1, best first.
        k: How many to show; fewer where the rules or the candidates leave fewer.
        rules: What holds.
    """
    tiers = _Tiers.of(articles, order, rules)
    length = min(k, len(tiers.plain) + len(tiers.buried))
    while True:
        draft = _Draft(articles, tiers, rules, k, length)
        draft.pin()
        draft.meet_quotas()
        draft.fill()
        if len(draft.chosen) == length:
            return draft.enforced()
        # Shares are of the list as it is: a shorter one may hold fewer of a topic.
        length = len(draft.chosen)


def reorder(articles: RuledArticles, order: Sequence[int], rules: ActiveRules) -> Enforced:
    """A ranking of given candidates, all of them: pins, what is buried, and last what is not to be shown."""
    tiers = _Tiers.of(articles, order, rules)
    draft = _Draft(articles, tiers, ActiveRules(pins=rules.pins), len(order), len(order))
    draft.pin()
    draft.fill()
    shown = draft.enforced()
    present = {articles.ids[i] for i in order}
    named = {pin.name for pin in rules.pins if pin.news_id in present}
    counting = dict.fromkeys(rule.name for rule in (*rules.limits, *rules.quotas))
    return Enforced(
        shown.order + list(tiers.removed),
        {**shown.moved_by, **{i: (name,) for i, name in tiers.removed.items()}},
        tuple(unmet for unmet in shown.unmet if unmet.rule in named)
        + tuple(UnmetRule(rule=name, reason="a ranking keeps all its candidates") for name in counting),
    )


@dataclass(frozen=True, slots=True)
class _Tiers:
    """Candidates in the order of the ranking, by what the rules leave of them."""

    plain: list[int] = field(default_factory=list)
    buried: dict[int, str] = field(default_factory=dict)
    """With the rule's name, as in ``removed``."""
    removed: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, articles: RuledArticles, order: Sequence[int], rules: ActiveRules) -> Self:
        removed, buried = rules.removed(articles), rules.buried(articles)
        tiers = cls()
        for i in order:
            if i in removed:
                tiers.removed[i] = removed[i]
            elif i in buried:
                tiers.buried[i] = buried[i]
            else:
                tiers.plain.append(i)
        return tiers


class _Draft:
    """A list of a given length under way: whoever comes first takes the places that limits leave."""

    def __init__(
        self, articles: RuledArticles, tiers: _Tiers, rules: ActiveRules, k: int, length: int
    ) -> None:
        self._articles = articles
        self._tiers = tiers
        self._rules = rules
        self._k = k
        self._length = length
        self.chosen: dict[int, None] = {}
        self._pinned: dict[int, tuple[int, Pin]] = {}
        """By position, from 1."""
        self._wanted: defaultdict[int, list[str]] = defaultdict(list)
        """Chosen for a quota, with the quotas' names."""
        self._counts: Counter[tuple[int, str]] = Counter()
        self._topics = [topics(rule, articles) for rule in rules.limits]
        self._refused: dict[str, None] = {}
        """Names of limits that kept an article out."""
        self._unmet: dict[str, str] = {}

    def pin(self) -> None:
        """Place what is pinned, as far as it may be shown."""
        position_of = {self._articles.ids[i]: i for i in (*self._tiers.plain, *self._tiers.buried)}
        hidden = {self._articles.ids[i]: name for i, name in self._tiers.removed.items()}
        for pin in self._rules.pins:
            i = position_of.get(pin.news_id)
            if i is None:
                rule = hidden.get(pin.news_id)
                self._miss(pin, "it is not to be shown" if rule is None else f"{rule} hides it")
            elif i in self._tiers.buried:
                self._miss(pin, f"{self._tiers.buried[i]} buries it")
            elif i in self.chosen:
                other = next(other for j, other in self._pinned.values() if j == i)
                if other.position != pin.position:
                    self._miss(pin, f"{other.name} pins it at {other.position}")
            else:
                self._place(pin, i)

    def _place(self, pin: Pin, i: int) -> None:
        position = pin.position
        while position in self._pinned:
            position += 1
        if position > self._k:
            self._miss(pin, f"the list ends at {self._k}, and no position from {pin.position} on is free")
        elif len(self.chosen) >= self._length:
            self._miss(pin, f"the list has only {self._length} articles")
        elif self._take(i, pin):
            self._pinned[position] = (i, pin)

    def meet_quotas(self) -> None:
        """Choose the best of each topic of which the list must hold some."""
        for quota in self._rules.quotas:
            least = least_of(quota, self._length)
            members = set(meant(quota, self._articles))
            have = len(members & self.chosen.keys())
            for i in self._tiers.plain:
                if have >= least or len(self.chosen) >= self._length:
                    break
                if i in members and i not in self.chosen and self._take(i):
                    self._wanted[i].append(quota.name)
                    have += 1
            if have < least:
                topic = quota.category or quota.subcategory
                self._miss(quota, f"{have} of {least} articles of {topic}: no other may be shown")

    def fill(self) -> None:
        """Fill up with the best, and where they do not suffice with what is buried."""
        for i in (*self._tiers.plain, *self._tiers.buried):
            if len(self.chosen) >= self._length:
                break
            if i not in self.chosen:
                self._take(i)

    def enforced(self) -> Enforced:
        """The list, with what is pinned in its places."""
        pinned = {i for i, _ in self._pinned.values()}
        free = [i for i in self._tiers.plain if i in self.chosen and i not in pinned]
        buried = [i for i in self._tiers.buried if i in self.chosen]
        moved_by: dict[int, tuple[str, ...]] = {i: (self._tiers.buried[i],) for i in buried}
        moved_by.update(self._brought_by_quotas(free))
        order: list[int] = []
        rest = iter(free)
        for position in sorted(self._pinned):
            while len(order) + 1 < position and (i := next(rest, None)) is not None:
                order.append(i)
            i, pin = self._pinned[position]
            order.append(i)
            moved_by[i] = (pin.name,)
            if len(order) != pin.position:
                self._miss(pin, f"it stands at {len(order)}, not at {pin.position}")
        order += [*rest, *buried]
        if len(order) < self._k:
            for name in self._refused:
                self._unmet.setdefault(name, f"for its limit the list has {len(order)} of {self._k} articles")
        unmet = tuple(UnmetRule(rule=rule, reason=reason) for rule, reason in self._unmet.items())
        return Enforced(order, moved_by, unmet)

    def _brought_by_quotas(self, free: list[int]) -> dict[int, tuple[str, ...]]:
        """Of the articles chosen for a quota those that the ranking alone would have left out."""
        if not self._wanted:
            return {}
        alone = _Draft(self._articles, self._tiers, self._rules, self._k, self._length)
        alone.pin()
        alone.fill()
        return {i: tuple(self._wanted[i]) for i in free if i in self._wanted and i not in alone.chosen}

    def _take(self, i: int, pin: Pin | None = None) -> bool:
        """Choose a candidate, unless a limit is reached."""
        touched = []
        for number, (rule, of_all) in enumerate(zip(self._rules.limits, self._topics, strict=True)):
            topic = of_all[i]
            if topic:
                if self._counts[number, topic] >= _most(rule, self._length):
                    self._refused[rule.name] = None
                    if pin is not None:
                        self._miss(pin, f"{rule.name} allows no more of {topic}")
                    return False
                touched.append((number, topic))
        self._counts.update(touched)
        self.chosen[i] = None
        return True

    def _miss(self, rule: Pin | Quota, reason: str) -> None:
        self._unmet[rule.name] = reason


def _most(rule: AtMost | Quota, length: int) -> int:
    """How many of its topic a list of ``length`` articles may hold."""
    most = length if rule.at_most is None else rule.at_most
    if isinstance(rule, Quota) and rule.at_most_share is not None:
        most = min(most, math.floor(rule.at_most_share * length + _ROUNDING))
    return most


def least_of(quota: Quota, length: int) -> int:
    """How many of its topic a list of ``length`` articles must hold."""
    share = quota.at_least_share or 0.0
    return max(quota.at_least or 0, math.ceil(share * length - _ROUNDING))
