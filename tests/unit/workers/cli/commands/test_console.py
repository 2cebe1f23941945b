"""``freshet console`` as a shell uses it: wrong usage, failures, and how ``freshet up`` names it."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from freshet.streams.settings import Settings
from freshet.workers.cli.commands import console
from freshet.workers.cli.main import main
from freshet.workers.console.run import _url
from freshet.workers.processes import up


@pytest.mark.parametrize(
    "url",
    ["", "localhost:9464", "ftp://host/metrics", "http:///metrics", "http://host:x/", "http://host:99999/"],
)
def test_an_address_of_metrics_that_is_none_is_wrong_usage(url: str) -> None:
    result = CliRunner().invoke(main, ["console", "--metrics", url])
    assert result.exit_code == 2
    assert "is not an address like" in result.stderr


def test_a_port_that_is_taken_is_said_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["console", "--port", str(port)])
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("::1", "http://[::1]:8000/"),
        ("news.example", "http://news.example:8000/"),
    ],
)
def test_the_address_told_is_one_that_a_browser_here_takes(host: str, url: str) -> None:
    assert _url(host, 8_000) == url


def test_up_names_the_console_with_the_options_that_reach_it() -> None:
    assert up._console(Settings()) == "freshet console --open"
    moved = Settings(bootstrap_servers="127.0.0.1:19092", metrics_port=19_464)
    command = up._console(moved)
    assert command == "freshet console --open --bootstrap-servers 127.0.0.1:19092 --metrics-port 19464"
    options = {option for param in console.command.params for option in param.opts}
    assert {word for word in command.split() if word.startswith("--")} <= options
