"""``freshet compare``: every model on one folder, in one table."""

from __future__ import annotations

from pathlib import Path

import click

from freshet.workers.cli.options import (
    ANY_FOLDER,
    data_argument,
    failing_on,
    json_option,
    skip_bad_lines_option,
)
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.results import show_result
from freshet.workers.training.models import MODELS

_MODELS = [name for name, model in MODELS.items() if "mind" in model.trainers]


@click.command(name="compare")
@data_argument
@click.option(
    "--models",
    metavar="NAME,...",
    default=",".join(_MODELS),
    show_default=True,
    help="Models, in the order of the table.",
)
@click.option(
    "--until",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Share of the impressions to train on, from the earliest.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of training.")
@click.option("--keep", metavar="DIR", type=ANY_FOLDER, help="Keep the bundles in this folder.")
@skip_bad_lines_option
@json_option
def command(
    *,
    folder: Path,
    models: str,
    until: float,
    seed: int,
    keep: Path | None,
    skip_bad_lines: bool,
    as_json: bool,
) -> None:
    """Train every model on the earlier part of DIR, a MIND folder, and evaluate all on the rest.

    The baselines stand beside them, and the oracle where `freshet synth` made the folder.
    """
    from freshet.models.datasets.mind import MindError
    from freshet.models.embedding.bundle import BundleError
    from freshet.workers.evaluation.compare import CompareOptions, compare
    from freshet.workers.terminal.connection_options import build_settings

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    unknown = [name for name in names if name not in _MODELS]
    if unknown or not names:
        raise click.UsageError(
            f"--models: {unknown[0] if unknown else 'none'}; there are {', '.join(_MODELS)}"
        )
    options = CompareOptions(folder, names, until, seed, keep, skip_bad_lines)
    with failing_on(BundleError, MindError, ValueError):
        found = compare(options, build_settings({}))
    show_result(found, found.render, as_json=as_json)
