"""A plan of capacity for people: aligned lines that look the same in a terminal and in a document."""

from __future__ import annotations

from collections.abc import Iterator

from freshet.workers.bench.capacity.plan import Plan

_SMALL_TOPIC = 0.01
"""Share of all topics' disk below which topics are summed up."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1_000.0


def render(plan: Plan) -> Iterator[str]:
    """The plan, line by line."""
    site = plan.site
    yield f"{site.users:,} users, {site.articles:,} articles; at the peak, {site.peak:g} times the mean:"
    yield _line("impressions", f"{plan.impressions_per_s:,.0f}/s")
    yield _line("clicks", f"{plan.clicks_per_s:,.0f}/s")
    yield _line("requests", f"{plan.requests_per_s:,.0f}/s")
    yield ""
    yield "Stream workers, of one core each"
    yield _line("processor time at the peak", f"{plan.worker_seconds_per_s:.1f} s a second")
    yield _line("workers", f"{plan.stream_workers}", f"at most {site.utilisation:.0%} busy at the peak")
    yield _line("memory of each", in_words(plan.worker_memory_with_server_bytes), "the index is a server")
    yield _line("", in_words(plan.worker_memory_bytes), "the index is embedded in each")
    yield _line(
        "disk of each", in_words(plan.worker_disk_bytes), "tables, with as much again of what is replaced"
    )
    yield ""
    yield "Index and embedding"
    yield _line("memory of the index", in_words(plan.index_memory_bytes))
    yield _line("embedding workers", f"{plan.embedding_workers}", "of two cores each, without a GPU")
    yield _line("all articles anew", f"{plan.embed_all_h:.1f} h", "for a new bundle")
    yield ""
    yield f"Kafka, {site.replication} replicas"
    yield _line("partitions", f"{plan.partitions}", "for good")
    yield _line("a user's state", in_words(plan.user_state_bytes))
    yield _line("disk of all brokers", in_words(plan.kafka_disk_bytes))
    small = 0.0
    for size in plan.topics:
        if size.disk_bytes < _SMALL_TOPIC * plan.kafka_disk_bytes:
            small += size.disk_bytes
        else:
            what = f"{size.records:,.0f} records of {size.record_bytes:,} bytes"
            yield _line(f"  {size.topic}", in_words(size.disk_bytes), what)
    yield _line("  the other topics", in_words(small))


def in_words(number: float) -> str:
    """Bytes in the unit that suits them: ``1.6 TB``."""
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= _STEP
    return f"{number:.1f} {_UNITS[-1]}"


def _line(what: str, figure: str, remark: str = "") -> str:
    return f"  {what:<28}{figure:>14}  {remark}".rstrip()
