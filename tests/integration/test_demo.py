"""The demo tells its whole story on a system of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

pytestmark = pytest.mark.broker

IMPRESSIONS = 300


def test_the_demo_tells_its_story_and_reports_it_as_one_object(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "freshet.workers", "demo", "--json", f"--data-dir={tmp_path}"),
            *("--users=60", "--articles=100", f"--impressions={IMPRESSIONS}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report = orjson.loads(run.stdout)
    assert report["embedding"]["articles"] == 100
    assert report["streamed"]["impressions"] + report["scored"]["impressions"] == IMPRESSIONS
    assert report["scored"]["unanswered"] == 0
    assert set(report["scored"]["rankings"]) == {"freshet", "click-through rate", "random", "oracle"}
    measured = {ranking["impressions"] for ranking in report["scored"]["rankings"].values()}
    assert len(measured) == 1
    assert len({reader["category"] for reader in report["readers"]}) == 3
    assert all(reader["recommended"] for reader in report["readers"])
    clicked = report["click"]["clicked"]["news_id"]
    assert clicked not in {item["news_id"] for item in report["click"]["after"]}
    assert report["breaking"]["seconds"] > 0
    assert set(report["memory_bytes"]) == {"freshet up", "Kafka"}
    for told in ("The articles", "trending", "A click", "Breaking news", "Report", "Try next"):
        assert told in run.stderr, told
    assert "stopped" in Path(report["log_file"]).read_text()
