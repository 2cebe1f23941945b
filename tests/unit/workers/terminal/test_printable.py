"""A title steers no terminal: not where verbs print it, nor in errors, logs and JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from rich.table import Table
from rich.text import Text

from freshet.models.events.editorial_rules import UnmetRule
from freshet.models.events.events import Recommendation, RecommendedArticle
from freshet.workers.cli.main import main
from freshet.workers.processes.logs import JsonFormatter, TextFormatter
from freshet.workers.terminal.printable import printable
from freshet.workers.terminal.terminal import Terminal

EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x9b31mRiver\r\x7f \u202egnp.exe\u202c\u2066x\u2069 [red]town[/red] :smile:\0\b"
)
PLAIN = "[red]town[/red] :smile:"
"""What must be left of it."""
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What Rich writes itself: colours, and no parameter of a title's."""
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
VERBS = [("recommend", "U1"), ("explain", "U1", "N1"), ("subscribe", "--count", "1")]
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


class Client:
    """A client whose articles have evil titles, categories and ids of rules."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def recommend(self, user_id: str, k: int = 10, **asked: Any) -> Recommendation:
        items = tuple(
            RecommendedArticle.model_construct(
                news_id=news_id,
                score=1.0,
                title=f"{EVIL}{news_id}",
                category=EVIL,
                published_at=NOW,
                sources=(EVIL,),
                reasons={"dot_best": 1.0},
                features={"dot_best": 1.0},
                because="N2",
                rules=(EVIL,),
            )
            for news_id in asked.get("candidates") or ("N1", "N2")
        )
        return Recommendation.model_construct(
            request_id="R1",
            user_id=user_id,
            time=NOW,
            bundle=EVIL,
            ranker=EVIL,
            items=items,
            unmet=(UnmetRule.model_construct(rule=EVIL, reason=EVIL),),
        )

    def subscribe(self, *_: Any, **__: Any) -> Any:
        return nullcontext([self.recommend("U1")])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.streams.client.Freshet", Client)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    # As on a terminal: Rich styles what it prints.
    return CliRunner().invoke(
        main, arguments, input=stdin, color=True, env={"FORCE_COLOR": "1", "COLUMNS": "200"}
    )


def steering_in(text: str) -> str:
    return repr(CONTROL_CHARACTERS.findall(STYLE.sub("", text)))


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_prints_of_a_title_steers_nothing(verb: tuple[str, ...]) -> None:
    result = run(*verb)
    assert result.exit_code == 0, result.output
    assert PLAIN in STYLE.sub("", result.stdout)
    assert steering_in(result.output) == "[]"


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("verb", VERBS)
def test_json_of_a_title_steers_nothing_and_means_the_title(verb: tuple[str, ...]) -> None:
    result = run(*verb, "--json")
    assert result.exit_code == 0, result.output
    assert steering_in(result.output) == "[]"
    found = json.loads(result.stdout)
    assert EVIL in (found["items"][0]["title"] if "items" in found else found["title"])


def test_an_error_that_quotes_what_it_was_given_steers_nothing() -> None:
    result = run("publish", f"no {EVIL}".replace("\0", ""))
    assert result.exit_code in {1, 2}
    assert "owned" in result.stderr
    assert steering_in(result.output) == "[]"


@pytest.mark.usefixtures("client")
def test_a_line_of_a_file_that_is_refused_steers_nothing(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(json.dumps({EVIL: 1}).encode() + b"\n" + EVIL.encode() + b"\n")
    result = run("publish", str(lines))
    assert result.exit_code == 1
    assert steering_in(result.output) == "[]"


def test_categories_of_a_folder_steer_nothing(tmp_path: Path) -> None:
    odd = EVIL.replace("\r", "").replace("\x00", "")
    (tmp_path / "news.tsv").write_text(f"N1\t{odd}\t\tTitle\t\t\t[]\t[]\nN2\tnews\t\tTitle\t\t\t[]\t[]\n")
    shown = [f"{i}\tU{i}\t11/11/2019 {1 + i % 11}:00:00 AM\t\tN1-{i % 2} N2-{1 - i % 2}\n" for i in range(40)]
    (tmp_path / "behaviors.tsv").write_text("".join(shown))
    result = run("drift", str(tmp_path), "--split", "0.5")
    assert result.exit_code == 0, result.output
    assert PLAIN in STYLE.sub("", result.stdout)
    assert steering_in(result.stdout) == "[]"


@pytest.mark.parametrize("cell", [EVIL, Text(EVIL)], ids=["str", "Text"])
def test_columns_stay_straight(cell: str | Text) -> None:
    terminal = Terminal(file=io.StringIO(), width=200, force_terminal=True)
    table = Table("title", "next", title=EVIL)
    table.add_row(cell, "x")
    table.add_row("a plain one", "x")
    terminal.print(table)
    rows = STYLE.sub("", terminal.file.getvalue()).splitlines()
    assert len({len(row) for row in rows[1:]}) == 1, rows
    assert not CONTROL_CHARACTERS.search("".join(rows))


def test_rich_itself_may_still_move_the_cursor() -> None:
    terminal = Terminal(file=io.StringIO(), force_terminal=True)
    terminal.show_cursor(False)
    assert "\x1b[?25l" in terminal.file.getvalue()


def logged(formatter: logging.Formatter, error: Exception | None = None) -> str:
    record = logging.LogRecord(
        "freshet", logging.ERROR, "", 0, "title %s", (EVIL + "\n2026 ERROR forged",), None
    )
    if error is not None:
        record.exc_info = (type(error), error, None)
    return formatter.format(record)


def test_a_line_of_the_log_steers_nothing_and_forges_no_other() -> None:
    text = logged(TextFormatter("%(levelname)s %(message)s"), ValueError(EVIL))
    assert not CONTROL_CHARACTERS.search(text)
    first, *rest = text.split("\n")
    assert first.startswith("ERROR title \\u001b]0;owned\\u0007")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_a_line_of_json_in_the_log_steers_nothing_and_means_the_title() -> None:
    line = logged(JsonFormatter())
    assert not CONTROL_CHARACTERS.search(line)
    assert json.loads(line)["message"].startswith(f"title {EVIL}")


def test_what_is_no_steering_is_printed_as_it_is() -> None:
    text = "Fähre\tzurück\n\u05d0\u05d1 \u200f 新闻 🛶 é"
    assert printable(text) == text


def test_a_terminal_of_another_encoding_gets_what_it_cannot_show_escaped() -> None:
    program = (
        "import json\n"
        "from freshet.workers.terminal.printable import say, escape_unencodable_output as escape\n"
        "escape(); say(json.dumps(['é \U0001f6f6'], ensure_ascii=False))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert ran.stdout == b'["\xe9 \\ud83d\\udef6"]\n'
    assert json.loads(ran.stdout.decode("latin-1")) == ["é \U0001f6f6"]
