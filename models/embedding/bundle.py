"""A model bundle: a folder with everything that makes vectors, and the record of how it was trained.

``bundle.json`` describes (:class:`Manifest`), ``weights.safetensors`` holds the numbers; a tuned text
encoder lies beside them in ``encoder/``. Nothing is pickled. A version is a hash of the content, so that two
bundles of one id are the same, and one that was changed on disk is refused.

Names of weights, all float32; row 0 of a table stands for what is unknown, row ``1 + i`` for entry ``i`` of
the vocabulary:

============================== ================ =====================================================
name                           shape            what
============================== ================ =====================================================
``article.text.{i}.weight``    (out, in)        layer ``i`` on the text vector, and its ``.bias`` (out,)
``article.{feature}.weight``   (1 + n, d_f)     table of ``category``, ``subcategory``, ``entity`` or
                                                ``news_id``
``article.layers.{i}.weight``  (out, in)        layer ``i`` on the concatenation, and its ``.bias``
``article.bias``               (1 + n,)         an article's own bias, by ``news_id``
``user.attention.weight``      (heads, d)       the logarithm of a click's weight, and its ``.bias``
``user.population``            (heads, d)       vectors of a user without events
``user.layers.{i}.weight``     (out, in)        layer ``i`` on each pooled interest, and its ``.bias``
``user.mix``                   (heads,)         weight of each head's dot product in the score
``user.table.weight``          (1 + n, d)       vectors by ``user_id``
``user.bias``                  (1 + n,)         a user's own bias, by ``user_id``
``bias``                       (1,)             constant of every score
``rating.range``               (2,)             the lowest and the highest rating, where ratings were learned
============================== ================ =====================================================
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from freshet.models.ports import EncoderInfo

MANIFEST_FILE = "bundle.json"
WEIGHTS_FILE = "weights.safetensors"
ENCODER_FOLDER = "encoder"
FORMAT: Literal[1] = 1
MAX_MANIFEST_BYTES = 1 << 28
VERSION_DIGITS = 16

Activation = Literal["none", "sigmoid", "relu", "tanh"]
Feature = Literal["category", "subcategory", "entity", "news_id"]
FEATURES: tuple[Feature, ...] = ("category", "subcategory", "entity", "news_id")
Weights = Mapping[str, NDArray[np.float32]]


class BundleError(ValueError):
    """A folder is no bundle, is damaged, or does not fit what it is used with."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EncoderSpec(_Part):
    """Text encoder of the text vectors."""

    name: str
    """Name of :class:`~freshet.models.ports.EncoderInfo`."""
    pooling: str
    d: int = Field(ge=1)
    extra: dict[str, str] = Field(default_factory=dict)
    tuned: bool = False
    """The weights lie in the bundle's folder ``encoder``."""

    @property
    def info(self) -> EncoderInfo:
        """Identity of the encoder, in the type of the port."""
        return EncoderInfo(self.name, self.pooling, self.d, dict(self.extra))


class TowerSpec(_Part):
    """Parts of the article tower: text layers and embeddings, concatenated, through further layers."""

    uses_text: bool = False
    text: tuple[Activation, ...] = ()
    """Activations of the layers on the text vector alone."""
    features: tuple[Feature, ...] = ()
    """Features whose embeddings are appended to the text's part, in this order."""
    layers: tuple[Activation, ...] = ()
    """Activations of the layers on the concatenation."""
    normalise: bool = False
    """Whether vectors are scaled to norm 1."""


class UserSpec(_Part):
    """Pooling of a user's events, and the layers on the pooled vectors."""

    half_lives_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1, max_length=15)
    negative_half_life_s: float = Field(gt=0)
    prior_weight: float = Field(gt=0)
    attention: bool = False
    """Weigh clicks by their article's vector (``user.attention``)."""
    population: bool = False
    """The prior is ``user.population``; otherwise the mean of what is being clicked."""
    layers: tuple[Activation, ...] = ()
    """Activations of the layers from each interest head's pooled vector to a query."""
    normalise: bool = False
    """Whether queries are scaled to norm 1."""

    @property
    def heads(self) -> int:
        """Number of vectors that a user has, the one of the skips included."""
        return len(self.half_lives_s) + 1


