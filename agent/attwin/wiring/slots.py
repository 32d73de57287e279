"""Which model serves each kind at a start: what was pushed, what served before it, or what the configuration names."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_updates import count_start, load_open, load_slots
from attwin.adapters.update_works import hash_of
from attwin.core.errors import BundleError, StoreError
from attwin.core.updates import Update, UpdateState
from attwin.ports import Slot
from attwin.runtime.updates import MOST_PROBATION_STARTS
from attwin.settings.model import Settings
from attwin.wiring.layers import files_of
from attwin.wiring.models import bundle_path, chosen_runtime, verify_in_child
from attwin.wiring.reading import tested_models

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The models that serve from a start on.

    Attributes:
        settings: The configuration, in which ``model`` of each kind is the file that serves.
        own: The hash of the file that the configuration itself names, by kind; empty where it names none.
    """

    settings: Settings
    own: Mapping[str, str]


def note_start(settings: Settings) -> None:
    """Count a start for what is under way, before anything that may fail for its sake.

    Raises:
        StoreError: Another agent has the database.
    """
    count_start(Path(settings.store.path))


def choose_models(settings: Settings) -> Chosen:
    """Return the models that serve, each tested on this runtime in a process of its own before it is loaded here.

    What was pushed is passed over where its file is damaged, where it fails its test, where the agent has started with
    it again and again while it was on probation, and where the configuration names another file than when it took
    that one's place.

    Raises:
        BundleError: The model that the configuration names cannot be trusted or used.
    """
    database = Path(settings.store.path)
    slots, under_way = _stored(database)
    tested = tested_models(database)
    own, kinds = {}, {}
    for name, kind in settings.kinds.items():
        own[name] = _own_hash(kind.model)
        slot = slots.get(f"model/{name}")
        pushed = _pushed(slot, own[name], under_way) if slot and not is_pinned(settings, name) else []
        path = next((path for path in pushed_paths(database, pushed) if _is_good(path, tested)), None)
        if path is None and kind.model:
            _demand_tested(bundle_path(kind.model), own[name], tested)
        kinds[name] = kind if path is None else replace(kind, model=str(path))
    return Chosen(settings=replace(settings, kinds=kinds), own=own)


def is_pinned(settings: Settings, kind: str) -> bool:
    """Return whether the configuration keeps the model of a kind for itself."""
    return bool({"kinds", f"kinds.{kind}", f"kinds.{kind}.model"}.intersection(settings.updates.pinned))


def pushed_paths(database: Path, hashes: Sequence[str]) -> list[Path]:
    """Return where files lie that were pushed."""
    return [files_of(database) / sha256 for sha256 in hashes]


def _stored(database: Path) -> tuple[dict[str, Slot], list[Update]]:
    try:
        with reader(database) as connection:
            return load_slots(connection), load_open(connection)
    except StoreError:
        return {}, []


def _own_hash(model: str) -> str:
    if not model:
        return ""
    path = bundle_path(model)
    try:
        return hash_of(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error


def _pushed(slot: Slot, own: str, under_way: Sequence[Update]) -> list[str]:
    """Return the hashes of what was pushed and may serve, the best first."""
    if slot.over != own or not slot.sha256:
        return []
    loops = any(
        update.sha256 == slot.sha256 and update.state is UpdateState.PROBATION and update.starts > MOST_PROBATION_STARTS
        for update in under_way
    )
    return [sha256 for sha256 in ("" if loops else slot.sha256, slot.previous) if sha256]


def _is_good(path: Path, tested: set[tuple[str, str]]) -> bool:
    try:
        problem = "" if hash_of(path) == path.name else "its file is damaged"
        if not problem:
            _demand_tested(path, path.name, tested)
    except (OSError, BundleError) as error:
        problem = str(error)
    if problem:
        log.error("model=%s problem=%r; what served before it serves", path.name[:16], problem)
    return not problem


def _demand_tested(path: Path, sha256: str, tested: set[tuple[str, str]]) -> None:
    """Self-test a model, unless it has served on this runtime before.

    A damaged model can abort the process that loads it, so this comes before the agent loads any.

    Raises:
        BundleError: It does not compute what it promises.
    """
    if (sha256, chosen_runtime()) not in tested:
        verify_in_child(path)
