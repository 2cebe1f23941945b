"""What the written pages hold: blocks of commands with what tests are told, links, anchors, inline code.

A block of ``sh`` or ``python`` is run by ``tests/integration/test_documents.py``, page by page from top to
bottom. Where a block cannot be run as it stands, an HTML comment right above it says what to do instead, one
directive on each line; readers do not see it::

    <!-- test: skip, needs Docker -->          not run; the reason must be given
    <!-- test: tests/unit/test_x.py::test_y -->  that test runs it; it must exist
    <!-- test: up -->                          starts the system: all pages share one that runs already
    <!-- test: with 20000=300 -->              run with this text replaced
    <!-- test: first freshet synth paper -->   run this before
    <!-- test: background ready -->            once it prints "ready", left running until the page's end
    <!-- test: status 1 -->                    must end with this status
    <!-- test: prints sports -->               must print this
    <!-- test: output -->                      a block of ``text`` that the block before it prints, no more
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.repository import ROOT

COMMANDS = "sh"
LANGUAGES = frozenset(
    {
        "",
        COMMANDS,
        "python",
        "json",
        "text",
        "yaml",
        "toml",
        "ini",
        "java",
        "javascript",
        "promql",
        "xml",
        "mermaid",
    }
)
"""Of blocks; ``bash``, ``shell`` and ``console`` would be commands that nobody runs."""
DIRECTIVES = frozenset({"skip", "see", "up", "with", "first", "background", "status", "prints", "output"})

_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Directive:
    """One instruction to the test of a block: its kind and the rest of the line."""

    kind: str
    rest: str


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Where it begins, from 1."""
    language: str
    text: str
    directives: tuple[Directive, ...]

    @property
    def where(self) -> str:
        """``docs/tutorial.md:12``."""
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page
        return f"{page}:{self.line}"

    def told(self, kind: str) -> list[str]:
        """What the directives of one kind say."""
        return [directive.rest for directive in self.directives if directive.kind == kind]


def all_pages() -> list[Path]:
    """Every page of the repository, those at its top first."""
    folders = (ROOT / name for name in ("docs", "deploy"))
    return [
        *sorted(ROOT.glob("*.md")),
        *(page for folder in folders for page in sorted(folder.rglob("*.md"))),
    ]


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, with the directives of the comments right above each."""
    above: tuple[Directive, ...] = ()
    for token in _tokens(page):
        if token.type == "fence":
            assert token.map is not None
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, above)
        above = (*above, *_directives(token.content)) if token.type == "html_block" else ()


def stray_directives(page: Path) -> list[str]:
    """Comments with directives that stand above no block."""
    stray: list[str] = []
    above: list[str] = []
    for token in [*_tokens(page), None]:
        if token is not None and token.type == "html_block":
            above += [token.content.strip()] if _directives(token.content) else []
            continue
        if token is None or token.type != "fence":
            stray += above
        above = []
    return stray


def _directives(html: str) -> tuple[Directive, ...]:
    lines = (line.strip() for comment in _COMMENT.findall(html) for line in comment.splitlines())
    return tuple(_directive(line.removeprefix("test:").strip()) for line in lines if line.startswith("test:"))


def _directive(text: str) -> Directive:
    kind, _, rest = text.partition(" ")
    if kind.startswith("tests/"):
        return Directive("see", text)
    return Directive(kind.rstrip(","), rest.strip())


def inline_code(page: Path) -> Iterator[tuple[int, str]]:
    """Every piece of code inside a sentence or a table, with its line."""
    for line, token in _inline(page):
        if token.type == "code_inline":
            yield line, token.content


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Where each link and image of a page leads, with its line."""
    for line, token in _inline(page):
        if token.type in {"link_open", "image"}:
            yield line, str(token.attrs["href" if token.type == "link_open" else "src"])


def _inline(page: Path) -> Iterator[tuple[int, Token]]:
    for token in _tokens(page):
        for child in token.children or ():
            yield (token.map[0] + 1 if token.map else 0), child


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page."""
    tokens = _tokens(page)
    found: list[str] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            count = found.count(slug)
            found.append(slug)
            if count:
                found.append(f"{slug}-{count}")
    return frozenset(found)
