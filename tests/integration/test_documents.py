"""What the documents tell people to type works: every page's blocks, from top to bottom, on a real system.

One ``freshet up`` serves all pages, so that users, rules and experiments of one page are there on the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freshet.workers.processes.up_process import UpProcess
from tests.documents.page_run import BlockFailed, PageRun, runs
from tests.documents.pages import ROOT, all_pages, blocks
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

PAGES = [page for page in all_pages() if any(runs(block) for block in blocks(page))]


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    folder = tmp_path_factory.mktemp("documents")
    with UpProcess(folder / "data", folder / "up.log") as system:
        system.wait_until_ready(HANG_S)
        yield system


def page_run(system: UpProcess, folder: Path) -> PageRun:
    settings = system.settings
    return PageRun(
        folder,
        # A worker that a page starts keeps its tables in the page's folder, and serves no metrics: the port
        # is the system's.
        {"FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "FRESHET_METRICS_PORT": "0"},
        {
            "127.0.0.1:9092": settings.bootstrap_servers,
            "127.0.0.1:9464": f"127.0.0.1:{settings.metrics_port}",
        },
    )


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_what_a_page_tells_to_type_works(page: Path, system: UpProcess, tmp_path: Path) -> None:
    printed = ""
    with page_run(system, tmp_path) as run:
        for block in blocks(page):
            if runs(block):
                printed = run.run(block)
            elif block.told("output"):
                run.check_output(block, printed)
    system.check()


def test_a_command_that_fails_fails_its_page(system: UpProcess, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nfreshet recommend 'two words'\n```\n")
    (block,) = blocks(page)
    with page_run(system, tmp_path) as run, pytest.raises(BlockFailed, match="status 2"):
        run.run(block)
