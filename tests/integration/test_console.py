"""The console in a real Chromium, on a real worker: what a person does by keyboard, and is shown."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from freshet.models.events.events import Click, Impression
from freshet.streams.settings import Settings
from freshet.workers.processes.kafka.broker import LocalKafka
from tests.external_tools import external_tool
from tests.integration.served_world import World, served
from tests.integration.stream_harness import events_on, settings_for
from tests.repository import ROOT
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

READER = "U-sport-fan"
expect.set_options(timeout=HANG_S * 1_000)
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
BUILD = ROOT / "build" / "console"
"""Where the screenshots go, to be looked at."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def console(settings: Settings, *options: str) -> Iterator[str]:
    """``freshet console`` as a process of its own; gives the page's address."""
    command = [sys.executable, "-m", "freshet.workers", "console", "--json", *options]
    where = [f"--bootstrap-servers={settings.bootstrap_servers}", f"--topic-prefix={settings.topic_prefix}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    environment["PYTHONFAULTHANDLER"] = "1"
    with subprocess.Popen([*command, *where], stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the console ended with {process.wait()}"
            yield str(json.loads(line)["url"])
        finally:
            process.terminate()
            try:
                assert process.wait(timeout=HANG_S) == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # has it tell where each of its threads is
                raise


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def world(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[World]:
    """A worker that knows sport and politics of last December, and a reader of sport."""
    settings = settings_for(kafka, tmp_path_factory.mktemp("console"))
    with served(settings, FRESHET_METRICS_PORT=str(metrics_port)) as world:
        world.click(READER, "S0", "S1")
        yield world


@pytest.fixture(scope="module")
def address(world: World, metrics_port: int) -> Iterator[str]:
    with console(world.settings, f"--metrics=http://127.0.0.1:{metrics_port}/metrics") as url:
        yield url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = external_tool("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=FLAGS, chromium_sandbox=False
        )
        yield browser
        await browser.close()


class Opened:
    """A page, and what it did that it should not."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(HANG_S * 1_000)
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else self.foreign.append(asked.url),
        )

    async def tab_to(self, selector: str) -> None:
        """Press Tab until that element has the focus."""
        for _ in range(120):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    async def headlines(self) -> list[str]:
        return await self.page.locator("#front .headline").all_inner_texts()


async def opened(
    browser: Browser,
    address: str,
    *,
    reader: str = "",
    scheme: Literal["light", "dark"] = "light",
    width: int = 1440,
) -> Opened:
    page = await browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1_000})
    opened = Opened(page, address)
    await page.goto(f"{address}#reader={reader}" if reader else address)
    return opened


async def settled(page: Page) -> None:
    """Wait until nothing moves, so that colours are those that stay."""
    await page.evaluate("Promise.all(document.getAnimations().map((moving) => moving.finished))")


async def test_a_person_is_a_reader_by_keyboard_alone(browser: Browser, address: str, world: World) -> None:
    shown = await opened(browser, address)
    page = shown.page
    await expect(page.locator("#front-heading")).to_contain_text("visitor-")
    await expect(page.locator("#front-about")).to_contain_text("everybody's front page")
    await expect(page.locator("#newest .headline").first).to_have_text("sport S0")

    await shown.tab_to("#reader-id")
    await page.keyboard.type("SPORT-f")
    found = page.locator("#readers button")
    await expect(found).to_have_count(1)
    await shown.tab_to("#readers button")
    await page.keyboard.press("Enter")
    await expect(page.locator("#front-heading")).to_have_text(f"Front page of {READER}")
    await expect(page.locator("#front-about")).to_contain_text("Based on 2 clicks")
    await expect(page.locator("#clock")).to_contain_text("replaying 29 Dec 2025")
    before = await shown.headlines()
    assert len(before) == 10
    assert before[0].startswith("sport")
    await expect(page.locator("#front .because").first).to_contain_text("Because you read sport S")

    await shown.tab_to("#front summary")
    await page.keyboard.press("Enter")
    await expect(page.locator("#front details[open] tbody tr").first).to_be_visible()

    await shown.tab_to("#refresh")
    await shown.tab_to("#front .headline")
    await page.keyboard.press("Enter")
    await expect(page.locator("#said")).to_contain_text(f"You opened “{before[0]}”.")
    await expect(page.locator("#said")).to_contain_text("later:")
    after = await shown.headlines()
    assert before[0] not in after
    assert await page.locator("#front .move").count() > 0
    assert await page.evaluate("document.activeElement.matches('#front li:first-child .headline')")
    await expect(page.locator("#front-about")).to_contain_text("Based on 3 clicks")
    await expect(page.locator("#read .headline").first).to_have_text(before[0])
    await expect(page.locator("#trending .headline")).not_to_have_count(0)

    tiles = page.locator("#pulse .tile")
    await expect(tiles).to_have_count(6)
    await expect(tiles.nth(0).locator("strong")).to_have_text("0")  # the click has passed
    await expect(tiles.nth(1)).to_contain_text("median")
    await expect(tiles.nth(2)).to_contain_text("median")
    assert await tiles.nth(0).locator(".stroke").get_attribute("d")
    assert (shown.errors, shown.foreign) == ([], [])

    news_id = before[0].split()[-1]
    [impression] = await events_on(world.settings, "impressions", Impression)
    clicks = [c for c in await events_on(world.settings, "clicks", Click) if c.request_id is not None]
    assert impression.candidates[0] == news_id
    assert not impression.clicked
    assert [(c.user_id, c.news_id, c.request_id, c.impression_id) for c in clicks] == [
        (READER, news_id, impression.request_id, impression.impression_id)
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 400)])
async def test_no_rule_of_accessibility_is_broken(
    browser: Browser, address: str, scheme: Literal["light", "dark"], width: int
) -> None:
    shown = await opened(browser, address, reader=READER, scheme=scheme, width=width)
    page = shown.page
    await expect(page.locator("#front .headline")).not_to_have_count(0)
    await expect(page.locator("#pulse .tile")).to_have_count(6)
    await page.locator("#front summary").nth(1).click()
    await page.locator("#refresh").click()
    await expect(page.locator("#front")).to_have_attribute("aria-busy", "false")
    await settled(page)
    result = await Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    BUILD.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=BUILD / f"{scheme}-{width}.png", full_page=True)
    assert (shown.errors, shown.foreign) == ([], [])


async def test_nothing_moves_where_motion_is_not_wanted(browser: Browser, address: str) -> None:
    shown = await opened(browser, address, reader=READER)
    await shown.page.emulate_media(reduced_motion="reduce")
    await expect(shown.page.locator("#front .headline")).not_to_have_count(0)
    await shown.page.evaluate(
        "window.moved = 0; Element.prototype.animate = () => { window.moved += 1; }; null"
    )
    await shown.page.locator("#newest .headline").last.click()
    await expect(shown.page.locator("#said")).to_contain_text("later:")
    assert await shown.page.evaluate("window.moved") == 0


async def test_the_page_says_what_is_missing_and_goes_on_when_it_is_back(
    browser: Browser, world: World
) -> None:
    port = free_port()
    nowhere = world.settings.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    metrics = f"--metrics=http://127.0.0.1:{free_port()}/metrics"
    with console(nowhere, f"--port={port}", metrics) as address:
        shown = await opened(browser, address, reader=READER)
        problems = shown.page.locator("#problems")
        await expect(problems).to_contain_text("does not answer")
        await expect(problems.locator("code", has_text="freshet up").first).to_be_visible()
        await expect(shown.page.locator("#link")).to_have_text("waiting for Kafka")
        result = await Axe().run(shown.page)
        assert result.violations_count == 0, result.generate_report()
    await expect(problems).to_contain_text("Is freshet console still running?")
    with console(world.settings, f"--port={port}"):
        await expect(shown.page.locator("#link")).to_have_text("connected")
        await expect(shown.page.locator("#front .headline")).not_to_have_count(0)
