"""The options by which every verb reaches Kafka and the index, turned into :class:`Settings`.

An option given on the command line wins over its ``FRESHET_*`` environment variable, which wins over the
default. A value that the settings refuse is wrong usage (exit code 2); the message names where it came from.
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
    "topic_prefix": ("PREFIX", "What every topic's name begins with."),
    "data_dir": ("DIR", "Where Kafka's log, the embedded index and the tables are."),
    "qdrant_url": ("URL", "A Qdrant server, instead of the embedded index."),
    "partitions": ("N", "Partitions of every topic."),
    "replication": ("N", "Replicas of every topic."),
    "encoder": ("NAME", "The text encoder: minilm, or a Hugging Face name or folder."),
    "pooling": ("cls|mean|attention", "How token vectors become a text vector."),
    "dimension": ("D", "Dimension of article vectors while no bundle is trained."),
    "bundle": ("BUNDLE", "A trained bundle's folder, to be served whatever is promoted."),
    "bundles": ("DIR", "The folder of bundles' folders that has the promoted one."),
    "metrics_host": ("HOST", "The address that serves the metrics."),
    "metrics_port": ("PORT", "The port that serves Prometheus' metrics; 0 turns it off."),
}
CONNECTION = ("bootstrap_servers", "topic_prefix", "data_dir", "qdrant_url")


def option_name(field: str) -> str:
    """``topic_prefix`` -> ``--topic-prefix``."""
    return "--" + field.replace("_", "-")


def environment_variable(field: str) -> str:
    """``topic_prefix`` -> ``FRESHET_TOPIC_PREFIX``."""
    return "FRESHET_" + field.upper()


def settings_options(*more: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command the connection options and those of the settings named ``more``.

    The command's function gets ``settings``, a :class:`Settings`, instead of the options' values.
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
"""Adds ``--bootstrap-servers``, ``--topic-prefix``, ``--data-dir``, ``--qdrant-url``; passes ``settings``."""


def build_settings(given: Mapping[str, object | None]) -> Settings:
    """Settings from the environment and the options ``given``; ``None`` means that one was not given.

    Raises:
        click.UsageError: A value is refused; the message names its option or environment variable.
    """
    options: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    try:
        return Settings(**options)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_input=False):
            if not problem["loc"]:  # of several settings together, which the text names
                problems.append(problem["msg"].removeprefix("Value error, "))
                continue
            field = str(problem["loc"][0])
            where = option_name(field) if field in options else environment_variable(field)
            problems.append(f"{where}: {problem['msg']}")
        raise click.UsageError("; ".join(problems)) from error
    except SettingsError as error:
        # Raised for a variable that is not the JSON that a list needs; the text names the field.
        raise click.UsageError(
            f"FRESHET_*: {error}; a list is written as JSON, such as FRESHET_HALF_LIVES_S='[7200, 604800]'"
        ) from error
