"""The Python client: publish events, ask for recommendations, erase users.

Imports kafka and records. Begin with :mod:`~freshet.streams.client.client`.
"""

from freshet.models.events.events import EventError
from freshet.streams.client.client import Freshet

__all__ = ["EventError", "Freshet"]
