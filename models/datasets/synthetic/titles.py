"""Generates readable headlines and abstracts from the words of an article's topic.

A headline is a template of a :class:`Style` filled with one subcategory's words, such as "Goalkeeper misses a
late penalty after a red card" or "What is behind melting glaciers?". The same arguments always give the same
text. Some styles attract more clicks than others (``appeal``), so part of an article's quality shows in its
headline. The words and the templates are in ``newspaper.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from pydantic import TypeAdapter

FOCI = 6
"""Foci of each subcategory."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words of one subcategory; any subject goes with any action and any cause.

    Raises:
        ValueError: There are not exactly ``FOCI`` foci.
    """

    category: str
    subcategory: str
    foci: tuple[tuple[str, str], ...]
    """A subject (singular, without article) and the matter behind it, for each focus."""
    actions: tuple[str, ...]
    """Verb phrases for a subject (third person singular)."""
    causes: tuple[str, ...]
    """Noun phrases for what led to an action."""

    def __post_init__(self) -> None:
        if len(self.foci) != FOCI:
            raise ValueError(f"{self.category}/{self.subcategory}: {len(self.foci)} foci, must be {FOCI}")


@dataclass(frozen=True, slots=True)
class Style:
    """A kind of headline."""

    name: str
    appeal: float
    """Log-odds that the style adds to a click."""
    templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Newspaper:
    places: tuple[str, ...]
    abstracts: tuple[str, ...]
    styles: tuple[Style, ...]
    topics: tuple[Vocabulary, ...]


_NEWSPAPER = TypeAdapter(_Newspaper).validate_python(
    tomllib.loads((files("freshet.models.datasets.synthetic") / "newspaper.toml").read_text("utf-8"))
)

TOPICS = _NEWSPAPER.topics
"""Subcategories; an article's topic is an index into them."""
CATEGORIES = tuple(dict.fromkeys(topic.category for topic in TOPICS))
PLACES = _NEWSPAPER.places
"""Invented towns."""
STYLES = _NEWSPAPER.styles
STYLE_INDEX = {style.name: index for index, style in enumerate(STYLES)}

DRAWS = 8
"""Random integers that one text takes."""
RETRIES = 6


def article_text(
    topic: Vocabulary, style: Style, focus: int, place: str, draws: Sequence[int]
) -> tuple[str, str]:
    """Compose a title and an abstract.

    Args:
        topic: The subcategory whose words are used.
        style: The headline's kind.
        focus: Index of one of the topic's foci, ``0 <= focus < FOCI``.
        place: The place of the event.
        draws: ``DRAWS`` non-negative integers, which choose everything else.
    """
    subject, matter = topic.foci[focus]
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
    abstracts = _NEWSPAPER.abstracts
    return title, abstracts[draws[4] % len(abstracts)].format_map(words)


def distinct_text(
    topic: Vocabulary, style: Style, focus: int, place: str, draws: Sequence[int], *, taken: set[str]
) -> tuple[str, str]:
    """Compose a title that is not in ``taken``, if ``RETRIES`` attempts find one, and an abstract.

    Adds the title to ``taken``. The arguments are those of :func:`article_text`.
    """
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
