"""Bundles in folders of this machine: the catalogue, and the bundle that a worker serves.

A worker serves the bundle named by ``--bundle``, else the promoted one, which it looks for in the catalogue
(``--bundles``, a folder of bundles' folders), else vectors of no trained bundle.
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
    """A bundle is missing, damaged, or does not fit."""


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A folder of a catalogue: a bundle, or the reason why it is none."""

    folder: Path
    bundle: Bundle | None
    error: str = ""


def catalogue(folder: Path) -> Iterator[BundleFolder]:
    """Load every bundle in a folder of bundles' folders, in the order of their names, with damaged ones.

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
    """Load the bundle to serve; ``None`` if it is not a trained one.

    Raises:
        BundleUnusable: The folder given holds no usable bundle, or no folder holds the promoted one.
        KafkaUnreachable: No broker answers, or the topic ``control`` does not exist.
    """
    wanted = served(promoted(read_promotions(settings)))
    if settings.bundle is not None:
        given = settings.bundle
        bundle = usable(lambda: load_bundle(given))
        if bundle.id != wanted:
            log.warning("serving bundle %s, as configured, although %s is promoted", bundle.id, wanted)
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
    """Find the bundle with an id in a catalogue.

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
    """Find the id of a bundle that is named by its folder or by its id.

    An id that is not in the catalogue of this machine is passed to ``warn``: workers may have other bundles.

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
    """Prepare serving of ``bundle``, or of vectors of no trained one.

    Without a trained bundle a worker serves the vectors that it finds, except those of bundles that are in
    its catalogue or were ever promoted: such a bundle is about to be served, or no longer is.

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
    """Prepare serving of a bundle of the catalogue beside the one in service.

    Raises:
        BundleUnusable: No folder of the catalogue holds it, or its weights do not fit its manifest.
    """
    bundle = find_bundle(settings.bundles, bundle_id)
    return usable(lambda: Serving.of_bundle(bundle, settings))


def usable(load: Callable[[], T]) -> T:
    """Call ``load``, and turn its errors into one line for the user of the command.

    Raises:
        BundleUnusable: ``load`` raised a ValueError, such as :class:`BundleError`.
    """
    try:
        return load()
    except ValueError as error:
        raise BundleUnusable(str(error)) from error
