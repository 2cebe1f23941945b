"""``freshet experiment``: rankers and bundles side by side on one stream, each for its share of the users."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.terminal.connection_options import connection_options, settings_options
from freshet.workers.terminal.event_time import EventTime
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from freshet.models.events.control import Control

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(name="experiment")
def command() -> None:
    """Serve two or more rankers or bundles at once, and say which is better.

    Each user gets one variant, always the same. Workers follow within a second, without a restart.
    """


@command.command()
@click.argument("name")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    metavar="NAME=RANKER:SHARE",
    help="Such as A=default:0.5 or B=weights.json:0.5; the first is the control. RANKER is the name of "
    "weights on ranker-weights, a JSON file of weights by feature, or bundle:ID for another bundle's vectors "
    "and its ranker; a bundle's folder may stand for its id.",
)
@click.option(
    "--metric",
    type=click.Choice(["click-through-rate", "clicks-per-impression", "auc"]),
    help="What the experiment is decided by.  [default: click-through-rate]",
)
@click.option(
    "--expected-effect",
    type=FiniteRange(0, 10, min_open=True),
    help="The difference worth finding, as a share of the metric.  [default: 0.05]",
)
@click.option("--salt", help="Of the assignment.  [default: the experiment's name]")
@click.option("--from", "starts_at", type=EventTime(), help="Event time before which nobody is in it.")
@click.option("--until", "stops_at", type=EventTime(), help="Event time from which on nobody is in it.")
@_AS_JSON
@settings_options("bundles")
def start(settings: Settings, *, name: str, variants: tuple[str, ...], as_json: bool, **fixed: Any) -> None:
    """Start the experiment NAME; of one that runs, change the variants and their shares.

    A change moves as few users as possible, and the report begins anew with it.
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
                f"{name} runs: its variants can be changed; {', '.join(sorted(given))} was fixed at its start"
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
                f"no weights are called {variant.ranker!r}: until there are, variant {variant.name} serves "
                "nobody, unless it is the bundle being served"
            )
    left = share_left(experiment, others.values())
    if left < 1.0:
        _warn(f"experiments that were started before have {1 - left:.0%} of the users: they stay there")
    if as_json:
        say(control.to_json())
    else:
        shares = ", ".join(f"{v.name} {v.share:.1%} by {served_by(v)}" for v in experiment.variants)
        say(f"{name} {'runs' if before is None else 'goes on'}: {shares}")


@command.command()
@click.argument("name")
@_AS_JSON
@connection_options
def stop(settings: Settings, *, name: str, as_json: bool) -> None:
    """Stop the experiment NAME: all its users are served as everybody else."""
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
@_AS_JSON
@connection_options
def list_(settings: Settings, *, as_json: bool) -> None:
    """Show the experiments that run, and those that were stopped."""
    import orjson

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
    if as_json:
        listed = [experiment_json(experiment) | {"running": runs} for experiment, runs in found]
        say(orjson.dumps({"experiments": listed}))
    else:
        Terminal().print(experiments_table(found) if found else "no experiment was ever started")


@command.command()
@click.argument("name")
@click.option(
    "--alpha",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="How often a difference may be found where there is none.",
)
@_AS_JSON
@connection_options
def report(settings: Settings, *, name: str, alpha: float, as_json: bool) -> None:
    """Show what came of the experiment NAME, as often as you like: its p-values allow for it.

    Exit status 1 where the users of the variants do not come in the proportions of their shares.
    """
    import orjson
    from rich.progress import Progress

    from freshet.workers.experiments.report import report as read
    from freshet.workers.experiments.report import report_json
    from freshet.workers.experiments.tables import report_tables

    last = _last(settings, name)
    with Progress(console=Terminal(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def on_stage(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=None)
            bars.update(tasks[stage], completed=done, total=total)

        found = read(settings, last, on_stage, alpha=alpha)
    if as_json:
        say(orjson.dumps(report_json(found)))
    else:
        Terminal().print(report_tables(found))
    if found.outcome.mismatch:
        raise click.ClickException("sample-ratio mismatch: users are missing from a variant")


def _last(settings: Settings, name: str) -> Control:
    """The last instruction on an experiment."""
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
