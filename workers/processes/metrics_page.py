"""Snapshots of a process' Prometheus endpoint, and quantiles of its histograms.

The difference of two snapshots shows what happened between them.
"""

from __future__ import annotations

import http.client
import math
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0


class MetricsUnavailable(OSError):
    """The endpoint did not answer with a page of metrics."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: the number of observations up to each bound."""

    bounds: Sequence[float]
    """Upper bounds, ascending, the last infinite; empty if nothing was ever observed."""
    counts: Sequence[float]
    """Cumulative counts, one for each bound."""

    @property
    def count(self) -> float:
        """Number of observations."""
        return self.counts[-1] if self.counts else 0.0

    def since(self, earlier: Buckets) -> Buckets:
        """Subtract the observations up to ``earlier``."""
        before = dict(zip(earlier.bounds, earlier.counts, strict=True))
        counts = [
            count - before.get(bound, 0.0) for bound, count in zip(self.bounds, self.counts, strict=True)
        ]
        return Buckets(self.bounds, counts)

    def quantile(self, q: float) -> float | None:
        """Estimate the ``q`` quantile as Prometheus' ``histogram_quantile``; ``None`` without observations.

        The estimate is linear between a bucket's bounds, and at most the largest finite bound.
        """
        if not self.count:
            return None
        rank = q * self.count
        lower, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank and count > below:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * max(0.0, rank - below) / (count - below)
            lower, below = bound, count
        return lower


class MetricsPage:
    """A page in Prometheus' text format."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, float(sample.value)))

    @classmethod
    def read(cls, host: str, port: int) -> MetricsPage:
        """Fetch the page as it is now.

        Raises:
            MetricsUnavailable: The page cannot be read.
        """
        return cls.read_url(f"http://{host}:{port}/metrics")

    @classmethod
    def read_url(cls, url: str, timeout_s: float = _TIMEOUT_S) -> MetricsPage:
        """Fetch the page at ``url`` as it is now, with the error of :meth:`read`."""
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:
                return cls(answer.read().decode())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MetricsUnavailable(f"{url}: {error}") from error

    def total(self, name: str, **labels: str) -> float:
        """Sum the samples called ``name`` that carry ``labels``; 0 if there are none."""
        return sum(value for _, value in self._matching(name, labels))

    def buckets(self, name: str, **labels: str) -> Buckets:
        """Sum the histograms called ``name`` that carry ``labels``."""
        counts: dict[float, float] = {}
        for sample_labels, value in self._matching(f"{name}_bucket", labels):
            bound = float(sample_labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        bounds = sorted(counts)
        return Buckets(bounds, [counts[bound] for bound in bounds])

    def _matching(self, name: str, labels: Mapping[str, str]) -> list[tuple[Mapping[str, str], float]]:
        return [
            (sample_labels, value)
            for sample_labels, value in self._samples.get(name, ())
            if labels.items() <= sample_labels.items()
        ]