class TrainingRecord(_Part):
    """Data and settings that a bundle was trained with."""

    folder: str
    """Last part of the data folder's path."""
    data_sha256: str
    """SHA-256 of the files read."""
    examples: int = Field(ge=0)
    start_s: float | None = None
    """Unix seconds of the first event; unset where events have no time."""
    end_s: float | None = None
    """Unix seconds of the last event that was trained or validated on: evaluation begins after it."""
    seed: int
    settings: dict[str, Any] = Field(default_factory=dict)
    curve: tuple[dict[str, float], ...] = ()
    """One entry for each epoch: ``epoch``, ``loss``, and what was measured on the validation slice."""


class Manifest(_Part):
    """``bundle.json``."""

    format: Literal[1] = FORMAT
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: str = ""
    model: str
    d: int = Field(ge=1, lt=1 << 16)
    encoder: EncoderSpec | None = None
    tower: TowerSpec
    user: UserSpec
    vocabularies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Vocabularies by feature, and of ``user_id``; entry ``i`` has row ``1 + i``."""
    ranker_weights: dict[str, float] | None = None
    """Weights of the linear ranker by feature, where training has chosen them."""
    training: TrainingRecord
    figures: dict[str, float] = Field(default_factory=dict)
    """Figures measured on the validation slice."""

    @property
    def id(self) -> str:
        """Id that the bundle's vectors carry, such as ``content-1a2b3c4d5e6f7081``."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. Weights are finite, and read-only."""

    folder: Path
    manifest: Manifest
    weights: Weights

    @property
    def id(self) -> str:
        """Id that the bundle's vectors carry."""
        return self.manifest.id


def save_bundle(folder: Path, manifest: Manifest, weights: Weights, encoder: Path | None = None) -> Bundle:
    """Write a bundle, all of it or nothing, and return it as loaded.

    Args:
        folder: Must not exist, or be an older bundle, which is replaced.
        manifest: Its version is set here.
        weights: Float32.
        encoder: The folder of a tuned text encoder, moved into the bundle.

    Raises:
        BundleError: ``folder`` holds something else, or a weight is not finite.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty and no bundle: name another folder with --out")
    checked = {name: np.ascontiguousarray(weight, np.float32) for name, weight in sorted(weights.items())}
    _check_finite(folder, checked)
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    written.chmod(0o755)
    if encoder is not None:
        os.replace(encoder, written / ENCODER_FOLDER)
    save_file(checked, written / WEIGHTS_FILE)
    manifest = manifest.model_copy(update={"version": _version(manifest, checked, written)})
    (written / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.replace(folder, old / "bundle")
        os.replace(written, folder)
        shutil.rmtree(old)
    else:
        os.replace(written, folder)
    return load_bundle(folder)


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: A file is missing or damaged, a weight is not finite, or the content is not that of the
            version in ``bundle.json``.
    """
    path = folder / MANIFEST_FILE
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes")
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(
            f"{folder} is no bundle: it has no {MANIFEST_FILE} (freshet train makes one)"
        ) from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {where}: {first['msg']}") from error
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{folder / WEIGHTS_FILE} cannot be read: {error}") from error
    for name, weight in weights.items():
        if weight.dtype != np.float32:
            raise BundleError(f"{folder / WEIGHTS_FILE}: {name} is {weight.dtype}, not float32")
        weight.flags.writeable = False
    _check_finite(folder, weights)
    found = _version(manifest, weights, folder)
    if found != manifest.version:
        raise BundleError(
            f"{folder}: its content has version {found}, {MANIFEST_FILE} says {manifest.version!r}: "
            "a file was changed or damaged, train or copy it again"
        )
    return Bundle(folder, manifest, weights)


def _check_finite(folder: Path, weights: Weights) -> None:
    for name, weight in weights.items():
        bad = int(weight.size - np.isfinite(weight).sum())
        if bad:
            raise BundleError(f"{folder}: {bad} of the {weight.size} weights of {name} are not finite")


def _version(manifest: Manifest, weights: Weights, folder: Path) -> str:
    """Hash of the bundle's content, its version excepted."""
    digest = hashlib.sha256()
    described = manifest.model_dump(mode="json", exclude={"version"})
    digest.update(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())
    for name, weight in sorted(weights.items()):
        digest.update(f"\0{name}\0{weight.shape}\0".encode())
        digest.update(np.ascontiguousarray(weight).data)
    encoder = folder / ENCODER_FOLDER
    for path in sorted(encoder.rglob("*")):
        if path.is_file():
            digest.update(f"\0{path.relative_to(encoder).as_posix()}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:VERSION_DIGITS]
