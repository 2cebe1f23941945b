"""The overview: whether readers are served well; each number leads to the dashboard with more of it."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.freshness import BURN, FRESH_SHARE, FRESH_THRESHOLD, OBJECTIVE, VECTOR_SECONDS
from deploy.dashboards.panels import Above, Below, Dashboard, NoThreshold, Row, graph, stat
from deploy.dashboards.promql import (
    answers_bad,
    budget_burn,
    increase,
    most,
    per_second,
    quantile,
    series,
    share,
)

_TRAFFIC = NoThreshold("what is much or little depends on the paper and the hour")

OVERVIEW = Dashboard(
    "overview",
    "freshet / Overview",
    "Whether readers are served, fast, from fresh vectors and in a good order.",
    (
        Row(
            "Now",
            (
                stat(
                    "Alerts firing",
                    units.Number,
                    Above(1, 1),
                    "Alerts of freshet's that fire, whatever is chosen above; each has a runbook. 0 too "
                    "where Prometheus has no rules of freshet's.",
                    'sum(ALERTS{alertname=~"Freshet.+", alertstate="firing"}) or vector(0)',
                    width=8,
                ),
                stat(
                    "Answers: error budget burn, last hour",
                    units.Number,
                    BURN,
                    "How fast answers that took longer than 100 ms or came without the index use up the 1 % "
                    "that may: at 1 it lasts for the period of three days, at 14.4 it is gone in five hours.",
                    budget_burn(answers_bad(), OBJECTIVE),
                    width=8,
                    detail="quality",
                ),
                stat(
                    "Longest without progress",
                    units.Seconds,
                    Above(5, 15),
                    "How long a partition has had events and none of them was done. Its worker is gone, or "
                    "its consumer hangs.",
                    most("freshet_consumer_stalled_seconds"),
                    width=8,
                    detail="stream",
                ),
                stat(
                    "Workers that do not answer",
                    units.Number,
                    Above(1, 1),
                    "Processes that Prometheus is told to scrape and whose metrics it does not get. Look at "
                    "the process and its log; the others take its partitions over.",
                    'sum(up{job=~"$job", instance=~"$instance"} == bool 0)',
                    detail="stream",
                ),
                stat(
                    "Events handled",
                    units.EventsPerSecond,
                    _TRAFFIC,
                    "Records of all topics that workers handled, redelivered ones included.",
                    per_second("freshet_events_total"),
                    detail="stream",
                ),
                stat(
                    "Answers",
                    units.RequestsPerSecond,
                    _TRAFFIC,
                    "Requests answered: for recommendations, and to rank given candidates.",
                    per_second("freshet_request_seconds_count"),
                    detail="quality",
                ),
                stat(
                    "Users moved",
                    units.CountsPerSecond,
                    _TRAFFIC,
                    "Users whose vectors changed and were published; one with several events in a batch "
                    "counts once.",
                    per_second("freshet_user_updates_total"),
                    detail="stream",
                ),
                stat(
                    "Answer latency, p99",
                    units.Seconds,
                    Above(0.1, 0.5),
                    "From a request's record on Kafka to its answer handed to the producer; 99 of 100 are "
                    "faster. The target is 100 ms.",
                    quantile(0.99, "freshet_request_seconds"),
                    detail="quality",
                ),
                stat(
                    "Events waiting",
                    units.Short,
                    Above(1_000, 20_000),
                    "Records that are published and not yet done by any worker, of all topics, as the "
                    "broker tells. `freshet replay` holds back at 20,000; growing without end, it wants "
                    "more workers.",
                    f"sum({most('freshet_group_lag_events', by='topic')})",
                    detail="stream",
                ),
                stat(
                    "Articles recommendable within 2 s",
                    units.PercentUnit,
                    FRESH_THRESHOLD,
                    "Of the articles embedded in this window, those that were in the index within 2 s of "
                    "their record on Kafka; 100 % where there were none.",
                    FRESH_SHARE,
                    detail="freshness",
                ),
                stat(
                    "Click to vector, p99",
                    units.Seconds,
                    Above(1, 5),
                    "From a click's record on Kafka to the user's changed vector; 99 of 100 are faster. The "
                    "target is 1 s.",
                    VECTOR_SECONDS,
                    detail="freshness",
                ),
                stat(
                    "Degraded answers",
                    units.PercentUnit,
                    Above(0.01, 0.05),
                    "Share of answers that were given without the index, from the user's last list or from "
                    "what is trending. The index is down or too slow.",
                    share(
                        per_second("freshet_degraded_answers_total"),
                        per_second("freshet_request_seconds_count"),
                    ),
                    detail="quality",
                ),
                stat(
                    "Dead letters, last hour",
                    units.Short,
                    Above(1, 100),
                    "Records that could not be handled. Each is on the topic dead-letters with the reason.",
                    increase("freshet_dead_letters_total"),
                    detail="stream",
                ),
                stat(
                    "Rolling AUC",
                    units.PercentUnit,
                    Below(0.6, 0.5),
                    "How well the last 1,000 answers of each worker that were clicked and skipped had been "
                    "ordered, the mean over workers; 50 % is chance.",
                    f"avg({series('freshet_rolling_auc_ratio')} >= 0)",
                    detail="quality",
                ),
                stat(
                    "Category drift",
                    units.Number,
                    Above(0.1, 0.25),
                    "Population stability index of the categories of clicks, the last day against before: "
                    "under 0.1 stable, over 0.25 another readership. A gap while too few clicks are known.",
                    f"max({series('freshet_drift_categories_psi_ratio')} >= 0)",
                    detail="drift",
                ),
            ),
        ),
        Row(
            "Last hour",
            (
                graph(
                    "Events handled by topic",
                    units.EventsPerSecond,
                    _TRAFFIC,
                    "Records handled per second, redelivered ones included.",
                    (per_second("freshet_events_total", by="topic"), "{{topic}}"),
                ),
                graph(
                    "Answer latency",
                    units.Seconds,
                    Above(0.1, 0.5),
                    "From a request's record on Kafka to its answer handed to the producer. The target is "
                    "100 ms for 99 of 100.",
                    (quantile(0.5, "freshet_request_seconds", by="kind"), "{{kind}} p50"),
                    (quantile(0.99, "freshet_request_seconds", by="kind"), "{{kind}} p99"),
                ),
            ),
        ),
    ),
)
