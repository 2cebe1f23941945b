"""A real Prometheus for a test: on a free loopback port, in a folder of its own, stopped in any case.

What it scrapes, which rules it evaluates and how often are the test's to say; what it answers is what Grafana
and Alertmanager would get.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.external_tools import external_tool
from tests.waiting import HANG_S

_HOST = "127.0.0.1"
_POLL_S = 0.05
_LOG_TAIL_BYTES = 3_000


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's result."""

    labels: Mapping[str, str]
    value: float


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


class PrometheusServer:
    """One Prometheus; a context manager that starts it, waits until it is ready, and stops it.

    Args:
        targets: What to scrape: for each job its ``host:port``s.
        folder: Takes its configuration, data and log; must be the test's own.
        rule_files: Alerting and recording rules.
        interval_s: From one scrape, and one evaluation of the rules, to the next.
    """

    def __init__(
        self,
        targets: Mapping[str, Sequence[str]],
        folder: Path,
        rule_files: Sequence[Path] = (),
        interval_s: float = 1.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        interval = f"{round(interval_s * 1_000)}ms"
        self._config_file = folder / "prometheus.yml"
        # JSON is YAML.
        self._config_file.write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": interval,
                        "scrape_timeout": interval,
                        "evaluation_interval": interval,
                    },
                    "rule_files": [str(file.resolve()) for file in rule_files],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                        for job, addresses in targets.items()
                    ],
                }
            )
        )
        self._folder = folder
        self._log_file = folder / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{_HOST}:{free_port()}"
        """Where it answers."""

    def __enter__(self) -> Self:
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    external_tool("prometheus"),
                    f"--config.file={self._config_file}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it; a second call does nothing."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def query(self, promql: str, at_unix_s: float | None = None) -> list[Sample]:
        """The result of an instant query: a vector's samples, or a scalar as one sample without labels.

        Args:
            promql: The query.
            at_unix_s: The time to evaluate it at; by default now.

        Raises:
            AssertionError: Prometheus refused the query; the message carries its reason.
        """
        arguments = {"query": promql} | ({} if at_unix_s is None else {"time": str(at_unix_s)})
        data = self._get("/api/v1/query", arguments)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        assert data["resultType"] == "vector", f"{promql} gives a {data['resultType']}"
        return [Sample(row["metric"], float(row["value"][1])) for row in data["result"]]

    def value(self, promql: str) -> float:
        """The one number that a query gives now; not a number where it gives none.

        Raises:
            AssertionError: It gives more than one.
        """
        samples = self.query(promql)
        assert len(samples) <= 1, f"{promql} gives {len(samples)} series"
        return samples[0].value if samples else math.nan

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing: ``labels``, ``annotations``, ``state``, ``value``."""
        alerts: list[dict[str, Any]] = self._get("/api/v1/alerts", {})["alerts"]
        return alerts

    def targets_up(self) -> dict[str, bool]:
        """For each address that is scraped, whether its last scrape succeeded."""
        targets = self._get("/api/v1/targets", {})["activeTargets"]
        return {target["labels"]["instance"]: target["health"] == "up" for target in targets}

    def _get(self, path: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        # A POST, as Grafana sends it: a query may be longer than an address.
        body = urllib.parse.urlencode(arguments).encode() if arguments else None
        try:
            with urllib.request.urlopen(self.url + path, body, HANG_S) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(
                f"Prometheus refused {arguments or path}: {error.read().decode()}"
            ) from error
        data: dict[str, Any] = answer["data"]
        return data

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + HANG_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=HANG_S):
                    return
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    tail = self._log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
                    what = "ended" if ended else f"was not ready within {HANG_S:g} s"
                    raise AssertionError(f"Prometheus {what}. The end of its log:\n{tail}") from None
            time.sleep(_POLL_S)
