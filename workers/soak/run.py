"""Soaks a whole system: `freshet up` under steady traffic, watched for what a test of a minute cannot show.

At the end every request was answered, nothing waits, no member has left its consumer group, and memory,
threads, open files and log lines do not grow.
"""

from __future__ import annotations

import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from freshet.streams.client import Freshet
from freshet.streams.kafka.connection import client_config
from freshet.streams.settings import Settings
from freshet.workers.bench.report import Figure, Machine, percentile_ms
from freshet.workers.processes.metrics_page import MetricsPage
from freshet.workers.processes.up_process import UpProcess
from freshet.workers.soak.traffic import Newspaper
from freshet.workers.soak.vitals import Vitals, growth_per_min, sample, settled

INTERVALS = {"FRESHET_ATTRIBUTION_WINDOW_S": "600"}
"""Settings that every soak shortens: answers and impressions are remembered for half an hour by default."""
SHORT_INTERVALS = {
    "FRESHET_ATTRIBUTION_WINDOW_S": "120",
    "FRESHET_MAX_POLL_INTERVAL_S": "40",
    "FRESHET_SESSION_TIMEOUT_S": "6",
    "FRESHET_METADATA_MAX_AGE_S": "10",
    "FRESHET_CONNECTIONS_MAX_IDLE_S": "20",
}
"""Intervals that matter within the hour, shortened, by their environment variables."""
SHORT_BROKER_INTERVALS = {
    "connections.max.idle.ms": "20000",
    "log.retention.check.interval.ms": "10000",
    "log.cleaner.backoff.ms": "5000",
}
"""Shortened intervals of the broker, by property."""
SHORT_TOPIC_INTERVALS = {"segment.ms": "60000", "retention.ms": "60000", "min.cleanable.dirty.ratio": "0.1"}
"""Shortened intervals of every topic; only topics that delete have a retention."""

_OURS, _BROKER = "freshet", "java"
_START_TIMEOUT_S = 300.0
_DRAIN_TIMEOUT_S = 60.0
_LOOKS = 150
"""Samples in a run; at most one in two seconds."""
_LEAST_S = 2.0
_PROBE_TIMEOUT_S = 5.0
_JUDGED_FROM_S = 1_500.0
"""A shorter run is all warm-up, to which the tables' write buffers contribute 18 minutes: its memory and open
files are reported and not judged."""
_MEMORY_GROWTH_MB_PER_MIN = 1.0
_OPEN_FILES_GROWTH_PER_MIN = 1.0
"""The tables' files come and go by tens as they are compacted."""
_LOG_LINES_PER_MIN = 10.0
_MB = 1e6


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """Options of a soak: duration, rates and intervals."""

    seconds: float = 1_500.0
    impressions_per_s: float = 20.0
    requests_per_s: float = 5.0
    short_intervals: bool = False
    embed: bool = True
    """Embed the articles in the system; without, they are ranked by their statistics alone."""


