"""What the Compose file tells Kafka is what Kafka knows: names that it does not know, it ignores."""

from __future__ import annotations

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from freshet.workers.processes.kafka.broker import LocalKafka
from tests.compose.compose_file import project

NOT_PROPERTIES = {"KAFKA_HEAP_OPTS"}


@pytest.mark.broker
def test_every_property_is_one_that_the_broker_has(kafka: LocalKafka) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        resource = ConfigResource(ConfigResourceType.BROKER, "1")
        known = set(admin.describe_configs([resource], config_filter="all")["broker"]["1"])
    finally:
        admin.close()
    environment = project()["services"]["kafka"]["environment"]
    told = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in environment
        if name.startswith("KAFKA_") and name not in NOT_PROPERTIES
    }
    assert len(told) > len(environment) / 2
    assert told <= known


def test_every_listener_is_advertised_and_mapped_but_the_controllers() -> None:
    environment = project()["services"]["kafka"]["environment"]

    def names(variable: str, separator: str) -> set[str]:
        return {part.partition(separator)[0] for part in environment[variable].split(",")}

    listeners = names("KAFKA_LISTENERS", "://")
    assert names("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", ":") == listeners
    controllers = set(environment["KAFKA_CONTROLLER_LISTENER_NAMES"].split(","))
    assert names("KAFKA_ADVERTISED_LISTENERS", "://") == listeners - controllers
    inside = environment["KAFKA_INTER_BROKER_LISTENER_NAME"]
    servers = project()["services"]["stream"]["environment"]["FRESHET_BOOTSTRAP_SERVERS"]
    assert f"{inside}://{servers}" in environment["KAFKA_ADVERTISED_LISTENERS"].split(",")
