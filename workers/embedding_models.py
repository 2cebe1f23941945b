"""The text encoder and the content tower that the settings name, reporting to the metrics."""

from __future__ import annotations

import logging

from freshet.models.neural.text_encoder import TransformerEncoder
from freshet.models.projection import Projection
from freshet.streams import metrics
from freshet.streams.settings import Settings
from freshet.workers.errors import WorkerError

log = logging.getLogger(__name__)


class EncoderUnusable(WorkerError):
    """The settings name an encoder that is not there, or that does not fit them."""


class EncoderMetrics:
    """Counts the encoder's batches; a :class:`~freshet.models.neural.text_encoder.BatchObserver`."""

    def computed(self, texts: int, tokens: int, padded_tokens: int) -> None:
        """See the protocol."""
        metrics.EMBED_BATCH_TEXTS.observe(texts)
        metrics.EMBED_BATCH_FILL_RATIO.observe(tokens / padded_tokens)

    def halved(self, texts: int) -> None:
        """See the protocol."""
        metrics.EMBED_OUT_OF_MEMORY.inc()
        log.warning("a batch of %d texts did not fit in memory, trying halves", texts)


def open_models(settings: Settings, threads: int | None = None) -> tuple[TransformerEncoder, Projection]:
    """Load the encoder, and the tower that makes article vectors of its text vectors.

    Args:
        settings: ``encoder``, ``pooling`` and ``dimension``.
        threads: CPU threads of torch, for the whole process.

    Raises:
        EncoderUnusable: There is no such encoder, or its vectors have fewer dimensions than wanted.
    """
    try:
        encoder = TransformerEncoder(
            settings.encoder, pooling=settings.pooling, threads=threads, observer=EncoderMetrics()
        )
        tower = Projection(encoder.info, settings.dimension)
    except ValueError as error:
        raise EncoderUnusable(str(error)) from error
    log.info("encoder %s on %s, bundle %s", settings.encoder, encoder.placement, tower.bundle)
    return encoder, tower
