"""``freshet compare``: every model on one folder, in one table."""

from __future__ import annotations

from pathlib import Path

import click

from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal
from freshet.workers.training.models import MODELS

_MODELS = [name for name, model in MODELS.items() if "mind" in model.trainers]


@click.command(name="compare")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--models",
    metavar="NAME,...",
    default=",".join(_MODELS),
    show_default=True,
    help="Which, and in what order.",
)
@click.option(
    "--until",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="The share of the impressions, in time, to train on.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of training.")
@click.option(
    "--keep", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Leave the bundles there."
)
@click.option("--skip-bad-lines", is_flag=True, help="Go on at a line that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
    """Train every model on the earlier part of DIR, a MIND folder, and measure all on the rest.

    Beside them stand the baselines, and the oracle where `freshet synth` made the folder.
    """
    import orjson

    from freshet.models.datasets.mind import MindError
    from freshet.models.embedding.bundle import BundleError
    from freshet.workers.errors import WorkerError
    from freshet.workers.evaluation.compare import CompareOptions, compare
    from freshet.workers.terminal.connection_options import build_settings

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    unknown = [name for name in names if name not in _MODELS]
    if unknown or not names:
        raise click.UsageError(
            f"--models: {unknown[0] if unknown else 'none'}; there are {', '.join(_MODELS)}"
        )
    options = CompareOptions(folder, names, until, seed, keep, skip_bad_lines)
    try:
        found = compare(options, build_settings({}))
    except (BundleError, MindError, WorkerError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        say(orjson.dumps(found).decode())
    else:
        Terminal().print(found.render())
