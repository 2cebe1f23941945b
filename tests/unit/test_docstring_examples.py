"""The examples in the docstrings of the public packages run and print what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

PACKAGES = (
    "freshet.models.events",
    "freshet.models.evaluation",
    "freshet.models.ranking",
    "freshet.models.recommend",
    "freshet.models.users",
    "freshet.streams.client",
)


def modules_of(package: str) -> Iterator[str]:
    yield package
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        yield module.name


@pytest.mark.parametrize("name", [name for package in PACKAGES for name in modules_of(package)])
def test_examples_run(name: str) -> None:
    assert not doctest.testmod(importlib.import_module(name)).failed


@pytest.mark.parametrize(
    "package",
    [
        "freshet.models.evaluation",
        "freshet.models.events",
        "freshet.models.ranking",
        "freshet.models.recommend",
        "freshet.models.users",
    ],
)
def test_package_has_examples(package: str) -> None:
    modules = [importlib.import_module(name) for name in modules_of(package)]
    assert any(test.examples for module in modules for test in doctest.DocTestFinder().find(module))
