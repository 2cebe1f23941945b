"""Base of all events: bounded types, strict validation, and the JSON codec.

Times are timezone-aware and kept in UTC; the wire carries RFC 3339 with an offset, parsed by
:mod:`freshet.models.events.times`. Unreadable bytes raise :class:`EventError`, whose text names the problem.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from freshet.models.events.times import as_utc, parse_time

MAX_EVENT_BYTES = 1 << 20
"""Upper bound of a record's value: 1 MiB, as Kafka's default."""

MAX_CANDIDATES = 1_000
MAX_HISTORY = 1_000
MAX_K = 200
MAX_DIMENSION = 4_096


class EventError(ValueError):
    """A record's value is not the event that its topic carries."""


def _parsed(value: object, info: ValidationInfo) -> object:
    """Parse a time in a JSON string: pydantic alone would read digits as Unix seconds."""
    return parse_time(value) if info.mode == "json" and isinstance(value, str) else value


# Unicode's white space letter by letter: \s differs between the regular expressions of languages.
_BLANK = r"\x00-\x20\x7f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
ID_PATTERN = rf"^[^{_BLANK}]+$"
UNSLASHED_PATTERN = rf"^[^/{_BLANK}]+$"

Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=ID_PATTERN)]
"""Identifier of a user, article, impression or request: 1 to 128 characters without white space."""

Label = Annotated[str, StringConstraints(max_length=128)]
UtcTime = Annotated[
    AwareDatetime,
    BeforeValidator(_parsed),
    AfterValidator(as_utc),
    # Most validators ignore ``format``, and a time without an offset must not pass.
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
            r"(Z|[+-][0-9]{2}:[0-9]{2})$",
        }
    ),
]
Finite = float
"""Finite number: JSON has no infinity and no NaN, and the models reject both (``allow_inf_nan=False``)."""
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Integer from 0 that fits the 64 bits of a state; JSON's integers are unbounded."""
Vector = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=MAX_DIMENSION)]


class EventPart(BaseModel):
    """Base of events and of their parts: frozen, strict, and tolerant of unknown fields.

    Docstrings of fields are the descriptions in their JSON Schemas and in docs/reference.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Event(EventPart):
    """Base of record values: the codec and the version of the format."""

    version: Literal[1] = 1

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode a record's value.

        Raises:
            EventError: The value is a tombstone, too large, not JSON, or not this event.
        """
        if value is None:
            raise EventError(
                f"{cls.__name__}: the record has no value (a tombstone), which means nothing here"
            )
        if len(value) > MAX_EVENT_BYTES:
            raise EventError(f"{cls.__name__}: {len(value)} bytes, more than the {MAX_EVENT_BYTES} allowed")
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            raise EventError(refusal(cls.__name__, error)) from error

    def to_json(self) -> bytes:
        """Encode for the wire: compact UTF-8 JSON, fields in the order of their declaration."""
        return self.model_dump_json(exclude_none=True).encode()


def refusal(name: str, error: ValidationError) -> str:
    """Error message for an event called ``name``: at most five fields, each with its problem."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:5]
    ]
    more = error.error_count() - len(problems)
    return f"{name}: {'; '.join(problems)}" + (f"; and {more} more" if more > 0 else "")


def to_unix_s(time: datetime) -> float:
    """Seconds since 1970-01-01 UTC."""
    return time.timestamp()


def from_unix_s(seconds: float) -> datetime:
    """The UTC time of ``seconds`` since 1970-01-01 UTC."""
    return datetime.fromtimestamp(seconds, UTC)
