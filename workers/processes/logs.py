"""Logging of every process, with its libraries: on standard error, as readable lines or JSON objects.

Guarantee: with ``FRESHET_LOG_FORMAT=json`` whatever a logger, a warning or an uncaught exception writes is
one JSON object on one line, and what is logged while a record is handled names its topic, partition, offset.
As text, a record begins a line, and none of its other lines looks like another record. What a library repeats
is folded (:mod:`freshet.workers.processes.repeated_records`).
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

from freshet.streams.records import log_context
from freshet.streams.settings import Settings
from freshet.workers.processes.repeated_records import FoldingHandler
from freshet.workers.terminal.printable import printable

_THIRD_PARTIES = (
    "faust",
    "mode",
    "aiokafka",
    "kafka",
    "qdrant_client",
    "httpx",
    "transformers",
    "asyncio",
    "opentelemetry",
    "urllib3",
)
_MAX_CHARS = 4_000
"""Limit of a message, since an error may quote its input."""
_MAX_STACK_CHARS = 16_000


def set_up_logs(verbose: bool = False, settings: Settings | None = None) -> None:
    """Set up logs on standard error: freshet from the settings' level on, libraries from WARNING on.

    Args:
        verbose: Whether libraries log from the same level on as freshet.
        settings: Format and level; by default the environment's (``FRESHET_LOG_*``).
    """
    settings = settings or Settings()
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    handler = FoldingHandler()
    if settings.log_format == "json":
        handler.addFilter(_add_context)
        handler.setFormatter(JsonFormatter())
        _log_uncaught()
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(settings.log_format == "json")
    for name in _THIRD_PARTIES:
        logging.getLogger(name).setLevel(level if verbose else max(level, logging.WARNING))
    # They warn of what is normal: a rebalance, a group whose coordinator is still being elected, a busy core.
    for name in ("aiokafka.consumer.group_coordinator", "faust.app.base", "kafka.net.selector"):
        logging.getLogger(name).setLevel(level if verbose else logging.ERROR)


def log_failure(error: Exception) -> bool:
    """Log the error that ends the process, if logs are JSON lines; return whether they are."""
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        return False
    logging.getLogger("freshet").critical("%s: %s", type(error).__name__, error, exc_info=error)
    return True


class TextFormatter(logging.Formatter):
    """Formats a record for people; control characters in it cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and indented ones for the rest of a message and for the traceback."""
        return printable(super().format(record)).replace("\n", "\n    ")


class JsonFormatter(OrjsonFormatter):
    """Formats a record as one JSON object: message, place, process, and the exception in parts."""

    def __init__(self) -> None:
        super().__init__((), static_fields={"host": socket.gethostname(), "process": os.getpid()})

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, without characters that steer a terminal."""
        return printable(super().format(record))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill ``log_data``, the line's fields, in the order in which a person reads them."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["time"] = time.replace("+00:00", "Z")
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()[:_MAX_CHARS]
        super().add_fields(log_data, record, {})
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            log_data["exception"] = {
                "type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
                "message": str(error)[:_MAX_CHARS],
                "stacktrace": "".join(traceback.format_exception(error))[-_MAX_STACK_CHARS:],
            }


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in log_context.fields().items():
        record.__dict__.setdefault(name, value)
    return True


def _log_uncaught() -> None:
    """Log uncaught exceptions, those of threads too, instead of printing them."""
    log = logging.getLogger("freshet")

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("not caught", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = "?" if args.thread is None else args.thread.name
            log.critical("not caught in thread %s", name, exc_info=args.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
