"""Which evaluation a folder of data gets, by what the folder is.

A MIND folder is evaluated by :mod:`freshet.workers.evaluate`; the entries of :data:`EVALUATORS` measure
bundles that were trained on other data, each by the protocol of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from rich.console import RenderableType

from freshet.models.bundle import Bundle
from freshet.streams.settings import Settings
from freshet.workers.evaluation_progress import EvaluationProgress
from freshet.workers.trainable_models import DataKind


class FolderReport(Protocol):
    """What an evaluation found."""

    def as_json(self) -> dict[str, object]:
        """As plain JSON values."""
        ...

    def render(self) -> RenderableType:
        """For a terminal."""
        ...


FolderEvaluator = Callable[[Path, Bundle, Settings, EvaluationProgress], FolderReport]
"""Folder, bundle, settings, progress to a report; raises :class:`~freshet.workers.errors.WorkerError`."""

EVALUATORS: Mapping[DataKind, FolderEvaluator] = {}
"""By kind of data other than MIND's."""
