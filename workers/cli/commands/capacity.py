"""``freshet capacity``: what a site of a given size needs."""

from __future__ import annotations

from typing import Any

import click

from freshet.workers.terminal.number_options import FiniteRange
from freshet.workers.terminal.printable import say


@click.command(name="capacity")
@click.option("--users", type=click.IntRange(1), required=True, help="Known by id, active or not.")
@click.option("--articles", type=click.IntRange(1), required=True, help="That may be recommended.")
@click.option("--impressions-per-day", type=click.IntRange(0), help="[default: three for each user]")
@click.option("--requests-per-day", type=click.IntRange(0), help="[default: as many as impressions]")
@click.option("--articles-per-day", type=click.IntRange(0), help="New or changed. [default: 1 % of all]")
@click.option("--shown", type=click.IntRange(1), help="Articles in an impression. [default: 10]")
@click.option("--clicks", type=FiniteRange(0, 1_000), help="Of an impression. [default: 0.3]")
@click.option("--remembered-clicks", type=click.IntRange(0), help="Of the average user. [default: 20]")
@click.option("--remembered-shown", type=click.IntRange(0), help="To the average user. [default: 100]")
@click.option("--co-clicks", type=click.IntRange(0), help="Articles clicked before an article. [default: 50]")
@click.option("--dimension", type=click.IntRange(2), help="Of the vectors. [default: 64]")
@click.option("--replication", type=click.IntRange(1), help="Of Kafka's topics. [default: 3]")
@click.option(
    "--peak", type=FiniteRange(1, 1_000), help="The busiest minutes, by the day's mean. [default: 3]"
)
@click.option(
    "--utilisation",
    type=FiniteRange(0, 1, min_open=True),
    help="The share of a worker that the peak may take. [default: 0.5]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool, users: int, articles: int, **given: Any) -> None:
    """Reckon memory, disk, Kafka, partitions and workers for a site.

    Sizes of records are exact; speeds and memory were measured on one machine, and what neither is is an
    option. The page on capacity says which is which.
    """
    import orjson

    from freshet.workers.bench.capacity.plan import Site, plan
    from freshet.workers.bench.capacity.text import render

    fields = {name: value for name, value in given.items() if value is not None}
    fields.setdefault("impressions_per_day", 3 * users)
    fields.setdefault("requests_per_day", fields["impressions_per_day"])
    fields.setdefault("articles_per_day", articles // 100)
    try:
        planned = plan(Site(users=users, articles=articles, **fields))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        say(orjson.dumps(planned.as_json()))
    else:
        say("\n".join(render(planned)))
