"""Drift: whether readers click other things than before, and whether new vectors are like older ones."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.panels import Above, Dashboard, NoThreshold, Row, graph
from deploy.dashboards.promql import series

_ANY = ">= -1"
"""Drops what is not a number: not measured yet, or a process that measures none."""

DRIFT = Dashboard(
    "drift",
    "freshet / Drift",
    "Whether readers click other things than before, and whether new articles' vectors are like older ones. "
    "Every stream worker measures the same catalog; `freshet drift` explains what it found.",
    (
        Row(
            "Clicks",
            (
                graph(
                    "Categories of clicks (PSI)",
                    units.Number,
                    Above(0.1, 0.25),
                    "Population stability index of the categories of clicks, the last day (half-life 24 h) "
                    "against before: under 0.1 stable, over 0.25 another readership or another page. A gap "
                    "while so few clicks are known that chance could look like it.",
                    (
                        f"max by (instance) ({series('freshet_drift_categories_psi_ratio')} {_ANY})",
                        "{{instance}}",
                    ),
                    width=24,
                ),
            ),
        ),
        Row(
            "Vectors of articles published in the last 24 h against older ones",
            (
                graph(
                    "Shift of the centroid",
                    units.Number,
                    Above(0.1, 0.3),
                    "1 - cosine of the means: 0 the same direction, 1 nothing in common. A jump without "
                    "news that explains it: another encoder, or broken texts.",
                    (
                        f"max by (instance) ({series('freshet_drift_centroid_shift_ratio')} {_ANY})",
                        "{{instance}}",
                    ),
                ),
                graph(
                    "Shift of the norm",
                    units.PercentUnit,
                    Above(0.1, 0.2),
                    "The mean length of new vectors over that of older ones, less 1, either way. The dot "
                    "product prefers long vectors, so new articles would win, or lose, by length alone.",
                    (
                        f"max by (instance) (abs({series('freshet_drift_norm_shift_ratio')} {_ANY}))",
                        "{{instance}}",
                    ),
                ),
                graph(
                    "Novelty",
                    units.Number,
                    Above(0.6, 0.8),
                    "1 - cosine to the nearest older article: the mean over new articles, and over older "
                    "ones for comparison. New far above older: subjects that the model has not seen.",
                    (
                        f"max by (articles) ({series('freshet_drift_novelty_ratio')} {_ANY})",
                        "{{articles}} articles",
                    ),
                ),
                graph(
                    "Articles compared",
                    units.Short,
                    NoThreshold("at most 1,000 of each are looked at"),
                    "How many articles the shifts rest on; of a few, chance alone gives large ones.",
                    (f"max by (articles) ({series('freshet_drift_sampled_articles')})", "{{articles}}"),
                ),
            ),
        ),
    ),
)
