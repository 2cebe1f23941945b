"""``freshet demo``: the whole of freshet once, on a synthetic newspaper."""

from __future__ import annotations

from pathlib import Path

import click

from freshet.workers.terminal.number_options import SEED
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal


@click.command(name="demo")
@click.option("--seed", type=SEED, default=7, show_default=True, help="Of the newspaper.")
@click.option("--users", type=click.IntRange(20), help="Readers. [default: 1,500]")
@click.option("--articles", type=click.IntRange(100), help="[default: 600]")
@click.option("--impressions", type=click.IntRange(20), help="[default: 6,000]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=".freshet",
    show_default=True,
    envvar="FRESHET_DATA_DIR",
    metavar="DIR",
    help="The demo keeps its files in DIR/demo.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; the story goes to stderr.")
def command(
    *,
    seed: int,
    users: int | None,
    articles: int | None,
    impressions: int | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Start a system of its own, stream a synthetic newspaper through it, and show what happens.

    The system listens on free ports and keeps its data in a folder of its own, which each demo begins anew.
    """
    from dataclasses import replace

    import orjson

    from freshet.models.datasets.synthetic.folder import demo_world
    from freshet.workers.demo.run import run_demo
    from freshet.workers.demo.screen import PLAIN_WIDTH, Screen

    config = demo_world(seed)
    given = {"users": users, "articles": articles, "impressions": impressions}
    try:
        config = replace(config, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    console = Terminal(stderr=as_json, markup=True)
    if not console.is_terminal:
        console = Terminal(stderr=as_json, width=PLAIN_WIDTH, markup=True)
    try:
        report = run_demo(data_dir / "demo", config, Screen(console))
    except OSError as error:
        raise click.ClickException(f"{data_dir / 'demo'}: {error}") from error
    if as_json:
        say(orjson.dumps(report.as_json()))
