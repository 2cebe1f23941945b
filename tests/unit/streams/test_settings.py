"""Settings: a knob from its option, else its variable, else its default; a refusal says which of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import ValidationError

from freshet.streams.kafka.connection import client_config
from freshet.streams.kafka.faust_app import faust_app
from freshet.streams.settings import Settings
from freshet.workers.terminal.connection_options import settings_options


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"FRESHET_{field.upper()}", raising=False)


def invoke(*args: str, **environment: str) -> tuple[Result, Settings | None]:
    got: list[Settings] = []

    @click.command()
    @settings_options("metrics_port")
    def command(settings: Settings) -> None:
        got.append(settings)

    return CliRunner().invoke(command, args, env=environment), got[0] if got else None


def test_an_option_wins_over_the_environment_and_the_environment_over_the_default() -> None:
    _, default = invoke()
    _, environment = invoke(FRESHET_BOOTSTRAP_SERVERS="b:2", FRESHET_DATA_DIR="/data")
    _, option = invoke("--bootstrap-servers", "c:3", FRESHET_BOOTSTRAP_SERVERS="b:2")
    assert default == Settings()
    assert environment is not None
    assert (environment.bootstrap_servers, environment.data_dir) == ("b:2", Path("/data"))
    assert option is not None
    assert option.bootstrap_servers == "c:3"


@pytest.mark.parametrize(
    ("args", "environment", "named"),
    [
        (["--topic-prefix", "a b"], {}, "--topic-prefix"),
        (["--metrics-port", "many"], {}, "--metrics-port"),
        ([], {"FRESHET_METRICS_PORT": "70000"}, "FRESHET_METRICS_PORT"),
        ([], {"FRESHET_POOLING": "max"}, "FRESHET_POOLING"),
        ([], {"FRESHET_HALF_LIVES_S": "2 hours"}, "half_lives_s"),
    ],
)
def test_a_refused_value_is_wrong_usage_and_names_where_it_came_from(
    args: list[str], environment: dict[str, str], named: str
) -> None:
    result, settings = invoke(*args, **environment)
    assert settings is None
    assert result.exit_code == 2
    assert named in result.output


def test_a_list_comes_from_the_environment_as_json() -> None:
    _, settings = invoke(FRESHET_HALF_LIVES_S="[60, 3600.5]")
    assert settings is not None
    assert settings.half_lives_s == (60.0, 3600.5)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().partitions = 3


def test_secrets_reach_kafka_and_no_text() -> None:
    settings = Settings.model_validate(
        {"kafka_username": "me", "kafka_password": "hush", "qdrant_api_key": "quiet"}
    )
    config = client_config(settings)
    assert (config["security_protocol"], config["sasl_plain_password"]) == ("SASL_SSL", "hush")
    assert config["sasl_mechanism"] == "PLAIN"
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hush" not in text
        assert "quiet" not in text


@pytest.mark.parametrize("alone", ["kafka_username", "kafka_password"])
def test_half_of_the_credentials_is_refused_instead_of_connecting_without_any(alone: str) -> None:
    with pytest.raises(ValidationError, match="belong together") as refused:
        Settings.model_validate({alone: "hush"})
    assert "hush" not in str(refused.value.errors(include_input=False))


def test_half_of_the_credentials_is_wrong_usage() -> None:
    result, _ = invoke(FRESHET_KAFKA_USERNAME="me")
    assert result.exit_code == 2
    assert "Error: FRESHET_KAFKA_USERNAME and FRESHET_KAFKA_PASSWORD belong together" in result.output


def test_tls_without_a_password_is_tls_and_nothing_is_plain_text() -> None:
    assert client_config(Settings(kafka_tls=True))["security_protocol"] == "SSL"
    plain = client_config(Settings(bootstrap_servers="a:1,b:2"))
    assert plain["bootstrap_servers"] == ["a:1", "b:2"]
    assert not {"security_protocol", "ssl_context"} & plain.keys()


def test_every_client_takes_the_intervals_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        session_timeout_s=6.0,
        max_poll_interval_s=40.0,
        metadata_max_age_s=10.0,
        connections_max_idle_s=20.0,
    )
    config = client_config(settings)
    assert (config["metadata_max_age_ms"], config["connections_max_idle_ms"]) == (10_000, 20_000)
    assert config["request_timeout_ms"] < 20_000, "kafka-python refuses the consumer else"
    conf = faust_app(settings).conf
    assert (conf.broker_session_timeout, conf.broker_max_poll_interval) == (6.0, 40.0)
    assert conf.broker_heartbeat_interval < 6.0 / 3
    assert (conf.consumer_metadata_max_age_ms, conf.consumer_connections_max_idle_ms) == (10_000, 20_000)
    assert (conf.producer_metadata_max_age_ms, conf.producer_connections_max_idle_ms) == (10_000, 20_000)


def test_fausts_own_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_MAX_POLL_INTERVAL", "40")
    assert faust_app(Settings(data_dir=tmp_path)).conf.broker_max_poll_interval == 40.0
