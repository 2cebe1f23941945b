"""Prometheus metrics of all processes: every name, unit and label in one place.

Names follow Prometheus' conventions: a unit as suffix, ``_total`` for counters, base units (seconds, bytes).
A counter whose labels are known beforehand starts at 0, because a series that starts at 1 has no increase:
its first failure would raise no alert. A gauge without a measurement is NaN, because 0 would be one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FRESHNESS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_RECOVERY_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

EVENTS = Counter("freshet_events_total", "Events handled, duplicates included.", ["topic"])
DUPLICATES = Counter(
    "freshet_duplicate_events_total",
    "Events that changed nothing, because they were redelivered or published again.",
    ["topic"],
)
FORWARDED = Counter(
    "freshet_forwarded_events_total",
    "Events found on another partition than murmur2 gives their user, and sent there.",
    ["topic"],
)
UNCOUNTED = Counter(
    "freshet_uncounted_events_total",
    "Events not fully counted in articles' statistics: published again, or beyond one user's share.",
    ["topic"],
)
DEAD_LETTERS = Counter("freshet_dead_letters_total", "Records that could not be handled.", ["topic"])
UNDECODABLE_BATCHES = Counter(
    "freshet_undecodable_batches_total", "Batches of records that could not be decoded.", ["topic"]
)
LAG = Gauge(
    "freshet_consumer_lag_events",
    "Events published but not yet read by this process.",
    ["topic", "partition"],
)
GROUP_LAG = Gauge(
    "freshet_group_lag_events",
    "Events published and not yet done, as the broker reports: by the whole group, alike on each worker; "
    "on topics that every worker reads for itself, by this one.",
    ["topic"],
)
STALLED_SECONDS = Gauge(
    "freshet_consumer_stalled_seconds",
    "Time that the topic's worst partition has had events and no progress.",
    ["topic"],
)
PROCESSING_SECONDS = Histogram(
    "freshet_processing_seconds", "Time to handle one batch of an agent.", ["agent"], buckets=_LATENCY_S
)
BATCH_EVENTS = Histogram(
    "freshet_batch_events", "Events in one batch of an agent.", ["agent"], buckets=_SIZES
)
COMMITTED = Counter("freshet_committed_events_total", "Events committed as done.", ["topic"])
READABLE = Gauge(
    "freshet_readable_partitions",
    "Partitions of events that this process may read; 0 during a rebalance or recovery.",
)
RECOVERY_SECONDS = Histogram(
    "freshet_recovery_seconds",
    "Time from a rebalance, or the start, to up-to-date tables.",
    buckets=_RECOVERY_S,
)
USER_UPDATES = Counter("freshet_user_updates_total", "Users whose vectors were updated and published.")
ERASED_USERS = Counter("freshet_erased_users_total", "Users whose state and vectors this worker deleted.")

EMBED_DEVICE = Gauge(
    "freshet_embed_device_info",
    "Always 1; the labels name the device, the encoder and the bundle of this process.",
    ["device", "encoder", "bundle"],
)
GPU_MEMORY_USED_BYTES = Gauge(
    "freshet_gpu_memory_used_bytes", "Memory of the GPU in use, by all its processes.", ["device"]
)
GPU_MEMORY_BYTES = Gauge("freshet_gpu_memory_bytes", "Total memory of the GPU.", ["device"])
GPU_UTILISATION = Gauge(
    "freshet_gpu_utilisation_ratio", "Share of the last moment in which the GPU computed.", ["device"]
)
EMBED_SECONDS = Histogram("freshet_embed_seconds", "Time to embed one batch of texts.", buckets=_LATENCY_S)
EMBEDDED_TEXTS = Counter("freshet_embedded_texts_total", "Article texts embedded.")
EMBED_BATCH_TEXTS = Histogram(
    "freshet_embed_batch_texts", "Texts in one batch of the encoder.", buckets=_SIZES
)
EMBED_BATCH_FILL_RATIO = Histogram(
    "freshet_embed_batch_fill_ratio",
    "Tokens of text over tokens computed, padding included.",
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
EMBED_OUT_OF_MEMORY = Counter("freshet_embed_out_of_memory_total", "Batches halved because memory ran out.")

PUBLISHED_TO_RECOMMENDABLE_SECONDS = Histogram(
    "freshet_published_to_recommendable_seconds",
    "Time from an article's record on Kafka to its vector in the index.",
    buckets=_FRESHNESS_S,
)
CLICK_TO_VECTOR_SECONDS = Histogram(
    "freshet_click_to_vector_seconds",
    "Time from a click's record on Kafka to the user's updated vector.",
    buckets=_FRESHNESS_S,
)
REQUEST_SECONDS = Histogram(
    "freshet_request_seconds",
    "Time from a request's record on Kafka to its answer at the producer.",
    ["kind"],
    buckets=_LATENCY_S,
)
CANDIDATES = Histogram("freshet_candidates", "Candidates ranked for one answer.", buckets=_SIZES)
RECOMMENDED = Counter(
    "freshet_recommended_articles_total",
    "Recommended articles: chosen by an exploring policy, or by rank.",
    ["kind"],
)
DEGRADED = Counter("freshet_degraded_answers_total", "Answers given without the index.", ["kind"])
INDEX_OPEN_BREAKERS = Gauge(
    "freshet_index_open_breakers",
    "1 while the bundle's index is bypassed because it fails, hangs or is late; else 0.",
    ["bundle"],
)
ROLLING_AUC = Gauge(
    "freshet_rolling_auc_ratio", "Mean AUC of the last 1,000 answers whose impressions have clicks and skips."
)
RANKER_EXAMPLES = Counter(
    "freshet_ranker_examples_total", "Impressions and late clicks that the ranker learned from.", ["kind"]
)
RANKER_REFUSED = Counter(
    "freshet_ranker_refused_total", "Examples and corrections that were rejected, by reason.", ["reason"]
)
RANKER_ROLLBACKS = Counter(
    "freshet_ranker_rollbacks_total", "Rollbacks of learned weights that ranked worse than the start."
)
RANKER_AUC = Gauge(
    "freshet_ranker_auc_ratio",
    "Prequential AUC of the last 500 examples, by the learned and by the initial weights.",
    ["ranker"],
)
RANKER_EXAMPLES_LEARNED = Gauge(
    "freshet_ranker_learned_events",
    "Examples and corrections behind the weights that this worker ranks with.",
)
EXPERIMENT_ANSWERS = Counter(
    "freshet_experiment_answers_total", "Answers by a variant of an experiment.", ["experiment", "variant"]
)
EXPERIMENT_IMPRESSIONS = Counter(
    "freshet_experiment_impressions_total",
    "Impressions that name an answer by a variant of an experiment.",
    ["experiment", "variant"],
)
EXPERIMENT_CLICKS = Counter(
    "freshet_experiment_clicks_total",
    "Clicks on articles answered by a variant of an experiment.",
    ["experiment", "variant"],
)
EXPERIMENT_ROLLING_AUC = Gauge(
    "freshet_experiment_rolling_auc_ratio",
    "Mean AUC of a variant's recent rank requests whose clicks are known.",
    ["experiment", "variant"],
)
EXPERIMENT_SAMPLE_RATIO = Gauge(
    "freshet_experiment_sample_ratio_p_value_ratio",
    "Always-valid p-value of the sample-ratio check; below 0.001 the shares are not kept.",
    ["experiment"],
)
DRIFT_CATEGORIES_PSI = Gauge(
    "freshet_drift_categories_psi_ratio",
    "Population stability index of the categories of clicks, the last day (half-life 24 h) against before.",
)
DRIFT_NORM_SHIFT = Gauge(
    "freshet_drift_norm_shift_ratio",
    "Mean norm of the vectors published in the last 24 h over that of older ones, less 1.",
)
DRIFT_CENTROID_SHIFT = Gauge(
    "freshet_drift_centroid_shift_ratio",
    "1 - cosine of the mean of the vectors published in the last 24 h and that of older ones.",
)
DRIFT_NOVELTY = Gauge(
    "freshet_drift_novelty_ratio",
    "1 - cosine to the nearest older article: the mean over new articles, and over older ones.",
    ["articles"],
)
DRIFT_SAMPLED_ARTICLES = Gauge(
    "freshet_drift_sampled_articles", "Articles sampled for the shifts of vectors.", ["articles"]
)
BURSTS = Gauge("freshet_bursting_articles", "Articles clicked far more than their past and exposure explain.")
BURSTS_BEGUN = Counter("freshet_bursts_begun_total", "Bursts of clicks seen to begin.")
CATALOG_ARTICLES = Gauge("freshet_catalog_articles", "Articles known to this process.", ["state"])
CATCHING_UP_SECONDS = Gauge(
    "freshet_catalog_catching_up_seconds",
    "Time that this worker has been reading the catalog, before it handles anything; then 0.",
)
CACHED_USERS = Gauge("freshet_cached_users", "User states decoded in memory.")


def _begin() -> None:
    for gauge in (ROLLING_AUC, DRIFT_CATEGORIES_PSI, DRIFT_NORM_SHIFT, DRIFT_CENTROID_SHIFT):
        gauge.set(math.nan)
    labels: dict[Counter | Histogram, tuple[str, ...]] = {
        DEGRADED: ("cached", "trending"),
        RANKER_EXAMPLES: ("example", "correction"),
        RANKER_REFUSED: ("nothing", "not-finite", "too-large", "other-features", "other-model"),
        RECOMMENDED: ("explored", "ranked"),
        REQUEST_SECONDS: ("recommend", "rank"),
    }
    for metric, values in labels.items():
        for value in values:
            metric.labels(value)


_begin()


def count_from_zero(topics: Iterable[str], *, committed: bool) -> None:
    """Start the counters of ``topics`` (full names) at 0, before anything is read from them.

    ``committed`` adds the counters of topics whose offsets this process commits.
    """
    for topic in topics:
        for counter in (EVENTS, DUPLICATES, UNCOUNTED, DEAD_LETTERS, UNDECODABLE_BATCHES):
            counter.labels(topic)
        if committed:
            COMMITTED.labels(topic)
            FORWARDED.labels(topic)
