"""Checks manifests against the schemas that Kubernetes, KEDA and the Prometheus operator publish.

Guarantee: a field that the schema does not have is an error, as with ``kubectl apply``'s strict validation.
Kubernetes' schemas come with the package ``kubernetes-validate``, the others' custom resource definitions
with their Go modules, whose checksums are checked. What only a cluster checks (admission, CEL rules, quotas)
is not.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.external_tools import external_tool

KUBERNETES_VERSIONS = ("1.31", "1.37")
"""The oldest and the newest that the manifests are meant for."""

_KEDA = ("github.com/kedacore/keda/v2@v2.21.0", "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=")
_PROMETHEUS_OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
_DEFINITIONS = {
    "keda.sh": (_KEDA, "config/crd/bases/keda.sh_{}s.yaml"),
    "monitoring.coreos.com": (
        _PROMETHEUS_OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_{}s.yaml",
    ),
}


def problems(manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong with ``manifest``, each with the path to the field."""
    group = manifest["apiVersion"].rpartition("/")[0]
    if group in _DEFINITIONS:
        yield from _problems_of_custom(manifest, group)
        return
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"


@functools.cache
def keda_parameters(scaler: str) -> dict[str, dict[str, Any]]:
    """The parameters that KEDA's trigger of type ``scaler`` takes, by name."""
    published = json.loads((_module(*_KEDA) / "schema/generated/scalers-schema.json").read_text())
    (found,) = (entry for entry in published["scalers"] if entry["type"] == scaler)
    return {parameter["name"]: parameter for parameter in found["parameters"]}


def _problems_of_custom(manifest: dict[str, Any], group: str) -> Iterator[str]:
    schema = _custom_schema(group, manifest["apiVersion"].rpartition("/")[2], manifest["kind"].lower())
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


@functools.cache
def _custom_schema(group: str, version: str, kind: str) -> dict[str, Any]:
    module, path = _DEFINITIONS[group]
    definition = yaml.safe_load((_module(*module) / path.format(kind)).read_text())
    (found,) = (entry for entry in definition["spec"]["versions"] if entry["name"] == version)
    schema: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    # The API server knows what is in these; the definition leaves them open.
    schema["properties"]["metadata"] = {"type": "object"}
    _close(schema)
    return schema


def _close(schema: dict[str, Any]) -> None:
    """Refuse fields that ``schema`` does not name, where the API server would drop them."""
    properties = schema.get("properties", {})
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if properties and not is_open:
        schema["additionalProperties"] = False
    inner = [*properties.values(), schema.get("items"), schema.get("additionalProperties")]
    for part in inner:
        if isinstance(part, dict):
            _close(part)


@functools.cache
def _module(module: str, checksum: str) -> Path:
    """The folder of a Go module, downloaded unless it is in Go's cache."""
    done = subprocess.run(
        [str(external_tool("go")), "mod", "download", "-json", module],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    assert done.returncode == 0, f"{module} could not be downloaded: {done.stderr or done.stdout}"
    downloaded = json.loads(done.stdout)
    assert downloaded["Sum"] == checksum, f"{module} has the checksum {downloaded['Sum']}, not {checksum}"
    return Path(downloaded["Dir"])
