"""inf and nan are no numbers: not to an option, not to a setting, not to a client."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from freshet.streams.client import Freshet
from freshet.streams.client.erasure import erase_user
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.terminal.number_options import FiniteRange

NO_NUMBERS = ("inf", "-inf", "nan", "1e999")


def options(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    """Every option of every verb that takes a decimal number, with the verb's words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            assert verb is not None
            yield from options(verb, (*path, name))
    for parameter in command.params:
        if isinstance(parameter.type, click.types.FloatParamType):
            yield path, parameter


DECIMAL = list(options(main))


def test_there_are_such_options() -> None:
    verbs = {path[0] for path, _ in DECIMAL}
    assert {"recommend", "explain", "subscribe", "erase", "replay", "train", "evaluate"} <= verbs


@pytest.mark.parametrize(("path", "option"), DECIMAL, ids=[f"{' '.join(p)} {o.opts[0]}" for p, o in DECIMAL])
def test_an_option_refuses_them_and_names_itself(path: tuple[str, ...], option: click.Parameter) -> None:
    assert isinstance(option.type, FiniteRange)
    for text in NO_NUMBERS:
        with pytest.raises(click.BadParameter, match=r"finite|range"):
            option.type.convert(text, option, None)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "0", "1e10"])
def test_a_time_out_is_wrong_usage(text: str) -> None:
    result = CliRunner().invoke(main, ["recommend", "U1", f"--timeout={text}"])
    assert result.exit_code == 2
    assert "'--timeout'" in result.stderr


def is_decimal(annotation: Any) -> bool:
    if get_origin(annotation) in {Annotated, tuple, Union, UnionType}:
        return any(map(is_decimal, get_args(annotation)))
    return annotation is float


DECIMAL_SETTINGS = [name for name, field in Settings.model_fields.items() if is_decimal(field.annotation)]


@pytest.mark.parametrize("name", DECIMAL_SETTINGS)
def test_a_setting_refuses_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    many = isinstance(Settings.model_fields[name].default, tuple)
    for text in NO_NUMBERS:
        with pytest.raises(ValidationError, match=name):
            Settings(**{name: [float(text)] if many else text})
        with monkeypatch.context() as patch, pytest.raises(ValueError, match=name):
            patch.setenv(f"FRESHET_{name.upper()}", f"[{text}]" if many else text)
            Settings()


@pytest.mark.parametrize("half_lives_s", [[], [0.0], [-1.0]])
def test_half_lives_are_times(half_lives_s: list[float]) -> None:
    with pytest.raises(ValidationError, match="half_lives_s"):
        Settings(half_lives_s=half_lives_s)


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan, -1.0, 1e12])
def test_a_client_refuses_them_before_it_asks_anybody(seconds: float) -> None:
    # There is no broker: what was not refused would fail otherwise, or wait.
    settings = Settings(bootstrap_servers="127.0.0.1:9")
    with pytest.raises(ValueError, match="connect_timeout_s is "):
        Freshet(settings, connect_timeout_s=seconds)
    client = Freshet.__new__(Freshet)
    with pytest.raises(ValueError, match="timeout_s is "):
        client.recommend("U1", timeout_s=seconds)
    with pytest.raises(ValueError, match="timeout_s is "):
        client.subscribe(timeout_s=seconds)
    with pytest.raises(ValueError, match="timeout_s is "):
        erase_user(settings, "U1", seconds)


@pytest.mark.parametrize(
    "verb", ["synth out", "train . --model mf --out out", "compare .", "evaluate .", "simulate", "demo"]
)
def test_a_seed_is_one_that_every_generator_takes(verb: str) -> None:
    result = CliRunner().invoke(main, [*verb.split(), "--seed", str(2**64)])
    assert result.exit_code == 2
    assert "'--seed'" in result.stderr
