"""How much of one user counts for everybody: each event once, and an article only so often in an hour.

Of a user, at most ``MAX_CLICKS_AN_HOUR`` clicks on an article within an hour of event time count in what is
known of the article (its statistics, co-clicks, the population's vector, bursts) and teach the ranker. Of
showings ``MAX_SHOWN_AN_HOUR`` in a clock hour count, and that of every click that does. Beyond that a user
moves nothing but their own state. On three public logs (MIND, DeskDrop, NeMig: 23,253 clicks, 311,429
showings) nobody clicked an article more than twice in an hour, and nobody was shown one more than six times.

An event that is published again is known by its **mark**, a hash of what names it. A user's state keeps the
last ``MAX_MARKS``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from freshet.models.events.events import Click, Impression, to_unix_s
from freshet.models.users import newest_clicks
from freshet.models.users.exposures import HOUR_S, Exposures

MAX_CLICKS_AN_HOUR: Final = 3
MAX_SHOWN_AN_HOUR: Final = 10
MAX_MARKS: Final = 64
"""Events of a user that are known when they come again, whatever their kind; 8 bytes each."""


class Counted(NamedTuple):
    """The part of an event that counts for everybody."""

    shown: Collection[str]
    clicked: Collection[str]
    left_out: Collection[str] = ()
    """Articles of which nothing counts."""
    teaches: bool = True
    """True where every click counts: the ranker may learn from it."""

    @property
    def whole(self) -> bool:
        """True where nothing of the event is left out."""
        return self.teaches and not self.left_out


def mark_of(event: Impression | Click) -> int:
    """The 64 bits by which an event of a user is known when it is published again.

    - An impression by its id and time: who numbers impressions anew each day does not lose those of today.
    - A click by its ``click_id``; without it, by the impression and the article that it names; without those,
      by its article and time.
    """
    # No id has a space in it.
    match event:
        case Impression():
            name = f"impression {event.impression_id} {to_unix_s(event.time)}"
        case Click(click_id=str(click_id)):
            name = f"click {click_id}"
        case Click(impression_id=str(impression_id)):
            name = f"click on {impression_id} {event.news_id}"
        case Click():
            name = f"click at {to_unix_s(event.time)} {event.news_id}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())


def bounded(  # noqa: PLR0917 - when, what, and what is known of the user
    time_s: float,
    shown: Collection[str],
    clicked: Collection[str],
    recent: Sequence[newest_clicks.Click],
    max_recent: int,
    exposures: Exposures,
) -> Counted:
    """Leave out of an event at ``time_s`` what its user has counted in too often.

    Args:
        time_s: Event time, Unix seconds.
        shown: What was shown.
        clicked: What was clicked.
        recent: The user's newest clicks before it, the oldest first. Where they are as many as are remembered
            and all of the last hour, no click counts: how many there were is not known any more.
        max_recent: How many are remembered.
        exposures: The user's before it.
    """
    worn = exposures.shown_in_hour(shown, time_s, MAX_SHOWN_AN_HOUR)
    if not worn and not clicked:
        return Counted(shown, clicked)
    since_s = time_s - HOUR_S
    unknown = len(recent) >= max_recent and recent[0][0] > since_s
    lately = [news_id for clicked_s, news_id in recent if clicked_s > since_s]
    counting = [news_id for news_id in clicked if not unknown and lately.count(news_id) < MAX_CLICKS_AN_HOUR]
    whole = len(counting) == len(clicked)
    if whole and not worn:
        return Counted(shown, clicked)
    showing = [news_id for news_id in shown if news_id not in worn or news_id in counting]
    left_out = {*shown, *clicked} - {*showing, *counting}
    return Counted(showing, counting, sorted(left_out), whole)
