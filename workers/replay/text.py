"""A replay's report for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from freshet.models.datasets.mind import format_time
from freshet.models.evaluation.ranking_metrics import METRICS, Estimate, RankingReport
from freshet.workers.replay.report import ReplayReport, ScoreReport

_NAMES = {"auc": "AUC", "mrr": "MRR", "ndcg@5": "nDCG@5", "ndcg@10": "nDCG@10"}


def render(report: ReplayReport) -> RenderableType:
    """Render a report as lines and tables."""
    parts: list[RenderableType] = [*_published(report)]
    if report.score is not None:
        parts += _score(report.score)
        parts.append("")
    parts.append(_end(report))
    return Group(*parts)


def clock(time_s: float | None) -> str:
    """The replay's clock for a progress bar; empty before it runs."""
    return "" if time_s is None else format_time(time_s)


def _published(report: ReplayReport) -> Iterator[str]:
    published = report.published
    yield (
        f"{'Resumed: p' if report.resumed else 'P'}ublished {published.articles:,} articles and "
        f"{published.impressions:,} impressions with {published.clicks:,} clicks "
        f"in {report.impressions_s:.1f} s: {report.impressions_per_s:,.0f} impressions/s."
    )
    if published.bad_lines:
        yield f"{published.bad_lines:,} bad lines went to dead-letters, each with its file and line number."
    if report.cut_texts:
        yield f"{report.cut_texts:,} articles had a text longer than an event may hold; it was cut."
    if report.broken_entities:
        yield f"{report.broken_entities:,} articles had no readable entities and were published without."
    if report.articles_without_vector:
        yield (
            f"{report.articles_without_vector:,} articles had no vector when the first impression was "
            "revealed. Is `freshet embed` running?"
        )
    if report.peak_lag is not None:
        yield f"The stream was at most {report.peak_lag:,} impressions behind, by its committed offsets."


def _score(score: ScoreReport) -> Iterator[RenderableType]:
    if score.latency_p50_s is not None and score.latency_p99_s is not None:
        yield (
            f"Answers came after {score.latency_p50_s * 1_000:.0f} ms (p50), "
            f"{score.latency_p99_s * 1_000:.0f} ms (p99)."
        )
    yield f"Of {score.asked:,} questions {score.unanswered:,} were unanswered, {score.degraded:,} degraded."
    if score.rankings:
        yield from ("", _table("All impressions", score.rankings))
    # A resumed replay may hold nothing else.
    if score.rankings_last and score.rankings_last != score.rankings:
        yield from ("", _table("Last 80 % in time", score.rankings_last))


def _table(title: str, rankings: Mapping[str, RankingReport]) -> Table:
    first = next(iter(rankings.values()))
    heading = f"{title}: {first.impressions:,} with clicks and skips, {first.confidence:.0%} intervals"
    table = Table(title=heading, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("ranked by")
    for metric in METRICS:
        table.add_column(_NAMES[metric], justify="right")
    for name, ranking in rankings.items():
        cells = [ranking.metrics[metric] for metric in METRICS]
        table.add_row(name, *map(_with_margin, cells))
    return table


def _with_margin(found: Estimate) -> Text:
    return Text.assemble(f"{found.mean:.4f} ", (f"±{(found.high - found.low) / 2:.3f}", "dim"))


def _end(report: ReplayReport) -> str:
    if report.reached >= report.total:
        return f"All {report.total:,} lines are published; without --resume the next replay starts again."
    stopped = "Stopped" if report.stopped else "Ended"
    return (
        f"{stopped} after line {report.reached:,} of {report.total:,} in the order of time. "
        "--resume goes on from there; without it the next replay starts again."
    )
