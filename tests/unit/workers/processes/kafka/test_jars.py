"""Kafka's jars arrive whole and as pinned, by either way, whatever was interrupted before."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from freshet.workers.errors import JarsUnavailable
from freshet.workers.processes.kafka.jars import (
    KAFKA_RESOURCES,
    Jar,
    ensure_jars,
    jars_dir,
    kafka_version,
    pinned_jars,
    unusable_jars,
)
from tests.repository import ROOT

CONTENT = {"org/a/a-1.jar": b"a" * 200_000, "org/b/b-2.jar": b"b" * 100}
JARS = tuple(Jar(path, hashlib.sha256(content).hexdigest()) for path, content in CONTENT.items())


class _Repository(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges, and remembers what was asked."""

    def __init__(self, asked: list[tuple[str, str | None]], *arguments: object) -> None:
        self.asked = asked
        super().__init__(*arguments)  # type: ignore[arg-type] # passed through from the server

    def do_GET(self) -> None:
        byte_range = self.headers["Range"]
        self.asked.append((self.path[1:], byte_range))
        content = CONTENT.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = int(byte_range.removeprefix("bytes=").removesuffix("-")) if byte_range else 0
        self.send_response(206 if byte_range else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing on standard error."""


@contextmanager
def _repository() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    asked: list[tuple[str, str | None]] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Repository, asked)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def test_https_fetches_every_jar_once_and_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    with _repository() as (address, asked):
        folder = ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
        assert ensure_jars(tmp_path, jars=JARS, maven=None, repository=address) == folder
    assert sorted(asked) == [(path, None) for path in CONTENT]
    assert unusable_jars(folder, JARS) == []
    assert sorted(file.name for file in folder.iterdir()) == ["a-1.jar", "b-2.jar"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    unfinished = jars_dir(tmp_path).with_name(f"kafka-{kafka_version()}.partial") / "a-1.jar.part"
    unfinished.parent.mkdir()
    unfinished.write_bytes(CONTENT["org/a/a-1.jar"][:150_000])
    with _repository() as (address, asked):
        folder = ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
    assert [byte_range for path, byte_range in asked if path == "org/a/a-1.jar"] == ["bytes=150000-"]
    assert unusable_jars(folder, JARS) == []


def test_a_wrong_beginning_is_thrown_away_and_fetched_again(tmp_path: Path) -> None:
    unfinished = jars_dir(tmp_path).with_name(f"kafka-{kafka_version()}.partial") / "a-1.jar.part"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"z" * 150_000)
    with _repository() as (address, asked):
        folder = ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
    assert [byte_range for path, byte_range in asked if path == "org/a/a-1.jar"] == ["bytes=150000-", None]
    assert unusable_jars(folder, JARS) == []


def test_a_jar_damaged_in_the_cache_is_fetched_again_and_the_others_are_kept(tmp_path: Path) -> None:
    with _repository() as (address, asked):
        folder = ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
        (folder / "b-2.jar").write_bytes(b"damaged")
        asked.clear()
        ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
    assert asked == [("org/b/b-2.jar", None)]
    assert unusable_jars(folder, JARS) == []


def test_what_is_not_the_pinned_jar_is_never_used(tmp_path: Path) -> None:
    pinned = (JARS[0], Jar("org/b/b-2.jar", "0" * 64))
    with _repository() as (address, _), pytest.raises(JarsUnavailable, match=r"b-2\.jar: its SHA-256 is not"):
        ensure_jars(tmp_path, jars=pinned, maven=None, repository=address)
    assert not jars_dir(tmp_path).exists()


def test_an_unreachable_repository_names_the_ways_out_and_keeps_what_it_has(tmp_path: Path) -> None:
    with _repository() as (address, _), pytest.raises(JarsUnavailable, match="--bootstrap-servers"):
        ensure_jars(tmp_path, jars=(*JARS, Jar("org/c/gone.jar", "0" * 64)), maven=None, repository=address)
    with _repository() as (address, asked):
        ensure_jars(tmp_path, jars=JARS, maven=None, repository=address)
    assert asked == []


def test_https_is_asked_first_and_maven_fills_what_it_leaves(tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    jars = (*JARS, Jar("org/c/c-3.jar", hashlib.sha256(b"c" * 300).hexdigest()))
    # Has the jar that the repository lacks.
    maven.write_text(
        "#!/bin/sh\n"
        'for argument; do case "$argument" in -DoutputDirectory=*) out="${argument#*=}";; esac; done\n'
        "head -c 300 /dev/zero | tr '\\0' c > \"$out/c-3.jar\"\n"
    )
    maven.chmod(0o755)
    with _repository() as (address, asked):
        folder = ensure_jars(tmp_path / "cache", jars=jars, maven=str(maven), repository=address)
    assert {path for path, _ in asked} == {jar.path for jar in jars}
    assert unusable_jars(folder, jars) == []


def test_where_both_ways_fail_the_error_tells_both_reasons(tmp_path: Path) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no route to the mirror'; exit 1\n")
    maven.chmod(0o755)
    jars = (Jar("org/c/gone.jar", "0" * 64),)
    with _repository() as (address, _), pytest.raises(JarsUnavailable, match=r"404(.|\n)*no route"):
        ensure_jars(tmp_path / "cache", jars=jars, maven=str(maven), repository=address)


def test_the_pinned_list_and_the_maven_project_agree_on_the_version() -> None:
    project = ElementTree.parse(KAFKA_RESOURCES / "pom.xml")
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    versions = {
        dependency.findtext("m:artifactId", None, namespace): dependency.findtext(
            "m:version", None, namespace
        )
        for dependency in project.findall(".//m:dependencies/m:dependency", namespace)
    }
    assert versions["kafka_2.13"] == kafka_version()
    pinned = {jar.path.split("/")[-3]: jar.path.split("/")[-2] for jar in pinned_jars()}
    assert versions.items() <= pinned.items()


def test_deploy_kafka_shows_the_very_project_that_the_package_carries() -> None:
    deployed = ROOT / "deploy" / "kafka"
    assert {file.name for file in deployed.iterdir()} >= {"pom.xml", "jars.sha256"}
    for name in ("pom.xml", "jars.sha256"):
        assert (deployed / name).samefile(KAFKA_RESOURCES / name)
