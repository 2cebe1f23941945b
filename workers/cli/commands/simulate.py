"""``freshet simulate``: exploration policies side by side on synthetic readers."""

from __future__ import annotations

from pathlib import Path

import click

from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

_BURST_ARTICLES = 200


@click.command(name="simulate")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(["none", "thompson", "linucb", "plackett-luce"]),
    help="Compared with none; may be repeated. [default: all]",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Worlds; for intervals.")
@click.option("--seed", type=SEED, default=7, show_default=True, help="Of the first world.")
@click.option(
    "--users", type=click.IntRange(20), default=1_500, show_default=True, help="Readers in a world."
)
@click.option("--articles", type=click.IntRange(100), default=1_000, show_default=True, help="In a world.")
@click.option(
    "--impressions", type=click.IntRange(1), default=6_000, show_default=True, help="Lists of each policy."
)
@click.option("--hours", type=FiniteRange(1, 24 * 366), default=24.0, show_default=True)
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Articles in a list.")
@click.option("--diversity", type=FiniteRange(0, 1), default=0.3, show_default=True)
@click.option("--slots", metavar="N", help="The most slots of a list that explore.")
@click.option("--max-age-s", metavar="SECONDS", help="Only younger articles are explored.")
@click.option("--max-impressions", metavar="N", help="Only articles shown less often are explored.")
@click.option("--temperature", metavar="T", help="Of plackett-luce.")
@click.option("--alpha", metavar="A", help="Of linucb.")
@click.option("--keep-weights", is_flag=True, help="Do not learn the ranker's weights.")
@click.option("--ids-only", is_flag=True, help="Serve without the articles' vectors.")
@click.option(
    "--log",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what the first world's lists were: a folder for each policy.",
)
@click.option(
    "--bursts", is_flag=True, help="Instead: how soon the burst detector sees news break, in --seeds trials."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    policies: tuple[str, ...],
    seeds: int,
    seed: int,
    users: int,
    articles: int,
    impressions: int,
    hours: float,
    k: int,
    diversity: float,
    slots: str | None,
    max_age_s: str | None,
    max_impressions: str | None,
    temperature: str | None,
    alpha: str | None,
    keep_weights: bool,
    ids_only: bool,
    log: Path | None,
    bursts: bool,
    as_json: bool,
) -> None:
    """Let exploration policies serve the same synthetic readers, and learn from them.

    The code that serves recommends; readers whose chances of a click are known decide. Reports clicks, regret
    against an oracle, how soon new hits are found, and what that costs. What is not given here is as
    FRESHET_EXPLORATION_* says.
    """
    import orjson

    if bursts:
        _bursts(seeds, seed, as_json)
        return
    from freshet.models.datasets.synthetic.world import SynthConfig
    from freshet.models.evaluation.simulation.run import SimulationConfig
    from freshet.workers.evaluation.simulation.run import POLICIES, SimulateOptions, run
    from freshet.workers.evaluation.simulation.text import render
    from freshet.workers.terminal.connection_options import build_settings
    from freshet.workers.terminal.stage_progress import StageProgress

    settings = build_settings(
        {
            "exploration_slots": slots,
            "exploration_max_age_s": max_age_s,
            "exploration_max_impressions": max_impressions,
            "exploration_temperature": temperature,
            "exploration_alpha": alpha,
        }
    )
    try:
        config = SimulationConfig(
            SynthConfig(users=users, articles=articles, impressions=impressions, seed=seed, hours=hours),
            k=k,
            diversity=diversity,
            learning=not keep_weights,
            vectors=not ids_only,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    chosen = tuple(name for name in POLICIES if name == "none" or not policies or name in policies)
    options = SimulateOptions(config, chosen, seeds, log)
    try:
        with StageProgress() as progress, progress.stage("lists") as told:
            report = run(options, settings, told)
    except FileExistsError as error:
        raise click.ClickException(f"{error}. Name a new folder.") from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{log}: cannot be written: {error.strerror}") from error
    if as_json:
        say(orjson.dumps(report.as_json(), option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        Terminal().print(render(report))


def _bursts(seeds: int, seed: int, as_json: bool) -> None:
    from dataclasses import asdict

    import orjson

    from freshet.workers.evaluation.simulation.burst_trials import measure, render
    from freshet.workers.terminal.stage_progress import StageProgress

    with StageProgress() as progress, progress.stage("trials") as told:
        rows = measure(seeds, seed, _BURST_ARTICLES, told)
    if as_json:
        say(orjson.dumps({"articles": _BURST_ARTICLES, "rows": [asdict(row) for row in rows]}).decode())
    else:
        Terminal().print(render(rows, _BURST_ARTICLES))
