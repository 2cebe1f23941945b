"""``docs/reference/metrics.md``: every metric of :mod:`freshet.streams.metrics`."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase

from freshet.streams import metrics
from tests.documents.markdown_text import code, table

_INTRODUCTION = """\
# Metrics

Every process serves Prometheus' text format at `http://HOST:PORT/metrics`, by default on `127.0.0.1:9464`
([`FRESHET_METRICS_HOST`, `FRESHET_METRICS_PORT`](configuration.md)). Units are in the names: seconds,
bytes, and `ratio` for a number without one. A histogram has the series `_bucket`, `_sum` and `_count`.

Those that begin with `freshet_drift_` say whether readers and articles are still what they were: the
categories clicked in the last day against those before (PSI: above 0.1 look, above 0.25 something has
changed), and the vectors of articles published in the last 24 hours against older ones. Those that begin
with `freshet_experiment_` compare the variants of [experiments](../how-to/experiments.md);
`freshet_bursting_articles` counts the articles that are clicked far more than their past and their exposure
explain ([how](../explanation/exploration.md)). What to show of them: [dashboards](dashboards.md).
"""


def metrics_page() -> str:
    """The page's text, the metrics in the order of their declaration."""
    declared = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    return "\n".join([_INTRODUCTION, *table(["metric", "kind", "labels", "says"], map(_row, declared)), ""])


def _row(metric: MetricWrapperBase) -> list[str]:
    (family,) = metric.describe()
    # A counter's samples have a suffix that its family's name leaves out.
    name = family.name + ("_total" if family.type == "counter" else "")
    # The library has no public name for the labels of a metric that was not yet used.
    labels = ", ".join(code(label) for label in metric._labelnames)
    return [code(name), family.type, labels, family.documentation]
