"""Models of one embedding worker: text encoder and content tower, of a bundle or untrained."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from freshet.models.embedding.bundle import ENCODER_FOLDER, Bundle, EncoderSpec
from freshet.models.embedding.content_tower import ContentTower
from freshet.models.embedding.feature_tower import FeatureTower
from freshet.models.embedding.projection import Projection
from freshet.models.ports import EncoderInfo, FloatMatrix, TextEncoder
from freshet.streams import metrics
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError
from freshet.workers.processes.bundle_folders import usable

if TYPE_CHECKING:
    from freshet.models.embedding.text.encoder import TransformerEncoder

log = logging.getLogger(__name__)


class EncoderUnusable(WorkerError):
    """The encoder named is missing, or is not the one that the bundle needs."""


class EncoderMetrics:
    """Counts the encoder's batches; a :class:`~freshet.models.embedding.text.encoder.BatchObserver`."""

    def computed(self, texts: int, tokens: int, padded_tokens: int) -> None:
        """See the protocol."""
        metrics.EMBED_BATCH_TEXTS.observe(texts)
        metrics.EMBED_BATCH_FILL_RATIO.observe(tokens / padded_tokens)

    def halved(self, texts: int) -> None:
        """See the protocol."""
        metrics.EMBED_OUT_OF_MEMORY.inc()
        log.warning("a batch of %d texts did not fit in memory, trying halves", texts)


class NoTextEncoder:
    """The :class:`~freshet.models.ports.TextEncoder` of a tower that reads no text; needs no torch."""

    info = EncoderInfo("none", "none", 1)

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        """Return zeros (n, 1), float32."""
        return np.zeros((len(texts), 1), np.float32)


@dataclass(frozen=True)
class OpenModels:
    """The models that make article vectors of articles."""

    encoder: TextEncoder
    tower: ContentTower
    described: str
    """Description for the user who starts a worker."""


def open_models(settings: Settings, bundle: Bundle | None = None, threads: int | None = None) -> OpenModels:
    """Load the encoder, and the tower that makes article vectors of its text vectors.

    Args:
        settings: ``encoder``, ``pooling`` and ``dimension`` of an untrained tower; where a bundle was trained
            with an encoder from a folder, ``encoder`` names that folder.
        bundle: A trained bundle, if there is one.
        threads: CPU threads of torch, for the whole process.

    Raises:
        BundleUnusable: The bundle's weights do not fit its manifest.
        EncoderUnusable: There is no such encoder, its vectors have fewer dimensions than wanted, or the
            bundle was trained with another one.
    """
    if bundle is None:
        transformer = _open_encoder(settings.encoder, settings.pooling, threads, None)
        try:
            untrained = Projection(transformer.info, settings.dimension)
        except ValueError as error:
            raise EncoderUnusable(str(error)) from error
        return _opened(transformer, untrained, settings.encoder)
    tower = usable(lambda: FeatureTower(bundle))
    spec = bundle.manifest.encoder
    if not bundle.manifest.tower.uses_text or spec is None:
        metrics.EMBED_DEVICE.labels("none", "none", tower.bundle).set(1)
        return _logged(OpenModels(NoTextEncoder(), tower, "no text encoder"))
    location = encoder_location(bundle, spec, settings)
    transformer = _open_encoder(location, spec.pooling, threads, spec.extra.get("max_tokens"))
    check_encoder(bundle, spec, transformer.info, location)
    return _opened(transformer, tower, location)


def encoder_location(bundle: Bundle, spec: EncoderSpec, settings: Settings) -> str:
    """Locate a bundle's encoder: in the bundle, if it is tuned; else as the bundle or the settings name it.

    A bundle knows an encoder from a folder by the folder's last part only; the settings have the whole path.
    """
    if spec.tuned:
        return str(bundle.folder / ENCODER_FOLDER)
    return settings.encoder if Path(settings.encoder).name == spec.name else spec.name


def check_encoder(bundle: Bundle, spec: EncoderSpec, found: EncoderInfo, location: str) -> None:
    """Check that the text vectors are those that the tower was trained on.

    Raises:
        EncoderUnusable: They are not; the text names both encoders.
    """
    # A tuned encoder's name and weights are the bundle's own, whose version is a hash of them.
    same = (found.pooling, found.d) == (spec.pooling, spec.d) if spec.tuned else found == spec.info
    if not same:
        raise EncoderUnusable(
            f"bundle {bundle.id} was trained with {_words(spec.info)}, but {location} is {_words(found)}: "
            "name the folder of the former with --encoder"
        )


def _open_encoder(
    location: str, pooling: str, threads: int | None, max_tokens: str | None
) -> TransformerEncoder:
    # torch is an extra, and takes seconds to load: only where texts are encoded.
    try:
        from freshet.models.embedding.text.encoder import TransformerEncoder
    except ImportError as error:
        raise EncoderUnusable(
            f"encoding texts needs torch and transformers ({error}): pip install 'freshet[embed]'"
        ) from error
    try:
        return TransformerEncoder(
            location,
            pooling=pooling,
            max_tokens=None if max_tokens is None else int(max_tokens),
            threads=threads,
            observer=EncoderMetrics(),
        )
    except ValueError as error:
        raise EncoderUnusable(str(error)) from error


def _opened(encoder: TransformerEncoder, tower: ContentTower, location: str) -> OpenModels:
    from freshet.workers.processes.embedding.device import show_device

    show_device(encoder.device, encoder.placement, encoder.info.name, tower.bundle)
    return _logged(OpenModels(encoder, tower, f"encoder {location} on {encoder.placement}"))


def _logged(models: OpenModels) -> OpenModels:
    log.info("%s, bundle %s", models.described, models.tower.bundle)
    return models


def _words(info: EncoderInfo) -> str:
    extra = "".join(f", {name} {value}" for name, value in sorted(info.extra.items()))
    return f"encoder {info.name} ({info.pooling} pooling, {info.d} dimensions{extra})"
