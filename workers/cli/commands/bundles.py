"""``freshet bundles``: list a catalogue of bundles, and promote one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from freshet.streams.settings import Settings
from freshet.workers.cli.options import json_option
from freshet.workers.terminal.connection_options import connection_options, settings_options
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from freshet.models.embedding.bundle import Bundle


@click.group(name="bundles")
def command() -> None:
    """List trained bundles, and choose which of them is served.

    A promotion takes effect when the workers of `freshet up`, `stream` and `embed` are restarted: those
    without --bundle then serve the promoted bundle.
    """


@command.command(name="list")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
@settings_options("bundles")
def list_(settings: Settings, *, folder: Path | None, as_json: bool) -> None:
    """List the bundles in FOLDER, which holds a folder for each; by default, the catalogue."""
    from freshet.workers.processes.bundle_folders import catalogue

    entries = list(catalogue(folder or settings.bundles))
    if as_json:
        shown = [
            {"folder": str(entry.folder), "error": entry.error}
            if entry.bundle is None
            else {"folder": str(entry.folder), **_summary(entry.bundle)}
            for entry in entries
        ]
        say(json.dumps({"bundles": shown}))
        return
    table = Table("folder", "id", "model", "d", "encoder", "trained on", "figures")
    for entry in entries:
        if entry.bundle is None:
            table.add_row(entry.folder.name, Text(str(entry.error), style="red"))
            continue
        row = _summary(entry.bundle)
        data = f"{row['trained_on']}, {row['examples']:,} examples"
        encoder = row["encoder"] or "no text"
        table.add_row(
            entry.folder.name, row["id"], row["model"], str(row["d"]), encoder, data, _figures(row["figures"])
        )
    Terminal().print(table if entries else f"no bundle in {folder or settings.bundles}")


@command.command()
@click.argument("bundle")
@json_option
@settings_options("bundles")
def show(settings: Settings, *, bundle: str, as_json: bool) -> None:
    """Show the manifest of a BUNDLE: a folder, or an id of the catalogue."""
    found = _find(bundle, settings)
    described = found.manifest.model_dump(mode="json", exclude={"vocabularies"})
    described["id"] = found.id
    described["vocabularies"] = {name: len(values) for name, values in found.manifest.vocabularies.items()}
    described["weights"] = {name: list(weight.shape) for name, weight in sorted(found.weights.items())}
    if as_json:
        say(json.dumps(described))
        return
    console = Terminal(soft_wrap=True, highlight=False)
    console.print(Text.assemble((found.id, "bold"), f" in {found.folder}"))
    for name, value in described.items():
        if name not in {"id", "name", "version"}:
            console.print(f"{name}: {json.dumps(value)}")


@command.command()
@json_option
@connection_options
def history(settings: Settings, *, as_json: bool) -> None:
    """Show every promotion and rollback, and the bundle that they leave in service."""
    from freshet.models.embedding.promotions import promoted, served
    from freshet.streams.client.promotions import read_promotions

    controls = read_promotions(settings)
    now = served(promoted(controls))
    if as_json:
        records = [control.model_dump(mode="json", exclude_none=True) for control in controls]
        say(json.dumps({"served": now, "promotions": records}))
        return
    for control in controls:
        verb = "rolled back to" if control.rollback else "promoted"
        say(f"{control.time.isoformat(timespec='seconds')}  {verb} {control.subject}")
    say(f"in service: {now}")


@command.command()
@click.argument("bundle")
@json_option
@settings_options("bundles")
def promote(settings: Settings, *, bundle: str, as_json: bool) -> None:
    """Promote a BUNDLE to be served: a folder, an id of the catalogue, or `untrained` for no trained one."""
    from freshet.models.embedding.promotions import UNTRAINED
    from freshet.streams.client.promotions import promote as publish
    from freshet.workers.processes.bundle_folders import BundleUnusable, find_bundle

    bundle_id = UNTRAINED if bundle == UNTRAINED else _find(bundle, settings).id
    control = publish(settings, bundle_id)
    say(control.to_json() if as_json else f"{bundle_id} is promoted; restart the workers to serve it")
    if bundle_id != UNTRAINED:
        try:
            find_bundle(settings.bundles, bundle_id)
        except BundleUnusable as error:
            say(f"Warning: workers look for it in their catalogue, and here {error}", err=True)


@command.command()
@json_option
@connection_options
def rollback(settings: Settings, *, as_json: bool) -> None:
    """Undo the latest promotion: the bundle promoted before it is served again."""
    from freshet.models.embedding.promotions import before, promoted
    from freshet.streams.client.promotions import promote as publish
    from freshet.streams.client.promotions import read_promotions

    earlier = before(promoted(read_promotions(settings)))
    if earlier is None:
        raise click.ClickException("no promotion is left to be undone: `freshet bundles history` lists all")
    control = publish(settings, earlier, rollback=True)
    say(control.to_json() if as_json else f"back to {earlier}; restart the workers to serve it")


def _find(bundle: str, settings: Settings) -> Bundle:
    """Load a bundle from its folder, or from the catalogue by its id."""
    from freshet.models.embedding.bundle import MANIFEST_FILE, load_bundle
    from freshet.workers.processes.bundle_folders import find_bundle, usable

    folder = Path(bundle)
    if (folder / MANIFEST_FILE).is_file():
        return usable(lambda: load_bundle(folder))
    if folder.is_dir():
        raise click.ClickException(f"{folder} is no bundle: it has no {MANIFEST_FILE}")
    return find_bundle(settings.bundles, bundle)


def _summary(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    encoder = manifest.encoder
    return {
        "id": bundle.id,
        "model": manifest.model,
        "d": manifest.d,
        "encoder": None if encoder is None else f"{encoder.name}, {encoder.pooling}",
        "trained_on": manifest.training.folder,
        "examples": manifest.training.examples,
        "figures": manifest.figures,
    }


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