@dataclass(frozen=True, slots=True)
class SoakReport:
    """Findings of a soak, with its samples."""

    figures: Sequence[Figure]
    machine: Machine
    options: SoakOptions
    vitals: dict[str, list[Vitals]]
    """Samples over time of each process, by the program's name."""

    @property
    def reached(self) -> bool:
        """Whether every target was reached."""
        return all(figure.reached is not False for figure in self.figures)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for ``--json``."""
        return {
            "version": 1,
            "soak": asdict(self.options),
            "figures": [figure.as_json() for figure in self.figures],
            "reached": self.reached,
            "machine": asdict(self.machine),
            "vitals": {name: [asdict(each) for each in samples] for name, samples in self.vitals.items()},
        }


def soak(options: SoakOptions, progress: Callable[[float], None] = lambda share: None) -> SoakReport:
    """Run a system of its own in a temporary folder under ``options``' traffic, and judge it.

    Raises:
        UpFailed: The system did not start, or ended.
        FreshetError: An event could not be published.
    """
    machine = Machine.here()
    with tempfile.TemporaryDirectory(prefix="freshet-soak-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        with UpProcess(
            folder / "data",
            folder / "up.log",
            embed=options.embed,
            environment=SHORT_INTERVALS if options.short_intervals else INTERVALS,
            kafka_properties=SHORT_BROKER_INTERVALS if options.short_intervals else {},
        ) as up:
            up.wait_until_ready(_START_TIMEOUT_S)
            if options.short_intervals:
                _shorten_topics(up.settings)
            with Freshet(up.settings) as client:
                newspaper = Newspaper(folder / "newspaper", client)
                watch = _Watch(up, max(_LEAST_S, options.seconds / _LOOKS))

                def on_tick(passed_s: float) -> None:
                    watch.look_if_due()
                    progress(passed_s / options.seconds)

                newspaper.send(options.seconds, options.impressions_per_s, options.requests_per_s, on_tick)
                watch.look()
                unanswered = newspaper.unanswered()
            lag = watch.drained()
    return SoakReport(_figures(newspaper, unanswered, lag, watch, options), machine, options, watch.vitals)


class _Watch:
    """Looks at a running system from outside: its processes, its log, its health, its consumer groups."""

    def __init__(self, up: UpProcess, every_s: float) -> None:
        self._up = up
        self._every_s = every_s
        self._due_s = 0.0
        self.vitals: dict[str, list[Vitals]] = {_OURS: [], _BROKER: []}
        self.unhealthy: list[str] = []
        """Answers of ``/healthz`` and ``/readyz`` that were not 200."""
        self.members: dict[str, set[str]] = {}
        """The ids of all members that each group ever had."""

    def look_if_due(self) -> None:
        if time.monotonic() >= self._due_s:
            self.look()

    def look(self) -> None:
        now_s = time.monotonic()
        self._due_s = now_s + self._every_s
        self._up.check()
        root = psutil.Process(self._up.pid)
        java = [child for child in root.children(recursive=True) if child.name() == _BROKER]
        lines = self._up.log_file.read_bytes().count(b"\n")
        for name, process in zip(self.vitals, [root, *java], strict=False):
            self.vitals[name].append(sample(process, now_s, lines if process is root else 0))
        for page in ("healthz", "readyz"):
            if (reason := self._trouble(page)) is not None:
                self.unhealthy.append(reason)
        with closing(KafkaAdminClient(**client_config(self._up.settings))) as admin:
            groups = [group["group_id"] for group in admin.list_groups()]
            for group, described in admin.describe_groups(groups).items():
                if members := {member["member_id"] for member in described["members"]}:
                    self.members.setdefault(group, set()).update(members)

    def drained(self) -> float:
        """Wait until nothing is left to do, and return how many events still wait."""
        deadline_s = time.monotonic() + _DRAIN_TIMEOUT_S
        while True:
            lag = self._page().total("freshet_group_lag_events")
            if not lag or time.monotonic() > deadline_s:
                return lag
            time.sleep(1.0)

    def _page(self) -> MetricsPage:
        return MetricsPage.read(self._up.settings.metrics_host, self._up.settings.metrics_port)

    def _trouble(self, page: str) -> str | None:
        url = f"http://{self._up.settings.metrics_host}:{self._up.settings.metrics_port}/{page}"
        try:
            with urllib.request.urlopen(url, timeout=_PROBE_TIMEOUT_S):
                return None
        except urllib.error.HTTPError as error:
            return f"{page}: {error.read().decode(errors='replace').strip()}"
        except OSError as error:
            return f"{page}: {error}"


def _shorten_topics(settings: Settings) -> None:
    with closing(KafkaAdminClient(**client_config(settings))) as admin:
        names = [name for name in admin.list_topics() if name.startswith(settings.topic_prefix)]
        described = admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names], config_filter="all"
        )["topic"]
        admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC,
                    name,
                    configs={
                        key: value
                        for key, value in SHORT_TOPIC_INTERVALS.items()
                        if key != "retention.ms" or config["cleanup.policy"]["value"] == "delete"
                    },
                )
                for name, config in described.items()
            ]
        )


def _figures(
    newspaper: Newspaper, unanswered: Sequence[str], lag: float, watch: _Watch, options: SoakOptions
) -> list[Figure]:
    left = sum(len(members) - 1 for members in watch.members.values())
    figures = [
        Figure("requests", len(newspaper.answers), ""),
        _at_most("requests without an answer", len(unanswered), 0),
        Figure("answer, p50", percentile_ms(newspaper.latencies_s, 50), "ms"),
        Figure("answer, p99", percentile_ms(newspaper.latencies_s, 99), "ms"),
        _at_most("events not done at the end", lag, 0),
        _at_most("members that left a group", left, 0),
        _at_most("looks at which it was not healthy and ready", len(watch.unhealthy), 0),
    ]
    for name, samples in watch.vitals.items():
        later = settled(samples)
        times_s = [each.at_s for each in later]
        memory = growth_per_min(times_s, [each.memory_bytes / _MB for each in later])
        judged = options.seconds >= _JUDGED_FROM_S
        # The broker's heap grows up to its limit before it is collected; there is nothing to judge.
        judged_memory = judged and name == _OURS
        figures += [
            Figure(f"{name}: memory", later[-1].memory_bytes / _MB, "MB"),
            _at_most(
                f"{name}: memory's growth",
                memory,
                _MEMORY_GROWTH_MB_PER_MIN if judged_memory else None,
                "MB/min",
            ),
            _at_most(
                f"{name}: threads' growth",
                growth_per_min(times_s, [each.threads for each in later]),
                0,
                "/min",
            ),
            _at_most(
                f"{name}: open files' growth",
                growth_per_min(times_s, [each.open_files for each in later]),
                _OPEN_FILES_GROWTH_PER_MIN if judged else None,
                "/min",
            ),
        ]
    later = settled(watch.vitals[_OURS])
    lines = 60.0 * (later[-1].log_lines - later[0].log_lines) / (later[-1].at_s - later[0].at_s)
    return [*figures, _at_most("log lines", lines, _LOG_LINES_PER_MIN, "/min")]


def _at_most(what: str, value: float, most: float | None, unit: str = "") -> Figure:
    if most is None:
        return Figure(what, value, unit)
    return Figure(what, value, unit, target=f"at most {most:g}", reached=value <= most)
