"""Experiments: the variants of each, side by side."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.panels import INSTANCE, JOB, Below, Dashboard, NoThreshold, Row, Variable, graph
from deploy.dashboards.promql import HOUR, per_second, series, share

_CHOSEN = 'experiment=~"$experiment"'
_SAMPLE_RATIO = "freshet_experiment_sample_ratio_p_value_ratio"
_BY = "experiment, variant"
_LEGEND = "{{experiment}} {{variant}}"
_SHARES = NoThreshold("in proportion to the variants' shares; the sample ratio judges it")
_COMPARED = NoThreshold("the variants are compared with each other; `freshet experiment report` tests it")


def _per_second(name: str, window: str = "$__rate_interval") -> str:
    return per_second(name, _CHOSEN, by=_BY, window=window)


EXPERIMENTS = Dashboard(
    "experiments",
    "freshet / Experiments",
    "The variants of the experiments that run, as the workers count since they started. What is significant, "
    "`freshet experiment report` says: it reads the topics, and every user once.",
    (
        Row(
            "Traffic",
            (
                graph(
                    "Answers",
                    units.RequestsPerSecond,
                    _SHARES,
                    "Answers by each variant, per second.",
                    (_per_second("freshet_experiment_answers_total"), _LEGEND),
                    width=8,
                ),
                graph(
                    "Impressions",
                    units.CountsPerSecond,
                    _SHARES,
                    "Impressions that name an answer by a variant, per second. Far fewer than answers: they "
                    "are not shown, or published without the request's id.",
                    (_per_second("freshet_experiment_impressions_total"), _LEGEND),
                    width=8,
                ),
                graph(
                    "Clicks",
                    units.CountsPerSecond,
                    _SHARES,
                    "Clicks on what an answer by a variant showed, per second.",
                    (_per_second("freshet_experiment_clicks_total"), _LEGEND),
                    width=8,
                ),
            ),
        ),
        Row(
            "Outcome",
            (
                graph(
                    "Clicks per impression, last hour",
                    units.Number,
                    _COMPARED,
                    "Clicks over impressions of the last hour; 0 where nothing was shown.",
                    (
                        share(
                            _per_second("freshet_experiment_clicks_total", HOUR),
                            _per_second("freshet_experiment_impressions_total", HOUR),
                        ),
                        _LEGEND,
                    ),
                ),
                graph(
                    "Rolling AUC",
                    units.PercentUnit,
                    Below(0.6, 0.5),
                    "Of each variant's answered requests to rank whose clicks are known, the recent ones, "
                    "the mean over workers; 50 % is chance.",
                    (
                        f"avg by ({_BY}) ({series('freshet_experiment_rolling_auc_ratio', _CHOSEN)} >= 0)",
                        _LEGEND,
                    ),
                ),
                graph(
                    "Sample ratio, p-value",
                    units.Number,
                    Below(0.01, 0.001),
                    "How well the users seen of each variant fit the shares, the lowest of the workers, at "
                    "any time; 1 until a hundred are seen. Below 0.001 users of one variant are lost on the "
                    "way: do not compare.",
                    (
                        f"min by (experiment) ({series(_SAMPLE_RATIO, _CHOSEN)})",
                        "{{experiment}}",
                    ),
                ),
                graph(
                    "Share of answers, last hour",
                    units.PercentUnit,
                    _SHARES,
                    "Each variant's part of the answers of its experiment.",
                    (
                        _per_second("freshet_experiment_answers_total", HOUR)
                        + " / on (experiment) group_left () clamp_min("
                        + per_second(
                            "freshet_experiment_answers_total", _CHOSEN, by="experiment", window=HOUR
                        )
                        + ", 1e-9)",
                        _LEGEND,
                    ),
                ),
            ),
        ),
    ),
    (JOB, INSTANCE, Variable("experiment", "Experiment", 'freshet_experiment_answers_total{job=~"$job"}')),
)
