"""What a library repeats is counted instead of written, and no count is lost."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator

import pytest

from freshet.workers.processes.logs import JsonFormatter
from freshet.workers.processes.repeated_records import WRITTEN, FoldingHandler

LONG_S = 3_600.0


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def handler(written: io.StringIO) -> Iterator[FoldingHandler]:
    handler = FoldingHandler(LONG_S)
    handler.setStream(written)
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    handler.close()


def flood(logger: str, times: int) -> None:
    for port in range(times):
        logging.getLogger(logger).error("connection of %d lost after %.1f s", port, port / 7)


def test_a_librarys_flood_is_a_few_lines_and_its_number(
    handler: FoldingHandler, written: io.StringIO
) -> None:
    flood("aiokafka", 1_000)
    assert len(written.getvalue().splitlines()) == WRITTEN
    handler.close()
    *_, last = written.getvalue().splitlines()
    assert len(written.getvalue().splitlines()) == WRITTEN + 1
    counted = rf"connection of 999 lost after .* \(repeated {1_000 - WRITTEN} times in \d+ s\)"
    assert re.fullmatch(counted, last)


def test_what_differs_in_more_than_numbers_is_not_folded(
    handler: FoldingHandler, written: io.StringIO
) -> None:
    for name in ("red", "green", "blue", "black", "white"):
        logging.getLogger("kafka").warning("%s has gone", name)
    assert len(written.getvalue().splitlines()) == 5


def test_levels_and_loggers_are_counted_apart(handler: FoldingHandler, written: io.StringIO) -> None:
    for logger in ("kafka.cluster", "kafka.net"):
        for level in (logging.WARNING, logging.ERROR):
            for _ in range(WRITTEN):
                logging.getLogger(logger).log(level, "gone")
    assert len(written.getvalue().splitlines()) == 4 * WRITTEN


def test_freshets_own_records_are_all_written(handler: FoldingHandler, written: io.StringIO) -> None:
    flood("freshet.streams.records.intake", 50)
    assert len(written.getvalue().splitlines()) == 50


def test_the_number_comes_though_nobody_logs_any_more(
    handler: FoldingHandler, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()
    write = written.write

    def tell(text: str) -> int:
        if "repeated 7 times" in text:
            said.set()
        return write(text)

    monkeypatch.setattr(written, "write", tell)
    handler._period_s = 0.05
    while not said.is_set():  # a period may end in the midst of a flood
        flood("kafka", WRITTEN + 7)
        said.wait(1.0)


def test_a_line_of_json_has_the_number_as_a_field(handler: FoldingHandler, written: io.StringIO) -> None:
    handler.setFormatter(JsonFormatter())
    flood("aiokafka", 20)
    handler.close()
    entries = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [entry.get("repeated") for entry in entries] == [*[None] * WRITTEN, 20 - WRITTEN]
