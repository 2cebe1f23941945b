"""The contract of a freshet system as an AsyncAPI 3 document: topics, keys, events, who publishes.

Operations are those of freshet: clients publish what it receives, and read what it sends. The document is a
function of the event models, the topics and the settings; nothing has to run.
"""

from __future__ import annotations

from typing import Any

from freshet.models.events.events import MAX_EVENT_BYTES
from freshet.models.events.json_schemas import component_schemas, event_name, example
from freshet.models.events.wire import ID_PATTERN
from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.topic_admin import topic_configs
from freshet.streams.kafka.topics import RECOMMENDATIONS, REQUESTS, TOPICS, Topic
from freshet.streams.settings import Settings

ASYNCAPI = "3.0.0"
KAFKA_BINDING = "0.5.0"
PARTITIONER = "murmur2"
KEY_EXTENSION = "x-key"
PARTITIONER_EXTENSION = "x-partitioner"

_SCHEMAS = "#/components/schemas/{model}"
_LISTS = ("cleanup.policy",)

_DESCRIPTION = (
    "Clicks, impressions and articles in, fresh top-k recommendations out. Topics are the only contract.\n\n"
    f"A record's value is one JSON object of at most {MAX_EVENT_BYTES >> 20} MiB, its key what the channel's "
    f"`{KEY_EXTENSION}` names, in UTF-8, and its partition Kafka's own choice for that key: murmur2, the "
    "default of Java's client and of the console tools (librdkafka: `partitioner=murmur2_random`). Unknown "
    "fields are ignored, a field that is not required may be left out, and what cannot be read becomes a "
    "dead letter. Times are RFC 3339 with an offset; event time decides every result.\n\n"
    "Version {version} may gain optional fields, so readers ignore what they do not know. Anything else "
    "becomes another version."
)

_HEADERS = {
    "description": "All optional. Headers that freshet does not know are ignored.",
    "type": "object",
    "properties": {
        "traceparent": {
            "type": "string",
            "description": "W3C trace context: the trace that the record belongs to, followed to the answer.",
        }
    },
}


def contract(settings: Settings) -> dict[str, Any]:
    """Build the AsyncAPI document of the system that ``settings`` describe.

    It names the first broker, the prefix, the partitions and the replicas of the settings, and no secret.
    """
    version = str(REQUESTS.event.model_fields["version"].default)
    return {
        "asyncapi": ASYNCAPI,
        "id": f"urn:freshet:{version}",
        "info": {
            "title": "freshet",
            "version": version,
            "description": _DESCRIPTION.format(version=version),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(settings),
        "channels": {topic.name: _channel(settings, topic) for topic in TOPICS},
        "operations": {name: operation for topic in TOPICS for name, operation in _operations(topic).items()},
        "components": {
            "messages": {topic.event.__name__: _message(topic) for topic in TOPICS},
            "schemas": {"Headers": _HEADERS} | component_schemas([topic.event for topic in TOPICS], _SCHEMAS),
            "securitySchemes": {
                "saslPlain": {
                    "type": "plain",
                    "description": "SASL/PLAIN over TLS; FRESHET_KAFKA_USERNAME is freshet's own.",
                }
            },
            "correlationIds": {
                "requestId": {
                    "description": "A recommendation carries the id of the request that it answers.",
                    "location": "$message.payload#/request_id",
                }
            },
        },
    }


def _servers(settings: Settings) -> dict[str, Any]:
    """List the broker of the settings, with each kind of security that a broker may ask for."""
    host = settings.bootstrap_servers.split(",")[0]
    return {
        "local": {
            "host": host,
            "protocol": "kafka",
            "description": "Without authentication, as `freshet up` starts it, on the loopback address only.",
        },
        "tls": {
            "host": host,
            "protocol": "kafka-secure",
            "description": "TLS (FRESHET_KAFKA_TLS): the client verifies the broker.",
        },
        "sasl": {
            "host": host,
            "protocol": "kafka-secure",
            "description": "TLS, and the client says who it is: Kafka's ACLs decide what it may do.",
            "security": [{"$ref": "#/components/securitySchemes/saslPlain"}],
        },
    }


def _channel(settings: Settings, topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        name: value.split(",") if name in _LISTS else int(value)
        for name, value in topic_configs(topic).items()
    }
    kept = (
        "The last record of each key is kept." if topic.cleanup == "compact" else "Old records are deleted."
    )
    return {
        "address": topic_name(settings, topic.name),
        "title": topic.name,
        "description": f"{kept} Published by {topic.published_by}.",
        "messages": {topic.event.__name__: {"$ref": f"#/components/messages/{topic.event.__name__}"}},
        "bindings": {
            "kafka": {
                "partitions": settings.partitions,
                "replicas": settings.replication,
                "topicConfiguration": configuration,
                "bindingVersion": KAFKA_BINDING,
            }
        },
        KEY_EXTENSION: topic.key,
        PARTITIONER_EXTENSION: PARTITIONER,
    }


def _operations(topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"

    def operation(action: str, summary: str) -> dict[str, Any]:
        return {
            "action": action,
            "channel": {"$ref": channel},
            "summary": summary,
            "messages": [{"$ref": f"{channel}/messages/{topic.event.__name__}"}],
        }

    if topic.published_by == "clients":
        receive = operation("receive", "freshet receives what clients publish.")
        if topic is REQUESTS:
            answers = f"#/channels/{RECOMMENDATIONS.name}"
            answer = f"{answers}/messages/{RECOMMENDATIONS.event.__name__}"
            receive["reply"] = {"channel": {"$ref": answers}, "messages": [{"$ref": answer}]}
        return {f"receive-{topic.name}": receive}
    operations = {f"send-{topic.name}": operation("send", "freshet publishes.")}
    if topic.read_back:
        operations[f"receive-{topic.name}"] = operation("receive", "freshet's workers read it back.")
    return operations


def _message(topic: Topic) -> dict[str, Any]:
    name = topic.event.__name__
    message: dict[str, Any] = {
        "name": name,
        "title": event_name(topic.event).replace("-", " ").capitalize(),
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"$ref": _SCHEMAS.format(model=name)},
        "bindings": {"kafka": {"key": _key(topic), "bindingVersion": KAFKA_BINDING}},
        "examples": [{"name": event_name(topic.event), "payload": example(topic.event)}],
    }
    if topic in {REQUESTS, RECOMMENDATIONS}:
        message["correlationId"] = {"$ref": "#/components/correlationIds/requestId"}
    return message


def _key(topic: Topic) -> dict[str, Any]:
    """Schema of the key: an id where the key is a field with one, else a text that the topic describes."""
    if topic.key in topic.event.model_fields:
        field = component_schemas([topic.event], _SCHEMAS)[topic.event.__name__]["properties"][topic.key]
        if field.get("pattern") == ID_PATTERN:
            return {**field, "description": f"The event's `{topic.key}`, in UTF-8."}
    return {"type": "string", "description": f"{topic.key}, in UTF-8."}
