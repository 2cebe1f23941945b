"""``freshet experiment``: serve several rankers or bundles, each to its share of the users, and compare."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.cli.options import json_option
from freshet.workers.terminal.connection_options import connection_options, settings_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import show_result

if TYPE_CHECKING:
    from freshet.models.events.control import Control


@click.group(name="experiment")
def command() -> None:
    """Serve two or more rankers or bundles at once, and test which is better.

    Each user always gets the same variant. Workers apply changes within a second, without a restart.
    """


@command.command()
@click.argument("name")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    metavar="NAME=RANKER:SHARE",
    help="For example A=default:0.5 or B=weights.json:0.5; the first is the control. RANKER is the name of "
    "weights on ranker-weights, a JSON file of weights by feature, or bundle:ID for another bundle's vectors "
    "and ranker; a bundle's folder may replace its id.",
)
@click.option(
    "--metric",
    type=click.Choice(["click-through-rate", "clicks-per-impression", "auc"]),
    help="Metric that decides the experiment.  [default: click-through-rate]",
)
@click.option(
    "--expected-effect",
    type=FiniteRange(0, 10, min_open=True),
    help="Smallest difference worth finding, as a share of the metric.  [default: 0.05]",
)
@click.option("--salt", help="Salt of the assignment.  [default: the experiment's name]")
@click.option("--from", "starts_at", type=EventTime(), help="Event time at which the experiment begins.")
@click.option("--until", "stops_at", type=EventTime(), help="Event time at which the experiment ends.")
@json_option
@settings_options("bundles")
def start(settings: Settings, *, name: str, variants: tuple[str, ...], as_json: bool, **fixed: Any) -> None:
    """Start the experiment NAME, or change the variants and shares of one that runs.

    A change moves as few users as possible, and the report starts again with it.
    """
    from freshet.models.events.control import Control
    from freshet.models.events.experiment import Experiment
    from freshet.models.experiments.assignment import reshared
    from freshet.streams.kafka.topic_history import read_controls
    from freshet.workers.experiments.plan import (
        VariantRefused,
        new_weights,
        plan,
        published_weights,
        running,
        served_by,
        share_left,
    )
    from freshet.workers.processes.bundle_folders import bundle_id

    given = {field: value for field, value in fixed.items() if value is not None}
    try:
        wanted = plan(name, variants, partial(bundle_id, settings, warn=_warn))
    except VariantRefused as error:
        raise click.BadParameter(str(error), param_hint="--variant") from error
    with client_session(settings) as client:
        others = running(read_controls(settings))
        published = published_weights(settings)
        now = datetime.now(UTC)
        before = others.pop(name, None)
        if before is None:
            fields: dict[str, Any] = {"salt": name, "created_at": now, "shares_since": now} | given
            experiment = Experiment(name=name, variants=wanted.variants, **fields)
        elif given:
            raise click.UsageError(
                f"{name} is running: only its variants can be changed, not {', '.join(sorted(given))}"
            )
        else:
            experiment = reshared(before, wanted.variants, max(now, before.shares_since))
        for record in new_weights(wanted.weights, published, now):
            client.publish_weights(record)
        control = client.control(
            Control(
                kind="experiment-started", subject=name, time=experiment.shares_since, experiment=experiment
            )
        )
    known = {"default", "start", *published, *wanted.weights}
    for variant in experiment.variants:
        if variant.ranker not in known:
            _warn(
                f"no weights are called {variant.ranker!r}: until they are published, variant {variant.name} "
                "serves nobody, unless it is the bundle being served"
            )
    left = share_left(experiment, others.values())
    if left < 1.0:
        _warn(f"earlier experiments hold {1 - left:.0%} of the users, who stay there")
    if as_json:
        say(control.to_json())
    else:
        shares = ", ".join(f"{v.name} {v.share:.1%} by {served_by(v)}" for v in experiment.variants)
        say(f"{name} {'runs' if before is None else 'goes on'}: {shares}")


@command.command()
@click.argument("name")
@json_option
@connection_options
def stop(settings: Settings, *, name: str, as_json: bool) -> None:
    """Stop the experiment NAME: its users are served like all others."""
    from freshet.models.events.control import Control

    with client_session(settings) as client:
        last = _last(settings, name)
        if last.kind == "experiment-stopped":
            raise click.ClickException(f"experiment {name} was stopped on {last.time:%Y-%m-%d %H:%M} UTC")
        now = max(datetime.now(UTC), last.time)
        control = client.control(
            Control(kind="experiment-stopped", subject=name, time=now, experiment=last.experiment)
        )
    say(control.to_json() if as_json else f"{name} is stopped; `freshet experiment report {name}`")


@command.command(name="list")
@json_option
@connection_options
def list_(settings: Settings, *, as_json: bool) -> None:
    """List the experiments that are running, and those that were stopped."""
    from freshet.streams.kafka.topic_history import read_controls
    from freshet.workers.experiments.plan import latest
    from freshet.workers.experiments.report import experiment_json
    from freshet.workers.experiments.tables import experiments_table

    found = [
        (control.experiment, control.kind == "experiment-started")
        for control in latest(read_controls(settings)).values()
        if control.experiment is not None
    ]
    found.sort(key=lambda each: (each[0].created_at, each[0].name))
    listed = [experiment_json(experiment) | {"running": runs} for experiment, runs in found]
    show_result(
        {"experiments": listed},
        lambda: experiments_table(found) if found else "no experiment was ever started",
        as_json=as_json,
    )


@command.command()
@click.argument("name")
@click.option(
    "--alpha",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Significance level: the rate of false positives.",
)
@json_option
@connection_options
def report(settings: Settings, *, name: str, alpha: float, as_json: bool) -> None:
    """Show the results of the experiment NAME, as often as you like: its p-values stay valid.

    The exit status is 1 if there is a sample-ratio mismatch: the variants' users are not in the proportions
    of their shares.
    """
    from freshet.workers.experiments.report import report as read
    from freshet.workers.experiments.report import report_json
    from freshet.workers.experiments.tables import report_tables
    from freshet.workers.terminal.stage_progress import StageProgress

    last = _last(settings, name)
    with StageProgress() as progress:
        found = read(settings, last, progress.show_stage, alpha=alpha)
    show_result(report_json(found), lambda: report_tables(found), as_json=as_json)
    if found.outcome.mismatch:
        raise click.ClickException("sample-ratio mismatch: users are missing from a variant")


def _last(settings: Settings, name: str) -> Control:
    """Read the latest control event of an experiment."""
    from freshet.streams.kafka.topic_history import read_controls
    from freshet.workers.experiments.plan import latest

    known = latest(read_controls(settings))
    if name not in known:
        raise click.ClickException(
            f"no experiment is called {name!r}; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return known[name]


def _warn(text: str) -> None:
    say(f"Warning: {text}", err=True)
