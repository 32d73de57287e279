"""Attacks on what is pushed, each with what the gateway does; the numbers are rows of the attack matrix."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from attwin.adapters.tuf_trust import check_request
from attwin.core.errors import DataError, UpdateRefusedError
from attwin.runtime.update_targets import CheckedTarget
from attwin_converter.repository import Offer, Repository

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WORDS: Callable[[str], bytes] = lambda _name: b"correct horse"  # noqa: E731 -- one passphrase for all keys
TARGET = "models/room/office-{}.zip"


def offer(version: int, **others: object) -> Offer:
    """Return a model to publish."""
    return Offer(
        body=b"model %d" % version, suffix=".zip", type="model", name="office", version=version, kind="room", **others
    )


class Gateway:
    """What a gateway trusts."""

    def __init__(self, folder: Path, repository: Repository) -> None:
        self.trust = folder / "trust"
        self.root = (repository.folder / "metadata" / "1.root.json").read_bytes()

    def check(self, metadata: Mapping[str, str], version: int, *, now: datetime = NOW) -> CheckedTarget:
        """Check the metadata of a request."""
        now_ms = int(now.timestamp() * 1000)
        return CheckedTarget.of(check_request(self.trust, self.root, metadata, TARGET.format(version), now_ms=now_ms))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one version."""
    made = Repository.init(tmp_path / "repo", WORDS, now=NOW)
    made.publish(offer(1), WORDS)
    return made


@pytest.fixture
def gateway(tmp_path: Path, repository: Repository) -> Gateway:
    """A gateway that pins the first root."""
    return Gateway(tmp_path, repository)


def test_what_is_signed_is_trusted(repository: Repository, gateway: Gateway) -> None:
    """The answer says what the target is, and what its file must be."""
    found = gateway.check(repository.metadata_after(0), 1)

    assert (found.line, found.version, found.size) == ("model/room", 1, len(b"model 1"))
    assert found.sha256 == repository.find("office-1").sha256


def test_an_older_repository_is_refused_once_a_newer_one_was_seen(repository: Repository, gateway: Gateway) -> None:
    """A1: for the whole of it, and for each file of it alone."""
    older = repository.metadata_after(0)
    repository.publish(offer(2), WORDS)
    newer = repository.metadata_after(0)
    gateway.check(newer, 2)

    with pytest.raises(UpdateRefusedError, match="older than what is trusted"):
        gateway.check(older, 1)
    for name in older:
        if name not in newer or older[name] != newer[name]:
            with pytest.raises(UpdateRefusedError):
                gateway.check({**newer, name: older[name], "timestamp.json": older["timestamp.json"]}, 1)


def test_what_has_expired_is_refused_by_the_time_of_the_gateway(repository: Repository, gateway: Gateway) -> None:
    """A3, F18: the time given counts, not the clock of the machine."""
    later = NOW + timedelta(days=181)
    with pytest.raises(UpdateRefusedError, match="expired"):
        gateway.check(repository.metadata_after(0), 1, now=later)

    Repository(repository.folder, now=later).refresh()
    assert gateway.check(repository.metadata_after(0), 1, now=later).version == 1


def test_files_of_two_repositories_do_not_mix(repository: Repository, gateway: Gateway) -> None:
    """A5: old targets under a new snapshot."""
    older = repository.metadata_after(0)
    repository.publish(offer(2), WORDS)
    newer = repository.metadata_after(0)
    name = next(name for name in newer if name.endswith("targets.json"))
    old_name = next(name for name in older if name.endswith("targets.json"))

    with pytest.raises(UpdateRefusedError):
        gateway.check({**newer, name: older[old_name]}, 1)


def test_metadata_without_end_are_refused(repository: Repository, gateway: Gateway) -> None:
    """A6: a timestamp of a megabyte."""
    metadata = repository.metadata_after(0)
    with pytest.raises(UpdateRefusedError, match="at most 16384"):
        gateway.check({**metadata, "timestamp.json": metadata["timestamp.json"] + " " * 1_000_000}, 1)


def test_a_target_that_nobody_signed_is_not_there(repository: Repository, gateway: Gateway) -> None:
    """A7: of another name, and of a name that climbs."""
    metadata = repository.metadata_after(0)
    with pytest.raises(UpdateRefusedError, match="has no target"):
        gateway.check(metadata, 9)
    with pytest.raises(UpdateRefusedError, match="has no target"):
        check_request(gateway.trust, gateway.root, metadata, "../../etc/passwd", now_ms=int(NOW.timestamp() * 1000))


def test_a_bit_that_flips_breaks_the_signature(repository: Repository, gateway: Gateway) -> None:
    """A8: of every file of the metadata."""
    metadata = repository.metadata_after(0)
    for name in ("timestamp.json", *(n for n in metadata if "targets" in n or "snapshot" in n)):
        changed = json.loads(metadata[name])
        changed["signed"]["version"] += 1
        with pytest.raises(UpdateRefusedError):
            gateway.check({**metadata, name: json.dumps(changed)}, 1)
    assert gateway.check(metadata, 1).version == 1


