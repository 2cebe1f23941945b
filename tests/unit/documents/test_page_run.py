"""Following a page finds every way in which it can be wrong, and leaves nothing running."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.page_run import BlockFailed, PageRun, runs
from tests.documents.pages import Block, blocks
from tests.waiting import HANG_S


@pytest.fixture
def run(tmp_path: Path) -> Iterator[PageRun]:
    with PageRun(tmp_path, {"WHERE": "there"}, {"127.0.0.1:9092": "127.0.0.1:1234"}) as run:
        yield run


def block_of(tmp_path: Path, text: str, *told: str, language: str = "sh") -> Block:
    # A page is parsed once.
    page = tmp_path / f"page{len(list(tmp_path.glob('page*')))}.md"
    comments = "".join(f"<!-- test: {line} -->\n" for line in told)
    page.write_text(f"# Page\n\n{comments}```{language}\n{text}\n```\n")
    (block,) = blocks(page)
    return block


def test_a_block_runs_in_the_pages_folder_with_the_systems_addresses(run: PageRun, tmp_path: Path) -> None:
    assert run.run(block_of(tmp_path, 'echo "$WHERE" 127.0.0.1:9092 > note; pwd')) == f"{tmp_path}\n"
    assert (tmp_path / "note").read_text() == "there 127.0.0.1:1234\n"
    assert run.run(block_of(tmp_path, "print(1 + 1)", language="python")) == "2\n"


def test_it_ends_at_the_first_command_that_fails(run: PageRun, tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"page0\.md:3 ended with status 3"):
        run.run(block_of(tmp_path, "(exit 3)\necho later"))
    assert run.run(block_of(tmp_path, "(exit 3)", "status 3")) == ""
    with pytest.raises(BlockFailed, match="status 0, not 3"):
        run.run(block_of(tmp_path, "true", "status 3"))


def test_directives_prepare_replace_and_look_at_the_output(run: PageRun, tmp_path: Path) -> None:
    told = ("first echo small > paper", "with 20000=300", "prints small 300")
    assert run.run(block_of(tmp_path, "echo $(cat paper) 20000", *told)) == "small 300\n"
    with pytest.raises(BlockFailed, match="the block has no '20000'"):
        run.run(block_of(tmp_path, "true", "with 20000=300"))
    with pytest.raises(BlockFailed, match="did not print 'sports'"):
        run.run(block_of(tmp_path, "echo politics", "prints sports"))


def test_output_is_compared_whole(run: PageRun, tmp_path: Path) -> None:
    block = block_of(tmp_path, "u = 0.4", "output", language="text")
    run.check_output(block, "u = 0.4\n")
    with pytest.raises(BlockFailed, match=r"u = 0\.41"):
        run.check_output(block, "u = 0.41\n")


def test_what_runs_on_is_awaited_and_ends_with_the_page(tmp_path: Path) -> None:
    block = block_of(tmp_path, "echo $$; echo ready; exec sleep 1000", "background ready")
    with PageRun(tmp_path, {}, {}) as run:
        process = int(run.run(block).split()[0])
        os.kill(process, 0)
    deadline = time.monotonic() + HANG_S
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(process, 0)
            time.sleep(0.01)
    with PageRun(tmp_path, {}, {}) as run, pytest.raises(BlockFailed, match="did not print 'ready'"):
        run.run(block_of(tmp_path, "echo failed", "background ready"))


@pytest.mark.parametrize(
    ("told", "run_here"),
    [((), True), (("up",), False), (("skip, needs Docker",), False), (("tests/unit/test_x.py",), False)],
)
def test_only_what_a_comment_excuses_is_not_run(
    told: tuple[str, ...], run_here: bool, tmp_path: Path
) -> None:
    assert runs(block_of(tmp_path, "true", *told)) is run_here
    assert not runs(block_of(tmp_path, "{}", language="json"))
