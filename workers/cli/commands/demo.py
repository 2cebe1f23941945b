"""``freshet demo``: run all of freshet once, on a synthetic newspaper."""

from __future__ import annotations

from pathlib import Path

import click

from freshet.workers.cli.options import ANY_FOLDER, refusing
from freshet.workers.terminal.number_options import SEED
from freshet.workers.terminal.results import say_json
from freshet.workers.terminal.terminal import Terminal


@click.command(name="demo")
@click.option("--seed", type=SEED, default=7, show_default=True, help="Seed of the newspaper.")
@click.option("--users", type=click.IntRange(20), help="Number of readers. [default: 1,500]")
@click.option("--articles", type=click.IntRange(100), help="Number of articles. [default: 600]")
@click.option("--impressions", type=click.IntRange(20), help="Number of impressions. [default: 6,000]")
@click.option(
    "--data-dir",
    type=ANY_FOLDER,
    default=".freshet",
    show_default=True,
    envvar="FRESHET_DATA_DIR",
    metavar="DIR",
    help="Folder of the demo's files, which are in DIR/demo.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; the rest goes to stderr.")
def command(
    *,
    seed: int,
    users: int | None,
    articles: int | None,
    impressions: int | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Start a separate system, stream a synthetic newspaper through it, and show what happens.

    The system listens on free ports and keeps its data in its own folder, which each demo empties first.
    """
    from dataclasses import replace

    from freshet.models.datasets.synthetic.folder import demo_world
    from freshet.workers.demo.run import run_demo
    from freshet.workers.demo.screen import PLAIN_WIDTH, Screen

    config = demo_world(seed)
    given = {"users": users, "articles": articles, "impressions": impressions}
    with refusing(ValueError):
        config = replace(config, **{name: value for name, value in given.items() if value is not None})
    console = Terminal(stderr=as_json, markup=True)
    if not console.is_terminal:
        console = Terminal(stderr=as_json, width=PLAIN_WIDTH, markup=True)
    try:
        report = run_demo(data_dir / "demo", config, Screen(console))
    except OSError as error:
        raise click.ClickException(f"{data_dir / 'demo'}: {error}") from error
    if as_json:
        say_json(report.as_json())
