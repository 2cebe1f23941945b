"""The documents hold together: links lead somewhere, commands exist, blocks say how they are tested."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents.commands import freshet_commands, problems
from tests.documents.page_run import runs, starts_only_the_system
from tests.documents.pages import (
    COMMANDS,
    DIRECTIVES,
    LANGUAGES,
    ROOT,
    Block,
    all_pages,
    anchors,
    blocks,
    inline_code,
    links,
    stray_directives,
)

PAGES = all_pages()


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def wrong_link(page: Path, link: str) -> str | None:
    """Why a link leads nowhere; nothing outside the repository is asked."""
    parts = urlsplit(link)
    if parts.scheme:
        allowed = parts.scheme in {"https", "http", "mailto"} and (parts.hostname or parts.path)
        return None if allowed and " " not in link else "is no address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "does not exist"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in anchors(target):
        return f"has no heading for #{parts.fragment}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    found = [(line, link, wrong_link(page, link)) for line, link in links(page)]
    assert [f"{ids(page)}:{line}: {link} {wrong}" for line, link, wrong in found if wrong] == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    assert wrong_link(readme, "docs/nowhere.md") == "does not exist"
    assert wrong_link(readme, "#nowhere") == "has no heading for #nowhere"
    assert wrong_link(readme, "../outside") == "does not exist"
    assert wrong_link(readme, "https://") == "is no address"
    assert wrong_link(readme, "docs/reference/events.md#topics") is None
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three!\n\n## Same\n\n## Same\n")
    assert anchors(page) == {"one-two-three", "same", "same-1"}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_freshet_command_has_a_verb_and_options_that_exist(page: Path) -> None:
    scripts = [(block.line, block.text) for block in blocks(page) if block.language == COMMANDS]
    scripts += [(line, code) for line, code in inline_code(page) if code.startswith("freshet ")]
    wrong = [
        f"{ids(page)}:{line}: {problem}"
        for line, script in scripts
        for words in freshet_commands(script)
        for problem in problems(words)
    ]
    # The changelog keeps what was.
    assert page.name == "CHANGELOG.md" or wrong == []


def test_a_command_that_does_not_exist_is_found() -> None:
    script = (
        "A=1 freshet up --kafka-port 1 &\nfreshet fly; freshet rules list --loud | cat # freshet nothing\n"
    )
    found = list(freshet_commands(script))
    assert found == [["up", "--kafka-port", "1"], ["fly"], ["rules", "list", "--loud"]]
    assert [bool(problems(words)) for words in found] == [False, True, True]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_test_that_is_named_exists(page: Path) -> None:
    named = [(line, code) for line, code in inline_code(page) if re.match(r"tests/\S+\.py", code)]
    assert [f"{ids(page)}:{line}: {code}" for line, code in named if not is_test(code)] == []


def is_test(named: str) -> bool:
    """Whether ``path`` or ``path::function`` is there."""
    path, _, name = named.partition("::")
    file = ROOT / path
    return file.is_file() and (not name or f"def {name}(" in file.read_text(encoding="utf-8"))


def source_of(named: str) -> str:
    """The text of the file of a test, and of what it imports of the other tests."""
    text = (ROOT / named.partition("::")[0]).read_text(encoding="utf-8")
    imported = re.findall(r"^from (tests[\w.]+) import", text, re.MULTILINE)
    files = [ROOT / f"{module.replace('.', '/')}.py" for module in imported]
    return text + "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_block_says_how_it_is_tested(page: Path) -> None:
    assert stray_directives(page) == []
    wrong = [f"{block.where}: {problem}" for block in blocks(page) for problem in block_problems(block)]
    assert wrong == []


def block_problems(block: Block) -> list[str]:
    """What is wrong with a block's language and directives."""
    found = []
    if runs(block) and " && " in block.text:
        found.append("`sh -e` does not see a failure before `&&`: give each command a line")
    if block.language not in LANGUAGES:
        found.append(f"{block.language!r} is no language that the tests know; commands are `sh`")
    for directive in block.directives:
        if directive.kind not in DIRECTIVES:
            found.append(f"{directive.kind!r} is no directive: {', '.join(sorted(DIRECTIVES))}")
        if directive.kind == "skip" and len(directive.rest) < 10:  # fewer characters are no reason
            found.append("skip needs its reason")
        if directive.kind == "up" and not starts_only_the_system(block):
            found.append("up is for a block that starts `freshet up` and nothing else")
        if directive.kind == "output" and block.language != "text":
            found.append("output is for a block of `text`")
        if directive.kind == "with" and "=" not in directive.rest:
            found.append("with needs OLD=NEW")
        if directive.kind == "see" and not is_test(directive.rest):
            found.append(f"{directive.rest} does not exist")
    if not found and (named := block.told("see")):
        told = "".join(map(source_of, named))
        verbs = {words[0] for words in freshet_commands(block.text) if words}
        unknown = [verb for verb in verbs if not re.search(rf"[\"' ]{verb}[\"' \]]", told)]
        found += [f"{', '.join(named)} run no `freshet {verb}`" for verb in unknown]
    return found


@pytest.mark.parametrize(
    ("comment", "fence", "problem"),
    [
        ("<!-- test: skip -->", "sh", "skip needs its reason"),
        ("<!-- test: tests/unit/test_nothing.py -->", "sh", "does not exist"),
        ("<!-- test: tests/unit/documents/test_documents.py::test_nothing -->", "sh", "does not exist"),
        ("<!-- test: sometimes -->", "sh", "is no directive"),
        ("<!-- test: with 20000 -->", "sh", "OLD=NEW"),
        ("<!-- test: up -->", "sh", "up is for a block"),
        ("<!-- test: output -->", "sh", "output is for a block"),
        ("", "bash", "is no language"),
        ("<!-- test: tests/unit/models/articles/test_bursts.py -->", "sh", "run no `freshet up`"),
    ],
)
def test_a_block_that_says_nothing_useful_is_found(
    comment: str, fence: str, problem: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{comment}\n```{fence}\nfreshet up || freshet doctor\n```\n")
    (block,) = blocks(page)
    assert problem in "; ".join(block_problems(block))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_python_of_a_page_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, block.where, "exec")
