"""``freshet publish``: publish articles from JSON files."""

from __future__ import annotations

import sys

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.client_session import client_session
from freshet.workers.terminal.connection_options import connection_options
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.results import say_json
from freshet.workers.terminal.terminal import Terminal

BATCH = 500
"""Articles published together. Those from a pipe are published one by one, as they arrive."""
MAX_LISTED = 100
"""Bad lines listed in the JSON report; all are counted and printed to stderr."""


@click.command(name="publish")
@click.argument(
    "files",
    metavar="ARTICLE.json...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    nargs=-1,
    required=True,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: published, refused, problems.")
@connection_options
def command(settings: Settings, *, files: tuple[str, ...], as_json: bool) -> None:
    """Publish the articles in files: one JSON object, or one object per line; - is stdin.

    Bad lines are reported and skipped; the exit status is then 1.
    """
    from rich.progress import Progress

    from freshet.models.events.events import Article
    from freshet.workers.cli.article_lines import read_articles

    published = refused = 0
    problems: list[dict[str, object]] = []
    bars = Progress(console=Terminal(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with client_session(settings) as client, bars as progress:
        task = progress.add_task("publishing", total=None)
        for path in files:
            name = "stdin" if path == "-" else click.format_filename(path)
            batch: list[Article] = []
            batch_size = 1 if path == "-" else BATCH
            with click.open_file(path, "rb") as file:
                for article in read_articles(file):
                    if isinstance(article, Article):
                        batch.append(article)
                        if len(batch) >= batch_size:
                            client.publish(*batch)
                            published += len(batch)
                            progress.update(task, completed=published)
                            batch.clear()
                        continue
                    refused += 1
                    say(f"{name}:{article.line}: {article.reason}", err=True)
                    if len(problems) < MAX_LISTED:
                        problems.append({"file": name, "line": article.line, "reason": article.reason})
            client.publish(*batch)
            published += len(batch)
    if as_json:
        say_json({"published": published, "refused": refused, "problems": problems})
    else:
        articles = "article" if published == 1 else "articles"
        say(f"{published} {articles} published" + (f", {refused} refused" if refused else ""))
    if refused:
        sys.exit(1)
