"""Readable headlines and abstracts whose words come from their article's topic and from nothing else.

A headline is a :class:`Style` filled with one subcategory's words, as in "Goalkeeper misses a late penalty
after a red card" or "What is behind melting glaciers?". The same arguments always give the same text. Places
are invented. Some styles attract more clicks than others (``appeal``), so part of an article's quality can be
read off its headline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freshet.models.datasets.synthetic.vocabulary import HARD_NEWS, Vocabulary
from freshet.models.datasets.synthetic.vocabulary_leisure import LEISURE

TOPICS: tuple[Vocabulary, ...] = HARD_NEWS + LEISURE
"""One subcategory each; an article's topic is an index into this."""

CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys(topic.category for topic in TOPICS))

PLACES = (
    "Eastmere",
    "Calderport",
    "Halvern",
    "Port Arlen",
    "Stonewick",
    "Marrowdale",
    "Vantmoor",
    "Oakhollow",
    "Brackenford",
    "Silverness",
    "Tarnfield",
    "Quillhaven",
    "Dunmarrow",
    "Westerlow",
    "Fairhollow",
    "Greyharbour",
    "Kestrelton",
    "Larkmere",
    "Mossgate",
    "Northwillow",
    "Pinecross",
    "Ravenstow",
    "Saltmarsh Point",
    "Thornmere",
    "Umberley",
    "Velden Cross",
    "Wrenport",
    "Yarrowby",
    "Ashcombe Vale",
    "Lower Ketteridge",
)


@dataclass(frozen=True, slots=True)
class Style:
    """A way to write a headline."""

    name: str
    appeal: float
    """Added to the log-odds of a click."""
    templates: tuple[str, ...]


STYLES: tuple[Style, ...] = (
    Style("report", 0.0, ("{Subject} {action}", "{Subject} {action}, again", "{Subject} suddenly {action}")),
    Style(
        "local",
        -0.1,
        ("{Subject} in {place} {action}", "{place}: {Subject} {action}", "{Subject} from {place} {action}"),
    ),
    Style(
        "cause",
        0.1,
        (
            "{Subject} {action} after {cause}",
            "After {cause}: {Subject} {action}",
            "{Subject} {action} despite {cause}",
        ),
    ),
    Style(
        "explainer",
        0.15,
        (
            "What to know about {matter}",
            "{Matter}, explained",
            "Everything you wanted to ask about {matter}",
            "{Matter}: the most important answers",
            "A beginner's guide to {matter}",
        ),
    ),
    Style(
        "list",
        0.45,
        (
            "{n} surprising facts about {matter}",
            "{n} things nobody tells you about {matter}",
            "{Matter}: {n} mistakes to avoid",
            "{n} charts that explain {matter}",
        ),
    ),
    Style(
        "opinion",
        -0.45,
        (
            "Opinion: We should talk more about {matter}",
            "Comment: Too much fuss about {matter}",
            "Letters: Our readers on {matter}",
            "Editorial: {Matter} and the long view",
        ),
    ),
    Style(
        "question",
        0.3,
        (
            "What is behind {matter}?",
            "Is it time to worry about {matter}?",
            "Why does everyone talk about {matter}?",
            "What if {a subject} {action}?",
        ),
    ),
    Style(
        "feature",
        -0.2,
        (
            "Behind the scenes of {matter}",
            "A closer look at {matter}",
            "The long story of {matter}",
            "{place} and {matter}: a portrait",
            "In pictures: {matter}",
        ),
    ),
    Style(
        "breaking",
        0.3,
        (
            "Breaking: {Subject} in {place} {action}",
            "Live: {Subject} {action} in {place}",
            "Just in: {Subject} {action} after {cause}",
        ),
    ),
    Style(
        "follow-up",
        0.1,
        (
            "{place}: what we know about {matter}",
            "{place} after {cause}: {Subject} {action}",
            "Update from {place}: {Subject} {action}",
            "Questions remain in {place} after {cause}",
            "{Matter}: {place} waits for answers",
        ),
    ),
)
STYLE_INDEX = {style.name: index for index, style in enumerate(STYLES)}

ABSTRACTS = (
    "In {place}, {a subject} {action}. It comes after {cause}. More in {section}.",
    "{A subject} {action}. Our {section} reporter in {place} looks at {matter} and at what may come next.",
    "{Section}: all about {matter}, the background, the people involved and what readers ask about {desk}.",
    "The latest from {place} on {matter}, after {cause}. From our {desk} desk, in {section}.",
    "{A subject} {action} after {cause}. We explain {matter} and why {place} is watching closely.",
    "First came {cause}, and now {a subject} {action}. More on {desk} and {matter} in {section}.",
)

DRAWS = 8
"""Random integers that one text takes."""
RETRIES = 6


def article_text(
    topic: Vocabulary, style: Style, focus: int, place: str, draws: Sequence[int]
) -> tuple[str, str]:
    """Title and abstract.

    Args:
        topic: Whose words to use.
        style: The headline's kind.
        focus: Which of the topic's subjects (and the matter behind it), ``0 <= focus < FOCI``.
        place: Where it happens.
        draws: ``DRAWS`` non-negative integers, which choose everything else.
    """
    subject, matter = topic.subjects[focus], topic.matters[focus]
    number = str(3 + draws[0] % 38)
    action = topic.actions[draws[1] % len(topic.actions)].replace("{n}", number)
    cause = topic.causes[draws[2] % len(topic.causes)].replace("{n}", number)
    words = {
        "subject": subject,
        "Subject": _capital(subject),
        "a subject": _with_article(subject),
        "A subject": _capital(_with_article(subject)),
        "matter": matter,
        "Matter": _capital(matter),
        "action": action,
        "cause": cause,
        "place": place,
        "n": number,
        "desk": topic.subcategory.replace("_", " "),
        "section": topic.category,
        "Section": _capital(topic.category),
    }
    title = style.templates[draws[3] % len(style.templates)].format_map(words)
    return title, ABSTRACTS[draws[4] % len(ABSTRACTS)].format_map(words)


def distinct_text(
    topic: Vocabulary, style: Style, focus: int, place: str, draws: Sequence[int], *, taken: set[str]
) -> tuple[str, str]:
    """As :func:`article_text`, with a title that is not in ``taken`` if one can be found; adds it there."""
    title, abstract = "", ""
    for attempt in range(RETRIES):
        step = [draw + attempt * draws[-1] for draw in draws]
        title, abstract = article_text(topic, style, focus, place, step)
        if attempt > 1 and place not in title:
            title = f"{title} - the view from {place}"
        if title not in taken:
            break
    taken.add(title)
    return title, abstract


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _with_article(noun: str) -> str:
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "use", "eu", "one"))
    return f"{'an' if vowel else 'a'} {noun}"
