"""``freshet train``: train a model bundle on a folder of data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freshet.workers.cli.options import data_argument, failing_on, json_option, skip_bad_lines_option
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.results import show_result, two_column_table
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
        "Only the earlier part of the data is read (--until); `freshet evaluate` measures on the rest. The "
        "same command resumes an interrupted run.\n\n\b\nModels:\n" + _models()
    ),
)
@data_argument
@click.option(
    "--model", required=True, metavar="NAME", type=click.Choice(sorted(MODELS)), help="See the list above."
)
@click.option(
    "--out",
    required=True,
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Folder of the bundle.",
)
@click.option("--name", default="", help="Prefix of the bundle's id.  [default: the model's name]")
@click.option("--set", "chosen", multiple=True, type=_Setting(), help="Setting of the model; repeatable.")
@click.option(
    "--until",
    type=FiniteRange(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Share of the data to read, from the earliest.",
)
@click.option(
    "--validation",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of that data which decides when to stop.",
)
@click.option("--epochs", type=click.IntRange(1), help="Most passes over the data.")
@click.option("--patience", type=click.IntRange(1), help="Epochs without improvement before training stops.")
@click.option("--learning-rate", type=FiniteRange(0, min_open=True), help="Learning rate of the optimizer.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed gives the same run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--encoder", default="minilm", show_default=True, help="Text encoder, as for `freshet up`.")
@click.option(
    "--pooling",
    type=click.Choice(["cls", "mean", "attention"]),
    default="mean",
    show_default=True,
    help="How token vectors are pooled into a text vector.",
)
@skip_bad_lines_option
@json_option
def command(
    *,
    out: Path,
    chosen: tuple[tuple[str, str], ...],
    epochs: int | None,
    patience: int | None,
    learning_rate: float | None,
    device: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a model on DIR."""
    from safetensors import SafetensorError

    from freshet.models.datasets.mind import MindError
    from freshet.models.embedding.bundle import BundleError
    from freshet.workers.training.progress import TrainingProgress
    from freshet.workers.training.train import TrainOptions, train_bundle

    fit = {"epochs": epochs, "patience": patience, "learning_rate": learning_rate, "device": device}
    options = TrainOptions(
        out=out,
        chosen=dict(chosen),
        fit={option: value for option, value in fit.items() if value is not None},
        **given,
    )
    # A full disk is a SafetensorError.
    with (
        failing_on(SafetensorError, prefix=f"{out} cannot be written: "),
        failing_on(BundleError, MindError, ValueError),
        TrainingProgress() as progress,
    ):
        bundle, trained = train_bundle(options, progress)
    described = {
        "bundle": bundle.id,
        "folder": str(out),
        "model": bundle.manifest.model,
        "d": bundle.manifest.d,
        "examples": trained.examples,
        "figures": bundle.manifest.figures,
        "curve": trained.curve,
    }
    show_result(described, lambda: _table(bundle, trained, out), as_json=as_json)


def _table(bundle: Bundle, trained: TrainedModel, out: Path) -> Table:
    manifest = bundle.manifest
    rows = [
        ("model", manifest.model),
        ("dimensions", str(manifest.d)),
        ("weights", f"{sum(weight.size for weight in bundle.weights.values()):,}"),
        ("epochs", str(len(manifest.training.curve))),
        ("examples in an epoch", f"{manifest.training.examples:,}"),
    ]
    speeds = [entry["examples_per_s"] for entry in trained.curve if "examples_per_s" in entry]
    if speeds:
        rows.append(("examples a second", f"{sum(speeds) / len(speeds):,.0f}"))
    figures = ((f"{name} (validation)", f"{figure:.4f}") for name, figure in manifest.figures.items())
    return two_column_table(f"Bundle {bundle.id} in {out}", rows, figures)