def test_another_repository_is_refused(tmp_path: Path, gateway: Gateway) -> None:
    """A8: its keys are its own."""
    other = Repository.init(tmp_path / "other", WORDS, now=NOW)
    other.publish(offer(7), WORDS)
    with pytest.raises(UpdateRefusedError, match="not signed by enough"):
        gateway.check(other.metadata_after(1), 7)


def test_one_of_two_signatures_is_not_enough(tmp_path: Path, repository: Repository, gateway: Gateway) -> None:
    """A9: what one key signs alone waits for the other, and a gateway refuses it."""
    assert repository.add_key("targets", "second", WORDS, threshold=2) == 0
    assert gateway.check(repository.metadata_after(0), 1).root_version == 2
    away = tmp_path / "away"
    away.mkdir()
    for name in ("second.pem", "second.pub.json"):
        (repository.folder / "keys" / name).rename(away / name)

    _, lacks = repository.publish(offer(2), WORDS)
    assert lacks == 1
    with pytest.raises(UpdateRefusedError, match="has no target"):
        gateway.check(repository.metadata_after(0), 2)
    with pytest.raises(DataError, match="needs 1 more"):
        repository.publish(offer(3), WORDS)

    for name in ("second.pem", "second.pub.json"):
        (away / name).rename(repository.folder / "keys" / name)
    assert list(repository.sign(WORDS).values()) == [0]
    assert gateway.check(repository.metadata_after(0), 2).version == 2


def test_a_key_that_was_rotated_away_counts_no_more(repository: Repository, gateway: Gateway) -> None:
    """A10: whoever has the old online key signs nothing that is taken."""
    stolen = repository.folder / "keys" / "online.pem"
    repository.rotate("timestamp", "online", "online2", WORDS)
    repository.rotate("snapshot", "online", "online3", WORDS)
    assert gateway.check(repository.metadata_after(0), 1).root_version == 3
    forged = repository.metadata_after(0)
    old = Repository.init(repository.folder.with_name("thief"), WORDS, now=NOW)
    (old.folder / "keys" / "online.pem").write_bytes(stolen.read_bytes())
    with pytest.raises(UpdateRefusedError):
        gateway.check({**forged, "timestamp.json": old.metadata_after(0)["timestamp.json"]}, 1)


def test_only_the_root_lowers_a_floor_and_says_when(repository: Repository, gateway: Gateway) -> None:
    """A4: with the version of the root that says it, so that it counts once."""
    assert gateway.check(repository.metadata_after(0), 1).floors == {}
    repository.lower_floor("model/room", 1, WORDS)
    assert gateway.check(repository.metadata_after(0), 1).floors == {"model/room": (1, 2)}
    repository.add_key("timestamp", "spare", WORDS)
    assert gateway.check(repository.metadata_after(0), 1).floors == {"model/room": (1, 2)}


def test_a_trust_that_was_lost_begins_at_the_pinned_root(repository: Repository, gateway: Gateway) -> None:
    """A2: then an older repository is taken again, which is why the gateway keeps a floor of its own."""
    older = repository.metadata_after(0)
    repository.publish(offer(2), WORDS)
    gateway.check(repository.metadata_after(0), 2)
    for path in gateway.trust.rglob("*.json"):
        if not path.is_symlink():
            path.write_bytes(b"")

    assert gateway.check(older, 1).version == 1


def test_a_wrong_passphrase_and_a_lower_version_change_nothing(repository: Repository) -> None:
    """What was published stays as it was."""
    before = repository.metadata_after(0)
    with pytest.raises(DataError, match="passphrase is wrong"):
        repository.publish(offer(2), lambda _name: b"wrong horse")
    with pytest.raises(DataError, match="must be higher"):
        repository.publish(offer(1), WORDS)
    assert repository.metadata_after(0) == before


def test_custom_data_that_an_agent_does_not_know_are_refused() -> None:
    """A target that says more may mean more."""
    custom = {"format": 1, "type": "model", "name": "m", "kind": "room", "version": 1, "minimum_agent": "0.1.0"}
    answer = {"path": "p", "size": 1, "sha256": "0", "root_version": 1, "floors": None}
    whole = {**custom, "operators": [], "for": {}}
    assert CheckedTarget.of({**answer, "custom": whole}).kind == "room"
    for wrong in ({**whole, "color": "red"}, {**whole, "version": 0}, {**whole, "kind": ""}, {**whole, "format": 2}):
        with pytest.raises(UpdateRefusedError):
            CheckedTarget.of({**answer, "custom": wrong})
