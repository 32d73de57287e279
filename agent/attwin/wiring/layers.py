"""The configuration that holds here: the local file, and over it what was pushed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_updates import load_slots
from attwin.adapters.update_works import hash_of
from attwin.core.errors import SettingsError, StoreError, UpdateRefusedError
from attwin.runtime.update_targets import CONFIG
from attwin.settings.layers import Layer
from attwin.settings.load import load_settings
from attwin.settings.model import Settings
from attwin.wiring.models import inspect_models
from attwin.wiring.sources import inspect_sources

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A configuration that can be used.

    Attributes:
        settings: What it says.
        layer: What was pushed and is part of it; None for nothing.
        path: The local file.
    """

    settings: Settings
    layer: Layer | None
    path: Path


def files_of(database: Path) -> Path:
    """Return the folder of the files that were pushed, named by their hashes."""
    return database.parent / "updates" / "files"


def serving_layer(config: Path) -> Layer | None:
    """Return the pushed configuration that belongs over a local one; None where there is none that can be read.

    Raises:
        SettingsError: The local one cannot be used.
    """
    database = Path(load_settings(config).store.path)
    try:
        with reader(database) as connection:
            slot = load_slots(connection).get(CONFIG)
    except StoreError:
        return None
    if slot is None or not slot.sha256:
        return None
    path = files_of(database) / slot.sha256
    try:
        is_whole = hash_of(path) == slot.sha256
    except OSError:
        is_whole = False
    if not is_whole:
        log.error(
            "config=%s-%d problem='its file is damaged or gone; the local file alone holds'", slot.name, slot.version
        )
        return None
    return Layer(path=path, name=f"{slot.name}-{slot.version}", version=slot.version, sha256=slot.sha256)


def configured(config: Path) -> Configured:
    """Return the configuration that holds: without what was pushed where that cannot be used any more.

    Raises:
        SettingsError: The local file cannot be used.
    """
    layer = serving_layer(config)
    if layer is not None:
        try:
            return Configured(settings=load_settings(config, layer=layer), layer=layer, path=config)
        except SettingsError as error:
            log.error("config=%s problem=%r; the local file alone holds", layer.name, str(error))
    return Configured(settings=load_settings(config), layer=None, path=config)


def check_layer(config: Path, layer: Path) -> dict[str, object]:
    """Check a pushed configuration as the local one is checked, and return what it would change.

    Raises:
        UpdateRefusedError: It cannot be used here.
    """
    before = load_settings(config)
    try:
        after = load_settings(config, layer=Layer(path=layer, name="the pushed configuration"), inspect=inspect)
    except SettingsError as error:
        raise UpdateRefusedError("; ".join(error.problems)) from error
    names = ("broker", "upstream", "kinds", "sources", "entities", "limits", "groups", "rules", "quiet", "drift")
    changed = [name for name in (*names, "reactions", "labels") if getattr(before, name) != getattr(after, name)]
    return {"changes": changed, "rules": len(after.rules)}


def inspect(settings: Settings, report: Callable[[str, str], None]) -> None:
    """Report what is wrong beyond the file: sources, models, the folder of the database."""
    inspect_sources(settings, report)
    inspect_models(settings, report)
    folder = Path(settings.store.path).parent
    if settings.store.path and not folder.is_dir():
        report("store.path", f"no folder `{folder}`")
