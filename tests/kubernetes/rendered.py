"""The manifests of deploy/kubernetes as kustomize makes them, for tests that look at the result."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.external_tools import external_tool
from tests.one_at_a_time import one_at_a_time
from tests.repository import ROOT

REPOSITORY = ROOT
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = tuple(sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir()))

_KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
"""The newest that Go 1.26 builds."""

Manifest = dict[str, Any]


@functools.cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """What ``kubectl apply -k deploy/kubernetes/overlays/<overlay>`` would send."""
    return render(KUBERNETES / "overlays" / overlay)


def render(folder: Path) -> tuple[Manifest, ...]:
    """The objects of a folder with a ``kustomization.yaml``; fails with kustomize's own words."""
    done = subprocess.run([*_kustomize(), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    """Those of one of ``kinds``."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def workloads(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Everything that starts pods."""
    return [manifest for manifest in manifests if "template" in manifest.get("spec", {})]


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """Name and pod template of everything that starts pods."""
    for workload in workloads(manifests):
        yield workload["metadata"]["name"], workload["spec"]["template"]


def settings_of(manifests: tuple[Manifest, ...]) -> dict[str, str]:
    """The content of the one ConfigMap of settings."""
    (found,) = of_kind(manifests, "ConfigMap")
    data: dict[str, str] = found["data"]
    return data


@functools.cache
def _kustomize() -> tuple[str, ...]:
    """The command: kustomize or kubectl (which has it built in) from the PATH, else built from its source."""
    if found := shutil.which("kustomize"):
        return (found, "build")
    kubectl = shutil.which("kubectl")
    if kubectl is not None and _has_kustomize_5(kubectl):
        return (kubectl, "kustomize")
    folder = REPOSITORY / "build" / "kustomize" / _KUSTOMIZE.rpartition("@")[2]
    program = folder / "kustomize"
    with one_at_a_time("kustomize"):
        if not program.exists():
            # Neither optimised nor with symbols: it runs for a second, and builds in half a minute.
            flags = ["-gcflags=all=-N -l", "-ldflags=-s -w"]
            environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": ""}
            subprocess.run(
                [str(external_tool("go")), "install", *flags, _KUSTOMIZE],
                env=environment,
                check=True,
            )
    return (str(program), "build")


def _has_kustomize_5(kubectl: str) -> bool:
    done = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True, check=False)
    if done.returncode != 0:
        return False
    return re.match(r"v[5-9]", json.loads(done.stdout).get("kustomizeVersion", "")) is not None
