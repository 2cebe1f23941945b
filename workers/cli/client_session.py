"""A client for the duration of one verb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from freshet.streams.settings import Settings
from freshet.workers.cli.options import refusing

if TYPE_CHECKING:
    from freshet.streams.client import Freshet


@contextmanager
def client_session(settings: Settings) -> Iterator[Freshet]:
    """Yield a connected client and close it at the end.

    Raises:
        FreshetError: Kafka or a worker does not answer (exit status 1).
        click.UsageError: An event does not allow one of the arguments (exit status 2).
    """
    from pydantic import ValidationError

    from freshet.models.events.events import EventError, refusal
    from freshet.streams.client import Freshet

    with refusing(EventError), Freshet(settings) as client:
        try:
            yield client
        except ValidationError as error:
            raise EventError(refusal(error.title, error)) from error
