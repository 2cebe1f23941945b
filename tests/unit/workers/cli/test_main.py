"""The command line finds its verbs by their files, loads one only when asked, and fails in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from kafka.errors import KafkaConnectionError

from freshet.streams.errors import FreshetError
from freshet.workers.cli import commands
from freshet.workers.cli.main import VerbGroup, main

VERBS = sorted(
    file.stem.replace("_", "-") for file in Path(commands.__path__[0]).glob("*.py") if file.stem != "__init__"
)


def test_every_file_of_the_commands_folder_is_a_verb_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.list_commands(click.Context(main)) == VERBS
    assert _status(main, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(main, [verb, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_the_version_costs_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys; from freshet.workers.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: print([name for name in sys.modules if name.startswith('freshet.workers.cli.commands.')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["freshet, version 0.1.0", "[]"]


def test_an_unknown_verb_is_wrong_usage() -> None:
    assert _status(main, ["no-such-verb"]) == 2


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (FreshetError("Kafka is away. Start it."), 1, "Error: Kafka is away. Start it.\n"),
        (click.ClickException("no such file"), 1, "Error: no such file\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "Error: No space left on device\nSet FRESHET_DEBUG=1 to see where it came from.\n",
        ),
        (
            KafkaConnectionError("reset"),
            1,
            "Error: Kafka: KafkaConnectionError: reset; `freshet doctor` checks whether it and its topics "
            "can be reached.\nSet FRESHET_DEBUG=1 to see where it came from.\n",
        ),
        (KeyError("x"), 1, "Error: KeyError: 'x'\nSet FRESHET_DEBUG=1 to see where it came from.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_a_line_and_a_status(
    error: BaseException, status: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(_group_with(error), ["verb"]) == status
    assert capsys.readouterr().err.lstrip("\n") == shown


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_DEBUG", "1")
    with pytest.raises(KeyError):
        _group_with(KeyError("x")).main(["verb"])


def test_a_verb_s_own_exit_status_is_the_program_s() -> None:
    assert _status(_group_with(SystemExit(1)), ["verb"]) == 1


def _group_with(error: BaseException) -> VerbGroup:
    """A group like freshet's, with one verb that raises."""

    class OneVerb(VerbGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return click.Command("verb", callback=_raising(error))

    return OneVerb("group")


def _raising(error: BaseException) -> Callable[[], None]:
    def callback() -> None:
        raise error

    return callback


def _status(group: click.Group, arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as exit_:
        group.main(arguments)
    return int(exit_.value.code or 0)
