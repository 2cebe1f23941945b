"""The embedding worker: texts per second, batches, memory, and the GPU where there is one."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.panels import Above, Below, Dashboard, NoThreshold, Row, graph, stat
from deploy.dashboards.promql import increase, mean, most, per_second, quantile, series

_ARTICLES = 'topic=~".*[.]?articles"'

EMBEDDING = Dashboard(
    "embedding",
    "freshet / Embedding worker and GPU",
    "How fast articles become vectors, how well batches are filled, and how busy the device is.",
    (
        Row(
            "Now",
            (
                stat(
                    "Texts embedded",
                    units.CountsPerSecond,
                    NoThreshold("as many as are published"),
                    "Article texts encoded per second, by all embedding workers.",
                    per_second("freshet_embedded_texts_total"),
                    width=6,
                ),
                stat(
                    "Batches halved for want of memory, last hour",
                    units.Short,
                    Above(1, 10),
                    "How often a batch did not fit and was tried in halves: the process or the GPU needs "
                    "more memory, or shares it with another.",
                    increase("freshet_embed_out_of_memory_total"),
                    width=6,
                ),
                stat(
                    "Embedding on",
                    units.Number,
                    NoThreshold("it says what, not how much"),
                    "The device and the number format, the encoder and the bundle of each embedding worker.",
                    f"max by (instance, device, encoder, bundle) ({series('freshet_embed_device_info')})",
                    legend="{{device}}, {{encoder}}, {{bundle}}, {{instance}}",
                    width=12,
                ),
            ),
        ),
        Row(
            "Batches",
            (
                graph(
                    "Texts embedded by instance",
                    units.CountsPerSecond,
                    NoThreshold("as many as are published"),
                    "Article texts encoded per second.",
                    (per_second("freshet_embedded_texts_total", by="instance"), "{{instance}}"),
                ),
                graph(
                    "Time for a batch",
                    units.Seconds,
                    Above(1, 5),
                    "How long it takes to embed the texts of one batch of records.",
                    (quantile(0.5, "freshet_embed_seconds"), "p50"),
                    (quantile(0.99, "freshet_embed_seconds"), "p99"),
                ),
                graph(
                    "Texts in a batch",
                    units.Short,
                    NoThreshold("one article at a time is a batch of one"),
                    "Texts that the encoder computes at once. A GPU wants many.",
                    (mean("freshet_embed_batch_texts"), "mean"),
                    (quantile(0.95, "freshet_embed_batch_texts"), "p95"),
                ),
                graph(
                    "Batch fill",
                    units.PercentUnit,
                    Below(0.6, 0.4),
                    "Tokens of text over tokens computed, the mean over batches: the rest is padding. A gap "
                    "where nothing was embedded.",
                    (
                        per_second("freshet_embed_batch_fill_ratio_sum")
                        + " / ("
                        + per_second("freshet_embed_batch_fill_ratio_count")
                        + " > 0)",
                        "mean",
                    ),
                ),
                graph(
                    "Time at work",
                    units.PercentUnit,
                    Above(0.7, 0.9),
                    "Share of the time in which a worker embeds. Near 100 % articles begin to wait: add "
                    "workers, or a GPU.",
                    (per_second("freshet_embed_seconds_sum", by="instance"), "{{instance}}"),
                ),
                graph(
                    "Articles waiting",
                    units.Short,
                    Above(100, 1_000),
                    "Records on the topic articles that no embedding worker has done.",
                    (most("freshet_group_lag_events", _ARTICLES, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Articles refused, by the hour",
                    units.Short,
                    Above(1, 100),
                    "Articles that became dead letters in the last hour: unreadable, or their vector is not "
                    "finite.",
                    (increase("freshet_dead_letters_total", _ARTICLES, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Memory of embedding workers",
                    units.BytesIEC,
                    NoThreshold("the limit is the container's"),
                    "Resident memory of the processes that embed; the GPU's is apart.",
                    (
                        f"max by (job, instance) ({series('process_resident_memory_bytes')}) and on (job, "
                        f"instance) {series('freshet_embed_device_info')}",
                        "{{instance}}",
                    ),
                ),
            ),
        ),
        Row(
            "GPU",
            (
                graph(
                    "GPU memory",
                    units.PercentUnit,
                    Above(0.9, 0.97),
                    "Share of the GPU's memory in use, by all processes on it. Empty where nothing is "
                    "embedded on a GPU.",
                    (
                        f"max by (instance, device) ({series('freshet_gpu_memory_used_bytes')}) / "
                        f"clamp_min(max by (instance, device) ({series('freshet_gpu_memory_bytes')}), 1)",
                        "{{instance}} {{device}}",
                    ),
                    width=8,
                    gpu_only=True,
                ),
                graph(
                    "GPU memory in use",
                    units.BytesIEC,
                    NoThreshold("the limit is the GPU's, see its share"),
                    "Memory of the GPU in use, by all processes on it. Empty where nothing is embedded on a "
                    "GPU.",
                    (
                        f"max by (instance, device) ({series('freshet_gpu_memory_used_bytes')})",
                        "{{instance}} {{device}}",
                    ),
                    width=8,
                    gpu_only=True,
                ),
                graph(
                    "GPU utilisation",
                    units.PercentUnit,
                    NoThreshold("articles come in waves: idle between them is right"),
                    "Share of the last moment in which the GPU computed. Empty where nothing is embedded on "
                    "a GPU.",
                    (
                        f"max by (instance, device) ({series('freshet_gpu_utilisation_ratio')})",
                        "{{instance}} {{device}}",
                    ),
                    width=8,
                    gpu_only=True,
                ),
            ),
        ),
    ),
)
