"""The local broker of ``freshet up`` may die: the system goes on where it was, or says that it cannot."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from freshet.models.events.events import Article
from freshet.streams.client import Freshet
from freshet.workers.processes.repeated_records import PERIOD_S, WRITTEN
from freshet.workers.processes.up_process import UpFailed, UpProcess
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.broker


def kill_broker(up: UpProcess) -> None:
    (java,) = (child for child in psutil.Process(up.pid).children(recursive=True) if child.name() == "java")
    java.kill()


def ready_page(up: UpProcess) -> str:
    settings = up.settings
    try:
        with urllib.request.urlopen(
            f"http://{settings.metrics_host}:{settings.metrics_port}/readyz", timeout=HANG_S
        ) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def test_a_broker_that_dies_comes_back_with_all_that_was_acknowledged_and_is_given_up_when_it_cannot(
    tmp_path: Path,
) -> None:
    log = tmp_path / "up.log"
    began_s = time.monotonic()
    with UpProcess(tmp_path, log, embed=False) as up:
        up.wait_until_ready(HANG_S)
        with Freshet(up.settings) as freshet:
            freshet.publish(Article(news_id="N1", published_at=datetime.now(UTC), title="Before"))
            freshet.impression("U1", ["N1"])
            freshet.click("U1", "N1")
            freshet.recommend("U1", timeout_s=HANG_S)
            freshet.click("U2", "N1")
        kill_broker(up)
        wait_until(lambda: "answers again" in log.read_text(), "a restarted broker")
        up.check()
        # A client of its own: kafka-python leaves sockets open where its broker goes while it is connected.
        with Freshet(up.settings, connect_timeout_s=HANG_S) as freshet:

            def clicks_of(user: str) -> int:
                return freshet.recommend(user, timeout_s=HANG_S).user_clicks

            assert clicks_of("U1") == 1
            wait_until(lambda: clicks_of("U2") == 1, "the click that was acknowledged before the end")
            freshet.click("U1", "N2")
            wait_until(lambda: clicks_of("U1") == 2, "a click of afterwards")
        wait_until(lambda: ready_page(up) == "ok\n", "readiness")
        periods = 1 + (time.monotonic() - began_s) / PERIOD_S
        lines = [re.sub(r"^.{23}|0x[0-9a-f]+|\d+", "", line) for line in log.read_text().splitlines()]
        library = Counter(line for line in lines if re.match(r" [A-Z]+ +(aio)?kafka", line))
        assert library, "nothing was said of a broker that has gone"
        assert max(library.values()) <= (WRITTEN + 1) * periods, library

        # Kafka refuses a folder of another node.
        identity = tmp_path / "kafka" / "data" / "meta.properties"
        identity.write_text(identity.read_text().replace("node.id=1", "node.id=7"))
        kill_broker(up)

        def ended() -> bool:
            try:
                up.check()
            except UpFailed:
                return True
            return False

        wait_until(ended, "the end of a system without a broker")
        assert up.stop() == 1
    said = log.read_text()
    assert re.search(r"Error: The local Kafka did not start: it exited with 1(.|\n)*Stored node id 7", said)
