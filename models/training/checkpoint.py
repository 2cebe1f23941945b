"""Training run on disk, so that it can go on where it stopped.

One safetensors file holds the weights, the best weights so far, the optimizer's state and the state of
torch's random numbers; its metadata says how far the run had come. Nothing is pickled. A file is written
whole or not at all: a run that is killed while it writes leaves the checkpoint before.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = 1
METADATA = "training"
_PROGRESS = ("curve", "batches", "examples", "loss_sum", "seconds")
"""Fields of :class:`TrainingState` that the metadata holds."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message gives the reason and the remedy."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, or belongs to another run."""


@dataclass
class TrainingState:
    """Progress of a run."""

    curve: list[dict[str, float]] = field(default_factory=list)
    """Figures of each finished epoch."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best epoch, on the CPU; empty before the first epoch's end."""
    batches: int = 0
    """Batches done of the unfinished epoch."""
    examples: int = 0
    """Examples done of the unfinished epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of those examples."""
    seconds: float = 0.0
    """Seconds spent on those examples."""

    @property
    def best_epoch(self) -> int:
        """First epoch with the highest score, counted from 1; 0 before the first epoch's end."""
        if not self.curve:
            return 0
        return 1 + max(range(len(self.curve)), key=lambda at: self.curve[at]["score"])


def save_checkpoint(
    path: Path, run: str, module: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write all that the run needs to go on, in place of an older checkpoint.

    Args:
        path: The file; its folder is made.
        run: Identity of the run; :func:`load_checkpoint` refuses any other.
        module: Module under training, with its buffers.
        optimizer: Optimizer of the module's parameters.
        state: Progress of the run.

    Raises:
        CheckpointError: It cannot be written.
    """
    tensors = {f"weights.{name}": weight for name, weight in module.state_dict().items()}
    tensors |= {f"best.{name}": weight for name, weight in state.best.items()}
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    # Weights may share memory (one table in two towers), which safetensors refuses.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    described = {"format": FORMAT, "run": run} | {name: getattr(state, name) for name in _PROGRESS}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            written = Path(folder) / path.name
            save_file(tensors, written, {METADATA: json.dumps(described)})
            with written.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(written, path)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be written: {error}") from error


def load_checkpoint(
    path: Path, run: str, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[TrainingState, dict[str, Tensor]]:
    """Put a run back where :func:`save_checkpoint` found it.

    Returns:
        Progress of the run, and the states of torch's random numbers by device, for
        :func:`restore_random_state`.

    Raises:
        CheckpointError: The file is damaged or belongs to another run.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read ({error}): delete it to begin anew"
        ) from error
    if described.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT}: delete it to begin anew")
    if described["run"] != run:
        raise CheckpointError(
            f"the checkpoint {path} belongs to another run ({described['run']}, not {run}): "
            "name another file, or delete it to begin anew"
        )
    try:
        module.load_state_dict(_below("weights.", tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint {path} is of another model ({error}): delete it to begin anew"
        ) from error
    entries: dict[int, dict[str, Any]] = {}
    for name, tensor in _below("optimizer.", tensors).items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    state = TrainingState(best=_below("best.", tensors), **{name: described[name] for name in _PROGRESS})
    return state, _below("random.", tensors)


def restore_random_state(states: dict[str, Tensor]) -> None:
    """Restore the states of torch's random numbers that :func:`load_checkpoint` read."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
