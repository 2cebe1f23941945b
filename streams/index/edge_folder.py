"""The folder of one bundle's embedded index: its lock, and which of its shards is current.

Guarantees: one process at a time; one bundle and one dimension for ever; the current shard changes
atomically, so that a crash at any moment leaves a folder that opens with either the old one or the new one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import orjson

from freshet.models.ports import IndexUnavailable
from freshet.streams.index.qdrant_points import bundle_name

_LAYOUT = 1
_MANIFEST = "index.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class _Manifest:
    layout: int
    bundle: str
    d: int
    generation: int
    """Rebuilds of ``vectors`` so far."""


class EdgeFolder:
    """The folder ``<path>/<bundle>``, locked until :meth:`close`.

    Args:
        path: The folder of the bundles' folders; created if missing.
        bundle: The bundle's version.
        d: The vectors' dimension.

    Raises:
        IndexUnavailable: Another process has the folder open.
        ValueError: The folder holds vectors of another dimension or bundle, or another layout.
    """

    def __init__(self, path: Path, bundle: str, d: int) -> None:
        self._path = path / bundle_name(bundle)
        self._path.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._manifest = self._read() or self._write(_Manifest(_LAYOUT, bundle, d, 0))
            self._check(bundle, d)
            self.remove_stale()
        except BaseException:
            self._lock.close()
            raise

    @property
    def listing(self) -> Path:
        """The shard of payloads."""
        return self._path / "listing"

    @property
    def vectors(self) -> Path:
        """The current shard of vectors."""
        return self._generation(self._manifest.generation)

    @property
    def next_vectors(self) -> Path:
        """The folder in which the shard that will replace ``vectors`` is built."""
        return self._generation(self._manifest.generation + 1)

    def promote_next(self) -> None:
        """Make ``next_vectors`` the current shard, atomically; :meth:`remove_stale` removes the old one."""
        self._manifest = self._write(replace(self._manifest, generation=self._manifest.generation + 1))

    def remove_stale(self) -> None:
        """Remove shards that are not current: replaced ones, and builds that a crash cut short."""
        for folder in self._path.glob("vectors-*"):
            if folder != self.vectors:
                shutil.rmtree(folder)

    def close(self) -> None:
        """Unlock the folder for another process."""
        self._lock.close()

    def _generation(self, number: int) -> Path:
        return self._path / f"vectors-{number}"

    def _locked(self) -> TextIO:
        lock = (self._path / _LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise IndexUnavailable(
                f"{self._path} is open in process {holder}; stop it first, or use a Qdrant server "
                "(FRESHET_QDRANT_URL), which many processes can share"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def _read(self) -> _Manifest | None:
        file = self._path / _MANIFEST
        try:
            return _Manifest(**orjson.loads(file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file} is not an index of freshet ({error}); move its folder away") from error

    def _write(self, manifest: _Manifest) -> _Manifest:
        draft = self._path / f"{_MANIFEST}.new"
        with draft.open("wb") as file:
            file.write(orjson.dumps(manifest))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path / _MANIFEST)
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return manifest

    def _check(self, bundle: str, d: int) -> None:
        held = self._manifest
        if held.layout != _LAYOUT:
            raise ValueError(
                f"{self._path} has layout {held.layout}, this freshet reads {_LAYOUT}; remove the folder, "
                "and the article-vectors topic fills a new one"
            )
        if held.bundle != bundle:
            raise ValueError(f"{self._path} holds vectors of the bundle {held.bundle!r}, not {bundle!r}")
        if held.d != d:
            raise ValueError(
                f"{self._path} holds vectors of dimension {held.d}, not {d}; "
                "a model of another dimension needs another bundle version"
            )
