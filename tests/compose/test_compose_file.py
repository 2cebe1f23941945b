"""docker-compose.yml: valid for docker compose, safe by default, and of one piece with freshet."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from freshet.streams.kafka.connection import MAX_REQUEST_BYTES
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main
from freshet.workers.processes.kafka.jars import kafka_version
from tests.compose.compose_file import ALL_PROFILES, FILE, ROOT, ComposeFileRefused, project
from tests.external_tools import external_tool

ONE_SHOT = {"topics", "newspaper", "replay"}
OURS = {"topics", "stream", "embed", "embed-gpu", "newspaper", "replay"}
SECRET = re.compile(r"password|secret|token|api_?key|credential", re.IGNORECASE)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service, with all profiles."""
    found: dict[str, Any] = project(*ALL_PROFILES)["services"]
    return found


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ((), set()),
        (("gpu",), {"embed-gpu"}),
        (("replay",), {"newspaper", "replay"}),
        (ALL_PROFILES, {"embed-gpu", "newspaper", "replay"}),
    ],
)
def test_each_profile_is_valid_and_adds_what_it_names(profiles: tuple[str, ...], expected: set[str]) -> None:
    always = {"kafka", "qdrant", "topics", "stream", "embed", "prometheus", "grafana"}
    assert project(*profiles)["services"].keys() == always | expected


def test_a_file_that_docker_compose_refuses_is_refused_here(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("interval: 30s", "intervall: 30s"))
    with pytest.raises(ComposeFileRefused, match="intervall"):
        project(file=wrong)


def test_images_are_pinned_by_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?$", service["image"]), name
    assert services["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["published"] for port in published} == {"9092", "9090", "3000"}
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_there_is_no_secret_in_the_file(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            assert not SECRET.search(f"{variable}={value}"), f"{name}: {variable}"


def test_every_container_has_only_the_rights_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        # The image of Kafka writes its configuration into its own file system when it starts.
        assert service.get("read_only", False) is (name != "kafka"), name
        for unwanted in ("privileged", "pid", "ipc", "cap_add", "devices"):
            assert unwanted not in service, name


def test_every_container_is_bounded(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


def test_what_runs_on_has_a_health_check_and_restarts_and_what_ends_does_not(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        if name in ONE_SHOT:
            assert service["restart"] == "no", name
            assert service["healthcheck"] == {"disable": True}, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_a_dependency_is_waited_for_until_it_is_healthy_or_done(services: dict[str, Any]) -> None:
    waits = 0
    for service in services.values():
        for dependency, how in service.get("depends_on", {}).items():
            done = dependency in ONE_SHOT
            assert how["condition"] == ("service_completed_successfully" if done else "service_healthy")
            waits += 1
    assert waits > len(OURS)
    for worker in ("stream", "embed", "embed-gpu"):
        assert services[worker]["depends_on"].keys() == {"kafka", "qdrant", "topics"}


def test_workers_scale(services: dict[str, Any]) -> None:
    for name in ("stream", "embed", "embed-gpu"):
        assert "container_name" not in services[name]
        assert "ports" not in services[name]
    # One volume each: two workers with one folder have one name in their group, and one fences off the other.
    (data,) = (mount for mount in services["stream"]["volumes"] if mount["target"] == "/var/lib/freshet")
    assert data == {"type": "volume", "target": "/var/lib/freshet"}


def test_every_variable_of_our_containers_is_a_setting(services: dict[str, Any]) -> None:
    known = {f"FRESHET_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        environment = services[name]["environment"]
        assert environment.keys() <= known, name
        assert environment == services["stream"]["environment"], f"{name} differs from stream"


def test_the_settings_are_accepted(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in services["stream"]["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.bootstrap_servers == "kafka:19092"
    assert settings.metrics_host == "0.0.0.0"
    assert str(settings.metrics_port) in " ".join(services["stream"]["healthcheck"]["test"])


def test_variables_reach_where_they_are_used() -> None:
    changed = project("replay", FRESHET_PARTITIONS="32", FRESHET_REPLAY_SPEED="60")["services"]
    assert {changed[name]["environment"]["FRESHET_PARTITIONS"] for name in ("topics", "stream", "embed")} == {
        "32"
    }
    assert "60" in changed["replay"]["command"]


def test_every_command_is_a_verb_with_such_options(services: dict[str, Any]) -> None:
    for name in OURS:
        words = list(services[name]["command"])
        command: click.Command = main
        with click.Context(main) as context:
            while isinstance(command, click.Group):
                found = command.get_command(context, words.pop(0))
                assert found is not None, services[name]["command"]
                command = found
            options = {flag for option in command.params for flag in option.opts}
        assert {word for word in words if word.startswith("--")} <= options, name


def test_every_file_that_is_mounted_or_built_from_is_in_the_repository(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                assert Path(mount["source"]).exists(), f"{name}: {mount['source']}"
                assert mount["read_only"] is True, name
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file(), name
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "deploy/grafana/dashboards" / Path(home).name).is_file()


def test_grafana_finds_prometheus_and_the_dashboards(services: dict[str, Any]) -> None:
    mounted = {mount["target"]: mount["source"] for mount in services["grafana"]["volumes"]}
    provisioning = Path(mounted["/etc/grafana/provisioning"])
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/freshet.yml").read_text())["providers"]
    assert Path(mounted[provider["options"]["path"]]) == ROOT / "deploy/grafana/dashboards"


def test_prometheus_accepts_its_configuration_and_finds_every_replica(services: dict[str, Any]) -> None:
    file = ROOT / "deploy/prometheus/prometheus.yml"
    subprocess.run([external_tool("promtool"), "check", "config", file], check=True, capture_output=True)
    found: dict[str, set[str]] = {}
    for job in yaml.safe_load(file.read_text())["scrape_configs"]:
        for discovery in job.get("dns_sd_configs", []):
            # An A record for each container; a service's own name is all that Docker's DNS knows.
            assert (discovery["type"], discovery["port"]) == ("A", 9464)
            found[job["job_name"]] = set(discovery["names"])
    assert found == {"freshet-stream": {"stream"}, "freshet-embed": {"embed", "embed-gpu"}}
    assert found["freshet-stream"] | found["freshet-embed"] <= services.keys()


def test_kafka_takes_the_largest_event_and_makes_no_topic_by_itself(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    assert int(environment["KAFKA_MESSAGE_MAX_BYTES"]) == MAX_REQUEST_BYTES
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


class _Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def health_port() -> Iterator[int]:
    """Where something answers on /readyz with ``_Health.status``."""
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("service", ["stream", "qdrant"])
def test_a_health_check_tells_ready_from_not_ready_and_from_gone(
    services: dict[str, Any], service: str, health_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = int(unused.getsockname()[1])
    assert _check(services, service, health_port) == 0
    assert _check(services, service, nobody) != 0
    monkeypatch.setattr(_Health, "status", 503)
    assert _check(services, service, health_port) != 0


def _check(services: dict[str, Any], service: str, port: int) -> int:
    """The exit status of a health check, run here against another port."""
    how, command = services[service]["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    # What Compose writes as $$ is one $ for the shell.
    command = re.sub(r"\b(9464|6333)\b", str(port), command).replace("$$", "$")
    command = re.sub(r"^python ", f"{sys.executable} ", command)
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False).returncode
