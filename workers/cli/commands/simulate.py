"""``freshet simulate``: compare exploration policies on synthetic readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from freshet.workers.cli.options import ANY_FOLDER, failing_on, json_option, refusing
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.results import show_result

_BURST_ARTICLES = 200
_EXPLORATION = ("slots", "max_age_s", "max_impressions", "temperature", "alpha")


@click.command(name="simulate")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(["none", "thompson", "linucb", "plackett-luce"]),
    help="Policy to compare with none; repeatable. [default: all]",
)
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, help="Number of worlds, for intervals."
)
@click.option("--seed", type=SEED, default=7, show_default=True, help="Seed of the first world.")
@click.option("--users", type=click.IntRange(20), default=1_500, show_default=True, help="Readers per world.")
@click.option(
    "--articles", type=click.IntRange(100), default=1_000, show_default=True, help="Articles per world."
)
@click.option(
    "--impressions", type=click.IntRange(1), default=6_000, show_default=True, help="Lists per policy."
)
@click.option(
    "--hours", type=FiniteRange(1, 24 * 366), default=24.0, show_default=True, help="Length of the stream."
)
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Articles in a list.")
@click.option(
    "--diversity", type=FiniteRange(0, 1), default=0.3, show_default=True, help="Diversity of the lists."
)
@click.option("--slots", metavar="N", help="Most slots of a list that explore.")
@click.option("--max-age-s", metavar="SECONDS", help="Age up to which articles are explored.")
@click.option("--max-impressions", metavar="N", help="Impressions up to which articles are explored.")
@click.option("--temperature", metavar="T", help="Temperature of plackett-luce.")
@click.option("--alpha", metavar="A", help="Width of linucb's confidence bound.")
@click.option("--keep-weights", is_flag=True, help="Do not learn the ranker's weights.")
@click.option("--ids-only", is_flag=True, help="Serve without the articles' vectors.")
@click.option(
    "--log", metavar="DIR", type=ANY_FOLDER, help="Write the first world's lists: a folder for each policy."
)
@click.option(
    "--bursts",
    is_flag=True,
    help="Instead, measure how soon bursts are detected, in --seeds trials.",
)
@json_option
def command(
    *,
    policies: tuple[str, ...],
    seeds: int,
    seed: int,
    k: int,
    diversity: float,
    keep_weights: bool,
    ids_only: bool,
    log: Path | None,
    bursts: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Let exploration policies serve the same synthetic readers, and learn from their clicks.

    The production code recommends; simulated readers click with known probabilities. The report has clicks,
    regret against an oracle, how soon new hits are found, and what that costs. Options not given here come
    from FRESHET_EXPLORATION_*.
    """
    if bursts:
        _bursts(seeds, seed, as_json)
        return
    from freshet.models.datasets.synthetic.world import SynthConfig
    from freshet.models.evaluation.simulation.run import SimulationConfig
    from freshet.workers.evaluation.simulation.run import POLICIES, SimulateOptions, run
    from freshet.workers.evaluation.simulation.text import render
    from freshet.workers.terminal.connection_options import build_settings
    from freshet.workers.terminal.stage_progress import StageProgress

    settings = build_settings({f"exploration_{name}": given.pop(name) for name in _EXPLORATION})
    with refusing(ValueError):
        config = SimulationConfig(
            SynthConfig(seed=seed, **given),
            k=k,
            diversity=diversity,
            learning=not keep_weights,
            vectors=not ids_only,
        )
    chosen = tuple(name for name in POLICIES if name == "none" or not policies or name in policies)
    options = SimulateOptions(config, chosen, seeds, log)
    try:
        with failing_on(ValueError), StageProgress() as progress, progress.stage("lists") as update:
            report = run(options, settings, update)
    except FileExistsError as error:
        raise click.ClickException(f"{error}. Name a new folder.") from error
    except OSError as error:
        raise click.ClickException(f"{log}: cannot be written: {error.strerror}") from error
    show_result(report.as_json(), lambda: render(report), as_json=as_json)


def _bursts(seeds: int, seed: int, as_json: bool) -> None:
    from freshet.workers.evaluation.simulation.burst_trials import measure, render
    from freshet.workers.terminal.stage_progress import StageProgress

    with StageProgress() as progress, progress.stage("trials") as update:
        rows = measure(seeds, seed, _BURST_ARTICLES, update)
    result = {"articles": _BURST_ARTICLES, "rows": rows}
    show_result(result, lambda: render(rows, _BURST_ARTICLES), as_json=as_json)
