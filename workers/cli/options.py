"""Options and arguments that several verbs share, and errors turned into those of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from freshet.workers.terminal.number_options import SECONDS

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
ANY_FILE = click.Path(dir_okay=False, path_type=Path)
ANY_FOLDER = click.Path(file_okay=False, path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
event_json_option = click.option("--json", "as_json", is_flag=True, help="Print the event as JSON.")
data_argument = click.argument("folder", metavar="DIR", type=EXISTING_FOLDER)
skip_bad_lines_option = click.option(
    "--skip-bad-lines", is_flag=True, help="Skip lines that cannot be read, instead of stopping."
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=SECONDS,
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
verbose_option = click.option("--verbose", is_flag=True, help="Show the libraries' logs too.")


@contextmanager
def failing_on(*errors: type[Exception], prefix: str = "") -> Iterator[None]:
    """Turn ``errors`` into one line on stderr and exit status 1."""
    try:
        yield
    except errors as error:
        raise click.ClickException(f"{prefix}{error}") from error


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turn ``errors`` about what the user gave into wrong usage: exit status 2."""
    try:
        yield
    except errors as error:
        raise click.UsageError(str(error)) from error
