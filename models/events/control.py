"""Instructions of operators to the stream: one record of the ``control`` topic each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import ConfigDict, model_validator

from freshet.models.events.editorial_rules import EditorialRule
from freshet.models.events.experiment import Experiment
from freshet.models.events.wire import Event, Id, UtcTime


class Control(Event):
    """An operator's instruction. Key: ``group:subject``.

    The keys are ``push:U42`` (for ``push-on`` and ``push-off``), ``erased:U42``, ``article:N301``,
    ``experiment:bolder-recency``, ``rule:evening-lead``, and for a promotion its time as in the record,
    ``bundle:2026-03-02T08:02:00Z``. A record with another key is a dead letter.

    Compaction keeps the last record of a key. An instruction that revokes another one therefore has the same
    key. Every promotion has its own key, because all earlier promotions must stay known.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {"properties": {"kind": {"const": "rule-set"}}},
                    "then": {"required": ["rule"], "properties": {"rule": {"type": "object"}}},
                },
                {
                    "if": {"properties": {"kind": {"enum": ["experiment-started", "experiment-stopped"]}}},
                    "then": {"required": ["experiment"], "properties": {"experiment": {"type": "object"}}},
                },
            ]
        }
    )

    kind: Literal[
        "bundle-promoted",
        "user-erased",
        "article-withdrawn",
        "push-on",
        "push-off",
        "experiment-started",
        "experiment-stopped",
        "rule-set",
        "rule-removed",
    ]
    subject: Id
    """Version of the bundle, id of the user or article, or name of the experiment or rule."""
    time: UtcTime
    rollback: bool | None = None
    """Whether ``bundle-promoted`` revokes the latest promotion."""
    experiment: Experiment | None = None
    """Experiment of ``experiment-started`` and ``experiment-stopped``, which records the final variants."""
    rule: EditorialRule | None = None
    """Rule of ``rule-set``; it replaces an earlier rule of the same name."""

    @model_validator(mode="after")
    def _subject_is_the_name(self) -> Self:
        part = "rule" if self.kind == "rule-set" else "experiment"
        if self.kind in {"rule-set", "experiment-started", "experiment-stopped"}:
            named: EditorialRule | Experiment | None = getattr(self, part)
            if named is None or named.name != self.subject:
                raise ValueError(f"{self.kind} needs the {part}, and its name as the subject")
        return self

    @property
    def key(self) -> str:
        """Key of the record, such as ``push:U1``, ``rule:R1`` or ``bundle:2026-03-02T08:02:00Z``."""
        if self.kind == "bundle-promoted":
            return f"bundle:{self.time.isoformat().replace('+00:00', 'Z')}"
        return f"{_CONTROL_GROUPS[self.kind]}:{self.subject}"


_CONTROL_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "user-erased": "erased",
        "article-withdrawn": "article",
        "push-on": "push",
        "push-off": "push",
        "experiment-started": "experiment",
        "experiment-stopped": "experiment",
        "rule-set": "rule",
        "rule-removed": "rule",
    }
)
