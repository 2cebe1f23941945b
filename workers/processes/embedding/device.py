"""Metrics of the device that embeds texts: its name and, for a GPU, its memory and utilisation.

Guarantee: without a GPU no metric of one is served, so that a dashboard shows nothing and not 0. A GPU is
read when Prometheus scrapes; one that stops answering gives "not a number" and never breaks the page.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial

import torch

from freshet.streams import metrics

log = logging.getLogger(__name__)


def show_device(device: torch.device, placement: str, encoder: str, bundle: str) -> None:
    """Serve the metrics of ``device`` from now on.

    Args:
        device: The device on which the encoder computes.
        placement: The device in words.
        encoder: The encoder's name.
        bundle: The bundle whose vectors the encoder helps to make.
    """
    metrics.EMBED_DEVICE.labels(placement, encoder, bundle).set(1)
    if device.type != "cuda":
        return
    name = str(device)
    metrics.GPU_MEMORY_USED_BYTES.labels(name).set_function(_number(partial(_used_bytes, device)))
    metrics.GPU_MEMORY_BYTES.labels(name).set_function(_number(lambda: torch.cuda.mem_get_info(device)[1]))
    try:
        torch.cuda.utilization(device)
    except Exception as error:
        # NVML is not installed, or does not know this device (a slice of a GPU); its errors share no class.
        log.warning("the GPU's utilisation is not served: %r", error)
    else:
        utilisation = _number(lambda: torch.cuda.utilization(device) / 100)
        metrics.GPU_UTILISATION.labels(name).set_function(utilisation)


def _used_bytes(device: torch.device) -> float:
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def _number(measure: Callable[[], float]) -> Callable[[], float]:
    def measured() -> float:
        try:
            return measure()
        except Exception as error:
            # An exception would take all other metrics of the process with it.
            log.warning("the GPU does not say how it is: %r", error)
            return math.nan

    return measured
