"""The Python client: publish events, ask for recommendations, erase users.

Imports kafka and records. Begin with :mod:`~freshet.streams.client.client`. Events can be built and encoded
without a broker:

>>> from datetime import UTC, datetime
>>> from freshet.models.events.events import Click
>>> Click(user_id="U13740", news_id="N55189", time=datetime(2026, 11, 30, 8, 30, tzinfo=UTC)).to_json()
b'{"version":1,"user_id":"U13740","news_id":"N55189","time":"2026-11-30T08:30:00Z"}'
"""

from freshet.models.events.events import EventError
from freshet.streams.client.client import Freshet

__all__ = ["EventError", "Freshet"]
