"""Keeps the point at which a replay stopped under ``data_dir/replay``, by folder contents and topic prefix.

After a clean stop (the end, ``--limit``, Ctrl-C) a resumed replay publishes exactly the lines not published
yet. After a crash it may repeat those of the last second: the point is saved after Kafka has acknowledged.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from freshet.streams.settings import Settings
from freshet.workers.replay.report import ReplayError


class ResumePoint(BaseModel):
    """The records published so far."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    folder: str
    impressions: int = 0
    """Position in the order of time."""
    articles: int = 0
    """Position in the order of publication."""
    untimed_reported: bool = False
    """Whether the lines without a place in time are dead letters already."""
    shift_s: float = 0.0
    """Added to every time of the log."""
    finished: bool = False

    def save(self, path: Path) -> None:
        """Write the point; a reader sees the old one or the new one, whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(self.model_dump_json(indent=1))
        os.replace(new, path)

    @classmethod
    def load(cls, path: Path) -> ResumePoint | None:
        """The saved point; ``None`` where nothing was saved.

        Raises:
            ReplayError: The file is damaged.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise ReplayError(
                f"{path} does not say where the last replay stopped ({error}); "
                "delete it, or replay from the beginning without --resume"
            ) from error


def resume_path(settings: Settings, fingerprint: str) -> Path:
    """Return the file that keeps the point of a folder with these contents, for this prefix of topics."""
    prefix = settings.topic_prefix.strip(".") or "no-prefix"
    return settings.data_dir / "replay" / f"{fingerprint}-{prefix}.json"
