"""A client for the length of one verb, with its errors in the command line's terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from freshet.streams.settings import Settings

if TYPE_CHECKING:
    from freshet.streams.client import Freshet


@contextmanager
def client_session(settings: Settings) -> Iterator[Freshet]:
    """A connected client, closed at the end.

    Raises:
        click.ClickException: Kafka or a worker does not answer (exit status 1).
        click.UsageError: An argument is not what its event allows (exit status 2).
    """
    from pydantic import ValidationError

    from freshet.models.events.events import EventError, refusal
    from freshet.streams.client import Freshet
    from freshet.streams.errors import FreshetError

    try:
        with Freshet(settings) as client:
            yield client
    except FreshetError as error:
        raise click.ClickException(str(error)) from error
    except EventError as error:
        raise click.UsageError(str(error)) from error
    except ValidationError as error:
        raise click.UsageError(refusal(error.title, error)) from error
