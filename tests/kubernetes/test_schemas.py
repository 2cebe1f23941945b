"""Every manifest is what Kubernetes, KEDA and the Prometheus operator publish as its schema."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.kubernetes.published_schemas import keda_parameters, problems
from tests.kubernetes.rendered import OVERLAYS, of_kind, rendered

_FROM_ENVIRONMENT = "FromEnv"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_of_an_overlay_fits_its_published_schema(overlay: str) -> None:
    manifests = rendered(overlay)
    found = [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {problem}"
        for manifest in manifests
        for problem in problems(manifest)
    ]
    assert not found, "\n".join(found)
    assert len(manifests) > 10


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("StatefulSet", ("spec", "template", "spec", "containers", 0, "readyProbe")),
        ("Deployment", ("spec", "replica")),
        ("NetworkPolicy", ("spec", "policyType")),
        ("PodDisruptionBudget", ("spec", "maxUnavailables")),
        ("ScaledObject", ("spec", "maxReplicas")),
        ("ScaledObject", ("spec", "triggers", 0, "metadatas")),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "intervals")),
        ("PrometheusRule", ("spec", "group")),
    ],
)
def test_a_field_that_the_schema_does_not_have_is_found(kind: str, path: tuple[str | int, ...]) -> None:
    manifest = copy.deepcopy(of_kind(rendered("gpu"), kind)[0])
    assert not list(problems(manifest))
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = "wrong"
    found = list(problems(manifest))
    assert found
    assert str(path[-1]) in found[0]


def test_a_value_of_the_wrong_type_is_found() -> None:
    manifest = copy.deepcopy(of_kind(rendered("gpu"), "StatefulSet")[0])
    manifest["spec"]["podManagementPolicy"] = 1
    assert list(problems(manifest))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_triggers_have_only_parameters_that_kedas_scaler_takes(overlay: str) -> None:
    for scaled in of_kind(rendered(overlay), "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            known = keda_parameters(trigger["type"])
            given = {
                name.removesuffix(_FROM_ENVIRONMENT): (name, value)
                for name, value in trigger["metadata"].items()
            }
            assert given.keys() <= known.keys()
            required = {name for name, parameter in known.items() if not _may_be_left_out(parameter)}
            assert required <= given.keys()
            for parameter, (name, value) in given.items():
                assert isinstance(value, str)
                allowed = known[parameter].get("allowedValue", [value])
                assert value in allowed, f"{name}: {value}"
                if name.endswith(_FROM_ENVIRONMENT):
                    assert known[parameter]["envVariableReadable"]
    assert bool(of_kind(rendered(overlay), "ScaledObject")) == (overlay != "small")


def _may_be_left_out(parameter: dict[str, Any]) -> bool:
    return bool(parameter.get("optional")) or "default" in parameter
