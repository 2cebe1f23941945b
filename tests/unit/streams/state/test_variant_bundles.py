"""Variants' bundles are watched like everything else that a worker reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from freshet.models.articles.catalog import ArticleCatalog
from freshet.streams.settings import Settings
from freshet.streams.state.ranker_weights import Rankers
from freshet.streams.state.serving import Serving
from freshet.streams.state.variant_bundles import VariantBundles

_VECTORS_0, _VECTORS_1 = (TopicPartition("article-vectors", partition) for partition in range(2))


def _nowhere(bundle: str) -> Serving:
    raise AssertionError(bundle)


def test_the_bundle_that_is_furthest_behind_stands_for_all() -> None:
    rankers: Any = SimpleNamespace(spec=Rankers)
    bundles = VariantBundles(Settings(), ArticleCatalog(4), rankers, _nowhere)
    assert bundles.read == {}
    first: Any = SimpleNamespace(read={_VECTORS_0: 5, _VECTORS_1: 9})
    second: Any = SimpleNamespace(read={_VECTORS_0: 7, _VECTORS_1: 3})
    starting: Any = SimpleNamespace(read={})
    bundles._open = {"first": first, "second": second, "starting": starting}
    assert bundles.read == {_VECTORS_0: 5, _VECTORS_1: 3}
