"""Stream health: throughput, lag, failures, partitions and processes."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.dashboards.panels import INSTANCE, JOB, Above, Dashboard, NoThreshold, Row, Variable, graph
from deploy.dashboards.promql import increase, mean, most, per_second, quantile, series

_TOPIC = 'topic=~"$topic"'
_TRAFFIC = NoThreshold("what is much or little depends on the paper and the hour")

STREAM = Dashboard(
    "stream",
    "freshet / Stream health",
    "Whether workers keep up with what is published, lose nothing, and have room to grow.",
    (
        Row(
            "Throughput",
            (
                graph(
                    "Events handled",
                    units.EventsPerSecond,
                    _TRAFFIC,
                    "Records handled per second, redelivered ones included.",
                    (per_second("freshet_events_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Events committed",
                    units.EventsPerSecond,
                    _TRAFFIC,
                    "Records whose effects are delivered and whose offsets are committed, per second. Far "
                    "below what is handled, something that a record causes cannot be delivered.",
                    (per_second("freshet_committed_events_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Users moved",
                    units.CountsPerSecond,
                    _TRAFFIC,
                    "Users whose vectors changed and were published, per second; one with several events in "
                    "a batch counts once.",
                    (per_second("freshet_user_updates_total", by="instance"), "{{instance}}"),
                ),
                graph(
                    "Events in a batch",
                    units.Short,
                    NoThreshold("large batches are how a worker catches up"),
                    "The mean number of records that one step of an agent handles.",
                    (mean("freshet_batch_events", by="agent"), "{{agent}}"),
                ),
            ),
        ),
        Row(
            "Lag",
            (
                graph(
                    "Events waiting by topic",
                    units.Short,
                    Above(1_000, 20_000),
                    "Records that are published and not yet done by any worker, as the broker tells. "
                    "Growing without end, it wants more workers (at most one for each partition).",
                    (most("freshet_group_lag_events", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Longest queue of a partition",
                    units.Short,
                    Above(500, 10_000),
                    "The partition with the most records waiting, as its worker sees it. Far above the "
                    "others: one key has most of the events, or its worker hangs.",
                    (most("freshet_consumer_lag_events", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Longest without progress",
                    units.Seconds,
                    Above(5, 15),
                    "How long a partition of the topic has had events and none of them was done. Its worker "
                    "is gone, or its consumer hangs: /healthz of that worker says so.",
                    (most("freshet_consumer_stalled_seconds", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Reading the catalog for",
                    units.Seconds,
                    Above(60, 600),
                    "How long a worker that has just started has been reading article vectors; it handles "
                    "nothing until it has read them all, then this is 0.",
                    (most("freshet_catalog_catching_up_seconds", by="instance"), "{{instance}}"),
                ),
            ),
        ),
        Row(
            "Work",
            (
                graph(
                    "Time for a batch",
                    units.Seconds,
                    Above(0.5, 5),
                    "How long one step of an agent takes, everything that it waits for included.",
                    (quantile(0.5, "freshet_processing_seconds", by="agent"), "{{agent}} p50"),
                    (quantile(0.99, "freshet_processing_seconds", by="agent"), "{{agent}} p99"),
                ),
                graph(
                    "Time at work",
                    units.PercentUnit,
                    Above(0.7, 0.9),
                    "Share of the time in which an agent of an instance handles a batch. Near 100 % it "
                    "cannot take more.",
                    (
                        per_second("freshet_processing_seconds_sum", by="agent, instance"),
                        "{{agent}} {{instance}}",
                    ),
                ),
            ),
        ),
        Row(
            "Failures",
            (
                graph(
                    "Dead letters, by the hour",
                    units.Short,
                    Above(1, 100),
                    "Records that could not be handled in the last hour. Each is on the topic dead-letters "
                    "with the reason and where it came from.",
                    (increase("freshet_dead_letters_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Events that came again",
                    units.EventsPerSecond,
                    Above(1, 100),
                    "Events that came again and changed nothing: after a crash or a rebalance, for a "
                    "moment. All the time: offsets are not committed, or a producer publishes twice.",
                    (per_second("freshet_duplicate_events_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Forwarded events",
                    units.EventsPerSecond,
                    NoThreshold("how many come is the clients' partitioner, which freshet does not choose"),
                    "Events on another partition than their user's, where clients built on librdkafka put "
                    "them without partitioner=murmur2_random. Each costs a record more.",
                    (per_second("freshet_forwarded_events_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
                graph(
                    "Events that do not count in full",
                    units.EventsPerSecond,
                    Above(1, 100),
                    "Events of which the articles' statistics leave something out: published twice, or of a "
                    "user who clicked, or was shown, one article more often than counts within an hour.",
                    (per_second("freshet_uncounted_events_total", _TOPIC, by="topic"), "{{topic}}"),
                ),
            ),
        ),
        Row(
            "Partitions and tables",
            (
                graph(
                    "Partitions read",
                    units.Short,
                    NoThreshold("how many there are is the topics' configuration"),
                    "Partitions of events that each stream worker may read: 0 while they are shared out "
                    "anew, or while its tables recover. The sum must not stay below the topics' partitions.",
                    (f"sum by (instance) ({series('freshet_readable_partitions')})", "{{instance}}"),
                ),
                graph(
                    "Recoveries, by the hour",
                    units.Short,
                    Above(5, 20),
                    "How often in the last hour partitions were shared out anew. Again and again: a worker "
                    "crashes, or is too slow to stay in the group.",
                    (increase("freshet_recovery_seconds_count", by="instance"), "{{instance}}"),
                ),
                graph(
                    "Time to recover",
                    units.Seconds,
                    Above(30, 300),
                    "The mean time from partitions being shared out to the tables being up to date, since "
                    "the worker started. Without its data folder, a worker reads the whole changelog.",
                    (
                        f"sum by (instance) ({series('freshet_recovery_seconds_sum')}) / clamp_min("
                        f"sum by (instance) ({series('freshet_recovery_seconds_count')}), 1)",
                        "{{instance}}",
                    ),
                ),
                graph(
                    "User states in memory",
                    units.Short,
                    NoThreshold("at most the setting cached_users, for each worker"),
                    "Users whose state is decoded. Always at the setting's value with slow batches: raise "
                    "it.",
                    (f"sum by (instance) ({series('freshet_cached_users')})", "{{instance}}"),
                ),
            ),
        ),
        Row(
            "Processes",
            (
                graph(
                    "Processor cores used",
                    units.Short,
                    NoThreshold("a stream worker uses one core, an embedding worker as many as it is given"),
                    "Processor seconds used per second.",
                    (per_second("process_cpu_seconds_total", by="job, instance"), "{{job}} {{instance}}"),
                ),
                graph(
                    "Memory",
                    units.BytesIEC,
                    NoThreshold("the limit is the container's"),
                    "Resident memory of each process.",
                    (
                        f"sum by (job, instance) ({series('process_resident_memory_bytes')})",
                        "{{job}} {{instance}}",
                    ),
                ),
                graph(
                    "Open files",
                    units.PercentUnit,
                    Above(0.7, 0.9),
                    "Share of the file descriptors that the process may open. At 100 % connections and "
                    "tables fail.",
                    (
                        f"max by (job, instance) ({series('process_open_fds')}) / "
                        f"clamp_min(max by (job, instance) ({series('process_max_fds')}), 1)",
                        "{{job}} {{instance}}",
                    ),
                ),
                graph(
                    "Running for",
                    units.DurationSeconds,
                    NoThreshold("how long it should run is the operator's to know"),
                    "Time since each process started. A saw tooth: it is restarted again and again.",
                    (
                        f"time() - max by (job, instance) ({series('process_start_time_seconds')})",
                        "{{job}} {{instance}}",
                    ),
                ),
            ),
        ),
    ),
    (JOB, INSTANCE, Variable("topic", "Topic", 'freshet_events_total{job=~"$job"}')),
)
