"""``freshet train``: from a folder of data to a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal
from freshet.workers.training.models import MODELS

if TYPE_CHECKING:
    from rich.table import Table

    from freshet.models.embedding.bundle import Bundle
    from freshet.models.training.trained_model import TrainedModel


class _Setting(click.ParamType):
    name = "NAME=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name.strip(), text.strip()


def _models() -> str:
    return "\n".join(f"  {name:<22}{entry.summary}" for name, entry in sorted(MODELS.items()))


@click.command(
    name="train",
    help=(
        "Train a model on DIR: a MIND folder, MovieLens, or headline tests.\n\n"
        "Only the earlier part of the data is read (--until); `freshet evaluate` measures on the rest. An "
        "interrupted run is resumed by the same command.\n\n\b\nModels:\n" + _models()
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model", required=True, metavar="NAME", type=click.Choice(sorted(MODELS)), help="See the list above."
)
@click.option(
    "--out", required=True, metavar="BUNDLE", type=click.Path(path_type=Path), help="The bundle's folder."
)
@click.option("--name", default="", help="What the bundle's id begins with.  [default: the model's name]")
@click.option(
    "--set", "chosen", multiple=True, type=_Setting(), help="One of the model's settings; may be repeated."
)
@click.option(
    "--until",
    type=FiniteRange(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="The share of the data to see.",
)
@click.option(
    "--validation",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="The share of that which decides when to stop.",
)
@click.option("--epochs", type=click.IntRange(1), help="At most so many passes.")
@click.option("--patience", type=click.IntRange(1), help="Epochs without gain before training stops.")
@click.option("--learning-rate", type=FiniteRange(0, min_open=True), help="Of the optimizer.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed, the same run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--encoder", default="minilm", show_default=True, help="The text encoder, as for `freshet up`.")
@click.option(
    "--pooling",
    type=click.Choice(["cls", "mean", "attention"]),
    default="mean",
    show_default=True,
    help="How token vectors become a text vector.",
)
@click.option("--skip-bad-lines", is_flag=True, help="Go on at a line that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    folder: Path,
    model: str,
    out: Path,
    name: str,
    chosen: tuple[tuple[str, str], ...],
    until: float,
    validation: float,
    epochs: int | None,
    patience: int | None,
    learning_rate: float | None,
    seed: int,
    device: str,
    encoder: str,
    pooling: str,
    skip_bad_lines: bool,
    as_json: bool,
) -> None:
    """Train a model on DIR."""
    import orjson
    from safetensors import SafetensorError

    from freshet.models.datasets.mind import MindError
    from freshet.models.embedding.bundle import BundleError
    from freshet.workers.errors import WorkerError
    from freshet.workers.training.progress import TrainingProgress
    from freshet.workers.training.train import TrainOptions, train_bundle

    fit = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "device": device}
    options = TrainOptions(
        folder=folder,
        model=model,
        out=out,
        name=name,
        until=until,
        validation=validation,
        chosen=dict(chosen),
        fit={option: value for option, value in fit.items() if value is not None},
        seed=seed,
        encoder=encoder,
        pooling=pooling,
        skip_bad_lines=skip_bad_lines,
    )
    try:
        with TrainingProgress() as progress:
            bundle, trained = train_bundle(options, progress)
    except (BundleError, MindError, WorkerError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except SafetensorError as error:  # what the library makes of a disk that is full
        raise click.ClickException(f"{out} cannot be written: {error}") from error
    if as_json:
        described: dict[str, Any] = {
            "bundle": bundle.id,
            "folder": str(out),
            "model": bundle.manifest.model,
            "d": bundle.manifest.d,
            "examples": trained.examples,
            "figures": bundle.manifest.figures,
            "curve": trained.curve,
        }
        say(orjson.dumps(described).decode())
    else:
        Terminal().print(_table(bundle, trained, out))


def _table(bundle: Bundle, trained: TrainedModel, out: Path) -> Table:
    from rich.table import Table

    manifest = bundle.manifest
    table = Table(title=f"Bundle {bundle.id} in {out}", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row("model", manifest.model)
    table.add_row("dimensions", str(manifest.d))
    table.add_row("weights", f"{sum(weight.size for weight in bundle.weights.values()):,}")
    table.add_row("epochs", str(len(manifest.training.curve)))
    table.add_row("examples in an epoch", f"{manifest.training.examples:,}")
    speeds = [entry["examples_per_s"] for entry in trained.curve if "examples_per_s" in entry]
    if speeds:
        table.add_row("examples a second", f"{sum(speeds) / len(speeds):,.0f}")
    table.add_section()
    for name, figure in manifest.figures.items():
        table.add_row(f"{name} (validation)", f"{figure:.4f}")
    return table
