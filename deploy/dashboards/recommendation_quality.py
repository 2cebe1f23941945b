"""Recommendation quality: answers, how well they are ordered, and what the ranker learns."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.freshness import BURN, OBJECTIVE
from deploy.dashboards.panels import Above, Below, Dashboard, NoThreshold, Row, graph
from deploy.dashboards.promql import answers_bad, budget_burn, increase, per_second, quantile, series, share

_TRAFFIC = NoThreshold("what is much or little depends on the paper and the hour")
_ANSWERS = "freshet_request_seconds"
_RECOMMENDED = "freshet_recommended_articles_total"
_EXPLORED = 'kind="explored"'
_LEARNED = 'ranker="learned"'
_START = 'ranker="start"'

QUALITY = Dashboard(
    "quality",
    "freshet / Recommendation quality",
    "Answers: how many, how fast, how well ordered; what the ranker learns and what exploration tries.",
    (
        Row(
            "Answers",
            (
                graph(
                    "Answers by kind",
                    units.RequestsPerSecond,
                    _TRAFFIC,
                    "Requests answered per second: `recommend` finds candidates, `rank` orders those given.",
                    (per_second(f"{_ANSWERS}_count", by="kind"), "{{kind}}"),
                ),
                graph(
                    "Answer latency",
                    units.Seconds,
                    Above(0.1, 0.5),
                    "From a request's record on Kafka to its answer handed to the producer. The target is "
                    "100 ms for 99 of 100.",
                    *((quantile(q, _ANSWERS, by="kind"), f"{{{{kind}}}} p{q * 100:g}") for q in (0.5, 0.99)),
                ),
                graph(
                    "Degraded answers",
                    units.PercentUnit,
                    Above(0.01, 0.05),
                    "Share of answers that were given without the index: `cached` ranks the user's last "
                    "list anew, `trending` has none. The index is down or too slow.",
                    (
                        per_second("freshet_degraded_answers_total", by="kind")
                        + " / on () group_left () clamp_min("
                        + per_second(f"{_ANSWERS}_count")
                        + ", 1e-9)",
                        "{{kind}}",
                    ),
                ),
                graph(
                    "Error budget burn, last hour",
                    units.Number,
                    BURN,
                    "How fast answers that took longer than 100 ms or came without the index use up the 1 % "
                    "that may: at 1 it lasts for the period of three days, at 14.4 it is gone in five hours.",
                    (budget_burn(answers_bad(), OBJECTIVE), "burn"),
                ),
                graph(
                    "Candidates",
                    units.Short,
                    NoThreshold("as many as the request and its filters allow"),
                    "Articles that an answer lists or ranks. Falling towards 0: filters or rules leave "
                    "nothing.",
                    (quantile(0.5, "freshet_candidates"), "p50"),
                    (quantile(0.95, "freshet_candidates"), "p95"),
                ),
            ),
        ),
        Row(
            "Order",
            (
                graph(
                    "Rolling AUC",
                    units.PercentUnit,
                    Below(0.6, 0.5),
                    "The chance that a clicked article stood above a skipped one, over each worker's last "
                    "1,000 answers with both; 50 % is chance. A gap until the first.",
                    (f"max by (instance) ({series('freshet_rolling_auc_ratio')} >= 0)", "{{instance}}"),
                ),
                graph(
                    "Ranker AUC: learned against start",
                    units.PercentUnit,
                    Below(0.6, 0.5),
                    "The same examples ordered by what was learned and by what it began with, before they "
                    "are learned from, the last 500.",
                    (f"max by (ranker) ({series('freshet_ranker_auc_ratio')})", "{{ranker}}"),
                ),
                graph(
                    "Ranker AUC: gain over the start",
                    units.PercentUnit,
                    Below(0, -0.005),
                    "What learning has won. Below 0 for long: the guard takes back what was learned.",
                    (
                        f"max({series('freshet_ranker_auc_ratio', _LEARNED)}) - "
                        f"max({series('freshet_ranker_auc_ratio', _START)})",
                        "gain",
                    ),
                ),
                graph(
                    "Rollbacks, by the hour",
                    units.Short,
                    Above(1, 3),
                    "How often in the last hour what was learned fell behind the start and was taken back. "
                    "Look at what changed in the impressions.",
                    (increase("freshet_ranker_rollbacks_total"), "rollbacks"),
                ),
            ),
        ),
        Row(
            "Learning",
            (
                graph(
                    "Examples learned from",
                    units.CountsPerSecond,
                    _TRAFFIC,
                    "Impressions, and late clicks on them, that the ranker learned from, per second.",
                    (per_second("freshet_ranker_examples_total", by="kind"), "{{kind}}"),
                ),
                graph(
                    "Examples refused",
                    units.CountsPerSecond,
                    Above(1, 100),
                    "Examples that changed nothing, by the reason. `too-large` and `not-finite` are broken "
                    "features; `other-features` are of a worker of another version.",
                    (per_second("freshet_ranker_refused_total", by="reason"), "{{reason}}"),
                ),
                graph(
                    "Learned in all",
                    units.Short,
                    NoThreshold("it only grows, until another bundle is served"),
                    "Examples that the weights each worker ranks with have learned from. Workers that "
                    "differ for long do not read ranker-weights.",
                    (f"max by (instance) ({series('freshet_ranker_learned_events')})", "{{instance}}"),
                ),
            ),
        ),
        Row(
            "Exploration and bursts",
            (
                graph(
                    "Explored articles",
                    units.PercentUnit,
                    Above(0.3, 0.6),
                    "Share of recommended articles that an exploring policy put on the list; 0 where none "
                    "is set.",
                    (share(per_second(_RECOMMENDED, _EXPLORED), per_second(_RECOMMENDED)), "explored"),
                ),
                graph(
                    "Bursting articles",
                    units.Short,
                    NoThreshold("news breaks when it breaks"),
                    "Articles clicked far more than their past and their exposure explain; they become "
                    "candidates for everybody.",
                    (f"max({series('freshet_bursting_articles')})", "bursting"),
                ),
                graph(
                    "Bursts begun, by the hour",
                    units.Short,
                    NoThreshold("news breaks when it breaks"),
                    "Bursts that began in the last hour, as the worker that saw the most of them counts.",
                    (
                        f"max(increase({series('freshet_bursts_begun_total')}[1h]))",
                        "bursts",
                    ),
                ),
            ),
        ),
    ),
)
