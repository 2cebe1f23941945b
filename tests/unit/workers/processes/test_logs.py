"""What a process logs: readable lines, or JSON that says what was being handled."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from freshet.models.events.events import Click
from freshet.streams.kafka.outbox import Outbox
from freshet.streams.records.intake import Intake, keyed
from freshet.streams.records.log_context import HANDLED, fields, handled, handling
from freshet.streams.settings import Settings
from freshet.workers.processes.logs import JsonFormatter

_SETTINGS = Settings(topic_prefix="t.", partitions=4)
_RECORD = SimpleNamespace(topic="t.clicks", partition=2, offset=41, key=b"U-1", value=b"{}")
_PROGRAM = """
import logging, os, threading, warnings
from freshet.streams.records.log_context import handling
from freshet.streams.settings import Settings
from freshet.workers.processes.logs import set_up_logs
set_up_logs(settings=Settings())
log = logging.getLogger("freshet.part")
log.debug("small")
log.info("%s\\nof two lines", "news")
logging.getLogger("faust.agent").info("a library's chatter")
logging.getLogger("aiokafka.consumer").warning("a library's warning")
with handling(request_id="R-1"):
    log.warning("odd", extra={"articles": 3})
warnings.warn("old")
thread = threading.Thread(target=lambda: {}["missing"], name="side")
thread.start()
thread.join()
os.environ["nothing"]
"""


def _lines(**environment: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", _PROGRAM],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == ""
    return ran.stderr.splitlines()


def test_json_lines_hold_everything_that_a_process_says() -> None:
    entries = [json.loads(line) for line in _lines(FRESHET_LOG_FORMAT="json")]
    assert [(entry["level"], entry["logger"], entry["message"]) for entry in entries[:3]] == [
        ("info", "freshet.part", "news\nof two lines"),
        ("warning", "aiokafka.consumer", "a library's warning"),
        ("warning", "freshet.part", "odd"),
    ]
    assert (entries[2]["request_id"], entries[2]["articles"]) == ("R-1", 3)
    assert "request_id" not in entries[1]
    assert entries[3]["logger"] == "py.warnings"
    assert entries[4]["message"] == "not caught in thread side"
    assert entries[5]["exception"]["message"] == "'nothing'"
    assert [entry["exception"]["type"] for entry in entries[4:]] == ["KeyError", "KeyError"]
    assert len(entries) == 6
    for entry in entries:
        assert entry["time"].endswith("Z")
        assert entry["process"] == entries[0]["process"]


def test_text_is_the_default_and_one_line_for_each_record() -> None:
    lines = _lines()
    assert "INFO    freshet.part: news" in lines[0]
    assert any(line.endswith("WARNING aiokafka.consumer: a library's warning") for line in lines)
    assert not any("chatter" in line for line in lines)


def test_the_level_is_the_settings() -> None:
    entries = [json.loads(line) for line in _lines(FRESHET_LOG_FORMAT="json", FRESHET_LOG_LEVEL="error")]
    assert {entry["level"] for entry in entries} == {"critical"}
    chatty = [json.loads(line) for line in _lines(FRESHET_LOG_FORMAT="json", FRESHET_LOG_LEVEL="debug")]
    assert chatty[0]["message"] == "small"


@pytest.mark.parametrize("failure", ["FreshetError('no broker')", "KeyError('a bug')"])
def test_what_ends_a_worker_is_a_json_line_too(failure: str) -> None:
    program = f"""
import click
from freshet.streams.errors import FreshetError
from freshet.streams.settings import Settings
from freshet.workers.cli.main import VerbGroup
from freshet.workers.processes.logs import set_up_logs
class Verbs(VerbGroup):
    def get_command(self, ctx, name):
        return work
@click.command()
def work():
    set_up_logs(settings=Settings(log_format="json"))
    raise {failure}
Verbs("freshet").main(["work"])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    entry = json.loads(line)
    assert entry["level"] == "critical"
    assert entry["exception"]["type"].endswith(failure.partition("(")[0])


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Lines as the JSON formatter writes them."""
    lines: list[str] = []
    formatter = JsonFormatter()

    def keep(record: logging.LogRecord) -> bool:
        record.__dict__.update(fields())
        lines.append(formatter.format(record))
        return True

    caplog.handler.addFilter(keep)
    return lines


def test_an_exception_comes_in_parts_and_not_without_end(said: list[str]) -> None:
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError:
        logging.getLogger("freshet").exception("y" * 1_000_000)
    (entry,) = map(json.loads, said)
    assert entry["exception"]["type"] == "ValueError"
    size = len(said[0])
    assert size < 30_000


def test_what_a_handler_logs_names_its_record_and_what_comes_after_does_not(said: list[str]) -> None:
    log = logging.getLogger("some.library")

    def handler(message: Any) -> None:
        log.warning("inside")

    Intake(_SETTINGS, Outbox(_SETTINGS)).handle(_RECORD, handler)
    log.warning("after")
    inside, after = map(json.loads, said)
    assert (inside["topic"], inside["partition"], inside["offset"]) == ("t.clicks", 2, 41)
    assert "topic" not in after


def test_a_wrong_key_is_quoted_in_the_dead_letter_and_not_in_the_log(said: list[str]) -> None:
    outbox = Outbox(_SETTINGS)
    intake = Intake(_SETTINGS, outbox)
    value = b'{"version": 1, "user_id": "U-2", "news_id": "N", "time": "2026-03-02T08:00:00Z"}'
    record = SimpleNamespace(**vars(_RECORD) | {"value": value})
    intake.handle(record, lambda message: keyed(message, Click, "user_id"))
    ((_, letter, *_),) = outbox._records["t.dead-letters", 2]
    assert letter is not None
    assert b"U-2" in letter
    (line,) = said
    assert "the record's key is not its user_id" in json.loads(line)["message"]
    assert "U-1" not in line
    assert "U-2" not in line


async def test_of_concurrent_requests_each_line_names_its_own(said: list[str]) -> None:
    async def answer(number: int) -> None:
        logging.getLogger("freshet").warning("answer %d", number)

    await handled(answer(1), _RECORD, "R-1")
    await handled(answer(2), None, "R-2")
    first, second = map(json.loads, said)
    assert (first["request_id"], first["offset"]) == ("R-1", 41)
    assert second["request_id"] == "R-2"
    assert "offset" not in second
    assert HANDLED.get() is None


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert fields() == {}
    with handling():
        assert fields() == {}
    trace = SimpleNamespace(trace_id="a" * 32, span_id="b" * 16)
    with handling(_RECORD, "R-1", trace):
        assert fields() == {
            "topic": "t.clicks",
            "partition": 2,
            "offset": 41,
            "request_id": "R-1",
            "trace_id": "a" * 32,
            "span_id": "b" * 16,
        }
