"""``freshet capacity``: estimate what a site of a given size needs."""

from __future__ import annotations

from typing import Any

import click

from freshet.workers.cli.options import json_option, refusing
from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import say_json


@click.command(name="capacity")
@click.option("--users", type=click.IntRange(1), required=True, help="Known users, active or not.")
@click.option("--articles", type=click.IntRange(1), required=True, help="Articles that may be recommended.")
@click.option("--impressions-per-day", type=click.IntRange(0), help="[default: three for each user]")
@click.option("--requests-per-day", type=click.IntRange(0), help="[default: as many as impressions]")
@click.option("--articles-per-day", type=click.IntRange(0), help="New or changed. [default: 1 % of all]")
@click.option("--shown", type=click.IntRange(1), help="Articles in an impression. [default: 10]")
@click.option("--clicks", type=FiniteRange(0, 1_000), help="Clicks per impression. [default: 0.3]")
@click.option("--remembered-clicks", type=click.IntRange(0), help="Clicks kept per user. [default: 20]")
@click.option(
    "--remembered-shown", type=click.IntRange(0), help="Shown articles kept per user. [default: 100]"
)
@click.option("--co-clicks", type=click.IntRange(0), help="Co-clicked articles per article. [default: 50]")
@click.option("--dimension", type=click.IntRange(2), help="Dimension of the vectors. [default: 64]")
@click.option("--replication", type=click.IntRange(1), help="Replicas of Kafka's topics. [default: 3]")
@click.option(
    "--peak", type=FiniteRange(1, 1_000), help="Busiest minutes, as a multiple of the mean. [default: 3]"
)
@click.option(
    "--utilisation",
    type=FiniteRange(0, 1, min_open=True),
    help="Share of a worker's time that the peak may take. [default: 0.5]",
)
@json_option
def command(*, as_json: bool, users: int, articles: int, **given: Any) -> None:
    """Estimate memory, disk, Kafka, partitions and workers for a site.

    Sizes of records are exact; speeds and memory were measured on one machine; everything else is an option.
    The page on capacity says which is which.
    """
    from freshet.workers.bench.capacity.plan import Site, plan
    from freshet.workers.bench.capacity.text import render

    fields = {name: value for name, value in given.items() if value is not None}
    fields.setdefault("impressions_per_day", 3 * users)
    fields.setdefault("requests_per_day", fields["impressions_per_day"])
    fields.setdefault("articles_per_day", articles // 100)
    with refusing(ValueError):
        planned = plan(Site(users=users, articles=articles, **fields))
    if as_json:
        say_json(planned.as_json())
    else:
        say("\n".join(render(planned)))
