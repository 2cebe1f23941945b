"""What the manifests say of each other, of freshet's settings and of its topics is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from freshet.streams.kafka.connection import topic_name
from freshet.streams.kafka.group_lag import embedding_group
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.monitoring import endpoint
from freshet.streams.settings import Settings
from freshet.workers.cli.main import main as freshet
from freshet.workers.processes.embedding.models import open_models
from tests.kubernetes.published_schemas import problems
from tests.kubernetes.rendered import (
    KUBERNETES,
    OVERLAYS,
    REPOSITORY,
    Manifest,
    of_kind,
    pods,
    render,
    rendered,
    settings_of,
    workloads,
)

_SECRETS = {"FRESHET_KAFKA_USERNAME", "FRESHET_KAFKA_PASSWORD", "FRESHET_QDRANT_API_KEY"}
_IN_KEDAS_WORDS = {"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}
_METRICS_PORT = 9464

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def test_the_overlays_are_those_that_the_page_describes() -> None:
    page = (REPOSITORY / "docs/how-to/run-on-kubernetes.md").read_text()
    assert set(re.findall(r"deploy/kubernetes/overlays/(\w+)", page)) == set(OVERLAYS)


@every_overlay
def test_every_variable_is_a_setting_of_freshet_and_its_value_is_accepted(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings_of(rendered(overlay))
    known = {f"FRESHET_{field.upper()}" for field in Settings.model_fields}
    assert given.keys() <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.metrics_port == _METRICS_PORT
    assert settings.metrics_host == "0.0.0.0", "the kubelet and Prometheus come from outside the pod"
    assert (settings.qdrant_url is None) == (overlay == "small")


@every_overlay
def test_secrets_come_by_reference_only_and_no_settings_from_anywhere_else(overlay: str) -> None:
    manifests = rendered(overlay)
    assert not of_kind(manifests, "Secret")
    assert not settings_of(manifests).keys() & _SECRETS
    for _, pod in pods(manifests):
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"].startswith("FRESHET_"):
                    assert variable["name"] in _SECRETS
                    assert variable["valueFrom"]["secretKeyRef"]["name"] == "freshet-secrets"


@every_overlay
def test_selectors_select_pods_that_there_are(overlay: str) -> None:
    manifests = rendered(overlay)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}
    for workload in of_kind(manifests, "StatefulSet", "Deployment"):
        name = workload["metadata"]["name"]
        assert _selected(workload["spec"]["selector"], labels) == {name}
        for constraint in workload["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert _selected(constraint["labelSelector"], labels) == {name}
    for named_alike in of_kind(manifests, "PodDisruptionBudget", "PodMonitor"):
        assert _selected(named_alike["spec"]["selector"], labels) == {named_alike["metadata"]["name"]}
    for service in of_kind(manifests, "Service"):
        assert _selected({"matchLabels": service["spec"]["selector"]}, labels) == {"freshet-stream"}
    allowed = {
        policy["metadata"]["name"]: _selected(policy["spec"]["podSelector"], labels)
        for policy in of_kind(manifests, "NetworkPolicy")
    }
    workers = {"freshet-stream", "freshet-embed"}
    expected = {"default-deny": set(labels), "allow-dns": set(labels), "allow-kafka": set(labels)}
    expected |= {"allow-metrics": workers} | ({} if overlay == "small" else {"allow-qdrant": workers})
    assert allowed == expected


@every_overlay
def test_objects_refer_to_objects_that_there_are(overlay: str) -> None:
    manifests = rendered(overlay)
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    assert len(there) == len(manifests)
    for workload in workloads(manifests):
        pod = workload["spec"]["template"]["spec"]
        assert ("ServiceAccount", pod["serviceAccountName"]) in there
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            for source in container["envFrom"]:
                assert ("ConfigMap", source["configMapRef"]["name"]) in there
    for stateful in of_kind(manifests, "StatefulSet"):
        assert ("Service", stateful["spec"]["serviceName"]) in there
    for scaled in of_kind(manifests, "ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in there
        for trigger in scaled["spec"]["triggers"]:
            assert ("authenticationRef" in trigger) == (overlay == "tls")
            if overlay == "tls":
                assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in there
                mechanism = settings_of(manifests)["FRESHET_KAFKA_SASL_MECHANISM"]
                assert trigger["metadata"]["sasl"] == _IN_KEDAS_WORDS[mechanism]
    namespaces = {manifest["metadata"].get("namespace") for manifest in manifests}
    assert namespaces == {None, "freshet"}
    assert [m["kind"] for m in manifests if "namespace" not in m["metadata"]] == ["Namespace"]


@every_overlay
def test_everything_that_a_worker_writes_to_is_a_volume(overlay: str) -> None:
    manifests = rendered(overlay)
    data_dir = settings_of(manifests)["FRESHET_DATA_DIR"]
    for _, pod in pods(manifests):
        (container,) = pod["spec"]["containers"]
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable == {data_dir, "/tmp"}
    (stream,) = of_kind(manifests, "StatefulSet")
    assert [claim["metadata"]["name"] for claim in stream["spec"]["volumeClaimTemplates"]] == ["data"]


@every_overlay
def test_every_pod_satisfies_the_restricted_pod_security_standard(overlay: str) -> None:
    (namespace,) = of_kind(rendered(overlay), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, template in pods(rendered(overlay)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}
            assert resources["limits"].keys() >= {"cpu", "memory"}


@every_overlay
def test_containers_run_verbs_of_freshet(overlay: str) -> None:
    commands = freshet.list_commands(click.Context(freshet))
    for _, pod in pods(rendered(overlay)):
        for container in pod["spec"]["containers"]:
            assert container["args"][0] in commands


@every_overlay
def test_probes_and_scrapes_go_to_the_metrics_port(overlay: str) -> None:
    manifests = rendered(overlay)
    for workload in of_kind(manifests, "StatefulSet", "Deployment"):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert container["ports"] == [{"containerPort": _METRICS_PORT, "name": "metrics"}]
        for probe, path in (
            ("startupProbe", "/readyz"),
            ("readinessProbe", "/readyz"),
            ("livenessProbe", "/healthz"),
        ):
            assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
            assert f"``{path}``" in endpoint.__doc__
    for monitor in of_kind(manifests, "PodMonitor"):
        assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
        assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


@pytest.mark.parametrize("overlay", ["standard", "gpu", "tls"])
def test_scaling_goes_by_the_lag_of_freshets_own_groups_and_no_further_than_partitions(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = rendered(overlay)
    for name, value in settings_of(manifests).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    groups = {
        "freshet-stream": f"{settings.topic_prefix}stream",
        "freshet-embed": embedding_group(settings, open_models(settings).tower.bundle)[0],
    }
    topics = {topic_name(settings, topic.name) for topic in TOPICS}
    scaled_objects = of_kind(manifests, "ScaledObject")
    assert {scaled["metadata"]["name"] for scaled in scaled_objects} == groups.keys()
    for scaled in scaled_objects:
        spec = scaled["spec"]
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= settings.partitions
        for trigger in spec["triggers"]:
            assert trigger["metadata"]["consumerGroup"] == groups[scaled["metadata"]["name"]]
            assert trigger["metadata"]["topic"] in topics
            assert trigger["metadata"]["bootstrapServersFromEnv"] == "FRESHET_BOOTSTRAP_SERVERS"
    for workload in of_kind(manifests, "StatefulSet", "Deployment"):
        assert "replicas" not in workload["spec"], "KEDA sets it; an apply would set it back"


def test_a_gpu_is_asked_for_and_its_nodes_are_chosen_and_tolerated() -> None:
    (embed,) = of_kind(rendered("gpu"), "Deployment")
    pod = embed["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["containers"][0]["image"] != _images(rendered("standard"))["freshet-embed"]


def test_the_network_lets_through_what_the_settings_name() -> None:
    for overlay in ("standard", "tls"):
        manifests = rendered(overlay)
        settings = settings_of(manifests)
        (kafka,) = _egress(manifests, "allow-kafka")
        (qdrant,) = _egress(manifests, "allow-qdrant")
        host, _, port = settings["FRESHET_BOOTSTRAP_SERVERS"].rpartition(":")
        assert host.split(".")[1] == _namespace(kafka)
        assert int(port) in _ports(kafka)
        url = re.fullmatch(r"http://([\w.-]+):(\d+)", settings["FRESHET_QDRANT_URL"])
        assert url is not None
        assert url[1].split(".")[1] == _namespace(qdrant)
        grpc_port = int(settings["FRESHET_QDRANT_GRPC_PORT"])
        assert _ports(qdrant) == {int(url[2]), grpc_port}, "articles and searches go by gRPC"


def test_the_alerts_are_those_of_prometheus() -> None:
    alerts = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yml").read_text())
    written = yaml.safe_load((KUBERNETES / "components/monitoring/prometheus-rule.yaml").read_text())
    assert written["spec"] == alerts, "run deploy/kubernetes/prometheus-rule.sh"
    (rule,) = of_kind(rendered("standard"), "PrometheusRule")
    # kustomize adds empty lines to folded texts, which mean nothing to PromQL.
    assert _one_line(rule["spec"]) == _one_line(alerts)


def test_the_example_of_the_page_is_an_overlay_that_works(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/how-to/run-on-kubernetes.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "freshet").symlink_to(REPOSITORY)
    mine = tmp_path / "my-freshet"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(example)
    manifests = render(mine)
    assert [problem for manifest in manifests for problem in problems(manifest)] == []
    settings = settings_of(manifests)
    assert settings["FRESHET_PARTITIONS"] == "24"
    assert settings["FRESHET_TOPIC_PREFIX"] == "freshet.", "what is not mentioned stays"
    assert {scaled["spec"]["maxReplicaCount"] for scaled in of_kind(manifests, "ScaledObject")} == {24}
    assert all(image.startswith("registry.example.com/") for image in _images(manifests).values())
    (rule,) = _egress(manifests, "allow-kafka")
    assert rule["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]


def test_the_images_are_those_of_compose() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    built = {service["image"] for service in compose["services"].values() if "build" in service}
    for overlay in OVERLAYS:
        assert set(_images(rendered(overlay)).values()) <= built


def _one_line(part: Any) -> Any:
    """``part`` with all white space in its texts made single spaces."""
    if isinstance(part, dict):
        return {key: _one_line(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_one_line(value) for value in part]
    return " ".join(part.split()) if isinstance(part, str) else part


def _images(manifests: tuple[Manifest, ...]) -> dict[str, str]:
    return {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(manifests)}


def _selected(selector: dict[str, Any], labels: dict[str, dict[str, str]]) -> set[str]:
    wanted: dict[str, set[str]] = {key: {value} for key, value in selector.get("matchLabels", {}).items()}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        wanted[expression["key"]] = set(expression["values"])
    return {
        name
        for name, of_pod in labels.items()
        if all(of_pod.get(key) in values for key, values in wanted.items())
    }


def _egress(manifests: tuple[Manifest, ...], name: str) -> list[dict[str, Any]]:
    (policy,) = [p for p in of_kind(manifests, "NetworkPolicy") if p["metadata"]["name"] == name]
    rules: list[dict[str, Any]] = policy["spec"]["egress"]
    return rules


def _namespace(rule: dict[str, Any]) -> str:
    (peer,) = rule["to"]
    name: str = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return name


def _ports(rule: dict[str, Any]) -> set[int]:
    return {port["port"] for port in rule["ports"]}
