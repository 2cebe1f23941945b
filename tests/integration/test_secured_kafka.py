"""With exactly the rights that docs/how-to/secure.md lists all works, over TLS; nobody else gets in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freshet.models.events.events import Article, Control
from freshet.streams.client import Freshet
from freshet.streams.errors import FreshetError, PublishFailed, RecommendationTimeout
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.worker_process import WorkerProcess
from tests.integration.secured_kafka import Right, SecuredKafka, secured_kafka
from tests.repository import ROOT
from tests.waiting import HANG_S

pytestmark = pytest.mark.broker

_PAGE = ROOT / "docs" / "how-to" / "secure.md"
_ROW = re.compile(r"^\| (?:`(\w+)`)? ?\| .*?\| ?(topic|group) \| `([\w.*-]+)` \| ([\w, ]+) \|$", re.MULTILINE)
_SCRAM = {"stream", "operator"}


def _rights() -> list[Right]:
    """The page's table; a row without a user is of the one above it."""
    rights: list[Right] = []
    for user, kind, name, operations in _ROW.findall(_PAGE.read_text()):
        rights.append(Right(user or rights[-1].user, kind, name, tuple(operations.split(", "))))
    return rights


_USERS = {right.user for right in _rights()}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    folder = tmp_path_factory.mktemp("secured")
    with secured_kafka(folder, sorted(_USERS - _SCRAM), sorted(_SCRAM)) as kafka:
        kafka.grant(_rights())
        yield kafka


def test_the_page_lists_every_process() -> None:
    assert {"operator", "stream", "embed", "publisher", "site"} == _USERS
    assert len(_rights()) == len(re.findall(r"\| (?:topic|group) \|", _PAGE.read_text()))


def test_everything_works_with_the_rights_that_the_page_lists(
    kafka: SecuredKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = _freshet(kafka, "operator", "topics", "create", "--partitions", "2")
    assert created.exit_code == 0, created.output
    with (
        _worker(kafka, "stream", tmp_path, monkeypatch) as stream,
        _worker(kafka, "embed", tmp_path, monkeypatch) as embed,
        Freshet(kafka.settings("publisher")) as publisher,
        Freshet(kafka.settings("site")) as site,
    ):
        publisher.publish(
            *(
                Article(news_id=f"N{i}", published_at=datetime.now(UTC), title=f"Title {i}", category="news")
                for i in range(3)
            )
        )
        ids = _recommended(site, "U1", 3, [stream, embed])
        site.impression("U1", ids)
        site.click("U1", ids[0])
        assert ids[0] not in _recommended(site, "U1", 2, [stream, embed])
        receipt = _freshet(kafka, "operator", "erase", "U1")
        assert receipt.exit_code == 0, receipt.output
        assert set(_recommended(site, "U1", 3, [stream, embed])) == set(ids)

        with pytest.raises(PublishFailed, match=r"[Aa]uthoriz"):
            site.control(Control(kind="article-withdrawn", subject=ids[0], time=datetime.now(UTC)))
        with pytest.raises(FreshetError):
            publisher.click("U1", ids[0])


def test_nobody_gets_in_otherwise(kafka: SecuredKafka) -> None:
    known = kafka.environment("site")
    wrong = {
        "a wrong password": known | {"FRESHET_KAFKA_PASSWORD": "guessed"},
        "another's name": known | {"FRESHET_KAFKA_USERNAME": "publisher"},
        "no name and no TLS": {"FRESHET_BOOTSTRAP_SERVERS": known["FRESHET_BOOTSTRAP_SERVERS"]},
        "an unknown authority": {name: known[name] for name in known if name != "FRESHET_KAFKA_CA_FILE"},
    }
    # Programs of their own, all at once: each tries for some seconds, and kafka-python leaves what it opened.
    tried = {
        what: subprocess.Popen(
            [sys.executable, "-m", "freshet.workers", "click", "U1", "N1"],
            env=_without_freshet(os.environ) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for what, environment in wrong.items()
    }
    for what, program in tried.items():
        output, _ = program.communicate(timeout=HANG_S)
        assert program.returncode == 1, f"{what}: {output}"
        assert "does not answer" in output, f"{what}: {output}"
        assert "Traceback" not in output
        assert "guessed" not in output
        assert known["FRESHET_KAFKA_PASSWORD"] not in output


def _without_freshet(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("FRESHET_")}


def _worker(kafka: SecuredKafka, user: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    """``freshet stream`` or ``freshet embed``, connected as the user of that name."""
    settings: Settings = kafka.settings(
        user, data_dir=folder / user, partitions=2, metrics_port=0, dimension=16
    )
    # Secrets are in the environment, their only source, and nowhere else.
    monkeypatch.setenv("FRESHET_KAFKA_PASSWORD", kafka.environment(user)["FRESHET_KAFKA_PASSWORD"])
    return WorkerProcess(["-m", "freshet.workers", user], settings, settings.data_dir / "worker.log")


def _freshet(kafka: SecuredKafka, user: str, *arguments: str) -> Result:
    return CliRunner(env=kafka.environment(user)).invoke(main, list(arguments))


def _recommended(site: Freshet, user_id: str, n: int, workers: list[WorkerProcess]) -> list[str]:
    """The articles of the first answer that has ``n`` of them."""
    deadline = time.monotonic() + HANG_S
    found: list[str] = []
    while time.monotonic() < deadline:
        with suppress(RecommendationTimeout):
            found = [item.news_id for item in site.recommend(user_id, timeout_s=5.0).items]
        if len(found) == n:
            return found
        for worker in workers:
            worker.check()
        time.sleep(0.1)
    raise AssertionError(f"{user_id} is recommended {found}, not {n} articles")
