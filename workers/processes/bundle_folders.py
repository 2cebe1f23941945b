"""Bundles as folders on this machine: which of them a worker is to serve, and what lies in a catalogue.

A worker serves the bundle that it was given (``--bundle``), else the one that was promoted, which it looks
for in the catalogue (``--bundles``, a folder of bundles' folders), else none that is trained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from freshet.models.embedding.bundle import MANIFEST_FILE, Bundle, BundleError, load_bundle
from freshet.models.embedding.promotions import UNTRAINED, promoted, served
from freshet.streams.client.promotions import read_promotions
from freshet.streams.settings import Settings
from freshet.streams.state.serving import Serving
from freshet.workers.errors import WorkerError

log = logging.getLogger(__name__)

T = TypeVar("T")


class BundleUnusable(WorkerError):
    """A bundle is not where it should be, is damaged, or does not fit."""


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A folder of a catalogue: a bundle, or why it is none."""

    folder: Path
    bundle: Bundle | None
    error: str = ""


def catalogue(folder: Path) -> Iterator[BundleFolder]:
    """Every bundle in a folder of bundles' folders, in the order of their names, damaged ones included.

    Raises:
        BundleUnusable: There is no such folder.
    """
    if not folder.is_dir():
        raise BundleUnusable(f"{folder} is no folder of bundles: freshet train --out {folder}/NAME makes one")
    for path in sorted(folder.iterdir()):
        if (path / MANIFEST_FILE).is_file():
            try:
                yield BundleFolder(path, load_bundle(path))
            except BundleError as error:
                yield BundleFolder(path, None, str(error))


def open_bundle(settings: Settings) -> Bundle | None:
    """The bundle to serve; ``None`` for none that is trained.

    Raises:
        BundleUnusable: The folder given holds no usable bundle, or no folder holds the promoted one.
        KafkaUnreachable: No broker answers, or the topic ``control`` does not exist.
    """
    wanted = served(promoted(read_promotions(settings)))
    if settings.bundle is not None:
        bundle = usable(lambda: load_bundle(_given(settings)))
        if bundle.id != wanted:
            log.warning("serving bundle %s, as told, although %s is promoted", bundle.id, wanted)
        return bundle
    if wanted == UNTRAINED:
        return None
    try:
        bundle = find_bundle(settings.bundles, wanted)
    except BundleUnusable as error:
        raise BundleUnusable(
            f"{error}, and it is the promoted one: copy it there, name another catalogue with --bundles or a "
            "bundle with --bundle, or take the promotion back with `freshet bundles rollback`"
        ) from error
    log.info("bundle %s is promoted, in %s", bundle.id, bundle.folder)
    return bundle


def find_bundle(folder: Path, bundle_id: str) -> Bundle:
    """The bundle of an id in a catalogue.

    Raises:
        BundleUnusable: No folder holds it.
    """
    others: list[str] = []
    for entry in catalogue(folder) if folder.is_dir() else ():
        if entry.bundle is not None and entry.bundle.id == bundle_id:
            return entry.bundle
        others.append(entry.error if entry.bundle is None else f"{entry.folder} is {entry.bundle.id}")
    found = "; ".join(others) or "no bundle is there"
    raise BundleUnusable(f"no folder in {folder} holds bundle {bundle_id} ({found})")


def bundle_id(settings: Settings, written: str, warn: Callable[[str], None]) -> str:
    """The id of a bundle that is named by its folder or by its id.

    ``warn`` is told of an id that no bundle of the catalogue here has: workers may have others.

    Raises:
        BundleUnusable: The folder holds no usable bundle.
    """
    if Path(written).is_dir():
        return usable(lambda: load_bundle(Path(written))).id
    try:
        return find_bundle(settings.bundles, written).id
    except BundleUnusable as error:
        warn(f"{error}: a worker serves a bundle that is in a folder of its own FRESHET_BUNDLES")
        return written


def serving_of(bundle: Bundle | None, settings: Settings) -> Serving:
    """How a stream worker serves ``bundle``, or vectors of no trained one.

    Without a trained one it serves what it finds, but no bundle that is in its catalogue or that was ever
    promoted: that one's vectors are there because it is about to be served, or no longer.

    Raises:
        BundleUnusable: The bundle's weights do not fit its manifest or this version of freshet.
        KafkaUnreachable: No broker answers, or the topic ``control`` does not exist.
    """
    if bundle is None:
        trained = {control.subject for control in read_promotions(settings)}
        if settings.bundles.is_dir():
            trained |= {entry.bundle.id for entry in catalogue(settings.bundles) if entry.bundle is not None}
        return Serving.untrained(settings, frozenset(trained))
    return usable(lambda: Serving.of_bundle(bundle, settings))


def other_serving(settings: Settings, bundle_id: str) -> Serving:
    """How a stream worker serves a bundle of its catalogue beside the one in service.

    Raises:
        BundleUnusable: No folder of the catalogue holds it, or its weights do not fit its manifest.
    """
    bundle = find_bundle(settings.bundles, bundle_id)
    return usable(lambda: Serving.of_bundle(bundle, settings))


def usable(load: Callable[[], T]) -> T:
    """What ``load`` gives; that a bundle cannot be used is one line for whoever runs the command.

    Raises:
        BundleUnusable: ``load`` raised a ValueError, such as :class:`BundleError`.
    """
    try:
        return load()
    except ValueError as error:
        raise BundleUnusable(str(error)) from error


def _given(settings: Settings) -> Path:
    assert settings.bundle is not None
    return settings.bundle
