"""Options of the connection to Kafka and the index, turned into :class:`Settings`.

An option on the command line takes precedence over its ``FRESHET_*`` environment variable, which takes
precedence over the default. A value that the settings refuse is wrong usage (exit status 2); the message
names its source.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from freshet.streams.settings import Settings

R = TypeVar("R")

_OPTIONS: Mapping[str, tuple[str, str]] = {
    "bootstrap_servers": ("HOST:PORT,...", "Kafka's brokers."),
    "topic_prefix": ("PREFIX", "Prefix of every topic's name."),
    "data_dir": ("DIR", "Folder of Kafka's log, the embedded index and the tables."),
    "qdrant_url": ("URL", "Address of a Qdrant server, instead of the embedded index."),
    "partitions": ("N", "Partitions of every topic."),
    "replication": ("N", "Replicas of every topic."),
    "encoder": ("NAME", "Text encoder: minilm, or a Hugging Face name or folder."),
    "pooling": ("cls|mean|attention", "How token vectors are pooled into a text vector."),
    "dimension": ("D", "Dimension of article vectors without a trained bundle."),
    "bundle": ("BUNDLE", "Folder of a trained bundle to serve, instead of the promoted one."),
    "bundles": ("DIR", "Catalogue of bundles: a folder that holds a folder for each."),
    "metrics_host": ("HOST", "Address to serve metrics on."),
    "metrics_port": ("PORT", "Port to serve Prometheus metrics on; 0 turns them off."),
}
CONNECTION = ("bootstrap_servers", "topic_prefix", "data_dir", "qdrant_url")


def option_name(field: str) -> str:
    """Return the option of a field: ``topic_prefix`` -> ``--topic-prefix``."""
    return "--" + field.replace("_", "-")


def environment_variable(field: str) -> str:
    """Return the variable of a field: ``topic_prefix`` -> ``FRESHET_TOPIC_PREFIX``."""
    return "FRESHET_" + field.upper()


def settings_options(*more: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add the connection options and those of the settings named ``more`` to a command.

    The command's function is called with ``settings``, a :class:`Settings`, instead of the options' values.
    """
    fields = CONNECTION + more

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(function)
        def with_settings(*args: Any, **kwargs: Any) -> R:
            given = {field: kwargs.pop(field) for field in fields}
            return function(*args, settings=build_settings(given), **kwargs)

        wrapped: Callable[..., R] = with_settings
        for field in reversed(fields):
            metavar, text = _OPTIONS[field]
            default = Settings.model_fields[field].default
            shown = "" if default is None else f"; default: {default}"
            wrapped = click.option(
                option_name(field),
                metavar=metavar,
                help=f"{text} [env: {environment_variable(field)}{shown}]",
            )(wrapped)
        return wrapped

    return decorate


connection_options = settings_options()
"""Decorator that adds ``--bootstrap-servers``, ``--topic-prefix``, ``--data-dir`` and ``--qdrant-url``."""


def build_settings(given: Mapping[str, object | None]) -> Settings:
    """Make settings from the environment and the options ``given``; ``None`` means not given.

    Raises:
        click.UsageError: A value is refused; the message names its option or environment variable.
    """
    options: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    try:
        return Settings(**options)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_input=False):
            if not problem["loc"]:  # The text names the settings, of which there are several.
                problems.append(problem["msg"].removeprefix("Value error, "))
                continue
            field = str(problem["loc"][0])
            where = option_name(field) if field in options else environment_variable(field)
            problems.append(f"{where}: {problem['msg']}")
        raise click.UsageError("; ".join(problems)) from error
    except SettingsError as error:
        # A list's variable is not JSON; the text names the field.
        raise click.UsageError(
            f"FRESHET_*: {error}; a list is written as JSON, such as FRESHET_HALF_LIVES_S='[7200, 604800]'"
        ) from error
