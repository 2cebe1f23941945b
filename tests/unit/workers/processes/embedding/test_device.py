"""A GPU is shown where there is one, and nothing of one where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

torch = pytest.importorskip("torch")

from freshet.streams import metrics  # noqa: E402  # after the skip
from freshet.workers.processes.embedding.device import show_device  # noqa: E402

GPU = "cuda:7"
"""No machine of the tests has it."""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    for gauge in (
        metrics.EMBED_DEVICE,
        metrics.GPU_MEMORY_BYTES,
        metrics.GPU_MEMORY_USED_BYTES,
        metrics.GPU_UTILISATION,
    ):
        gauge.clear()


def gpu(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"freshet_gpu_{name}", {"device": GPU})


def test_without_a_gpu_only_the_device_is_named() -> None:
    show_device(torch.device("cpu"), "cpu float32", "minilm", "b1")
    labels = {"device": "cpu float32", "encoder": "minilm", "bundle": "b1"}
    assert REGISTRY.get_sample_value("freshet_embed_device_info", labels) == 1
    served = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    assert not {name for name in served if name.startswith("freshet_gpu_")}


def test_a_gpu_says_how_full_and_busy_it_is_each_time_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [30, 10]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 40))
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 25)
    show_device(torch.device(GPU), "cuda:7 bfloat16", "minilm", "b1")
    assert (gpu("memory_used_bytes"), gpu("memory_bytes"), gpu("utilisation_ratio")) == (10, 40, 0.25)
    del free[0]
    assert gpu("memory_used_bytes") == 30


def test_a_gpu_that_fails_does_not_take_the_other_metrics_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: object) -> tuple[int, int]:
        raise RuntimeError("the GPU has fallen off the bus")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fails)
    monkeypatch.setattr(torch.cuda, "utilization", fails)
    show_device(torch.device(GPU), "cuda:7 bfloat16", "minilm", "b1")
    used = gpu("memory_used_bytes")
    assert used is not None
    assert math.isnan(used)
    assert gpu("utilisation_ratio") is None, "it is not served where it cannot be measured"
