"""The repository of what is pushed: a folder of signed metadata and files, as The Update Framework lays it out.

``metadata/`` and ``targets/`` hold nothing secret. ``keys/`` holds the keys of this workstation: those of root and
targets encrypted with a passphrase, so that they can lie on a stick; those of snapshot and timestamp plain, because
`serve` and `refresh` sign with them day by day. Whoever steals those can at worst hide newer versions until what
is signed expires.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from attwin.core.errors import DataError

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
OFFLINE = (ROOT, TARGETS)
"""Roles whose keys need a passphrase."""
FLOORS = "attwin-floors"
"""The field of the root that lowers floors."""
_LIVES = {ROOT: timedelta(days=5 * 365), TARGETS: timedelta(days=730), SNAPSHOT: timedelta(days=365),
          TIMESTAMP: timedelta(days=180)}  # fmt: skip
_JSON = JSONSerializer(compact=True)
_PENDING = "pending"
_MODE_SECRET, _MODE_FOLDER = 0o600, 0o700
_LEAST_PASSPHRASE = 8

Passphrase = Callable[[str], bytes]
"""Asks for the passphrase of a key by its name."""
Line = str
"""``model/<kind>`` or ``config``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A target of the repository.

    Attributes:
        path: Its path.
        size, sha256: Of its file.
        line: What it takes the place of.
        name, version: A number that only rises on its line.
        gateways, sites: For whom it is; for everybody where both are empty.
    """

    path: str
    size: int
    sha256: str
    line: Line
    name: str
    version: int
    gateways: Sequence[str] = ()
    sites: Sequence[str] = ()

    def is_for(self, gateway: str, site: str) -> bool:
        """Return whether it is meant for a gateway."""
        return not (self.gateways or self.sites) or gateway in self.gateways or bool(site and site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is to be published.

    Attributes:
        body: The file.
        suffix: Of its name in the repository.
        type: ``model`` or ``config``.
        name, version: A number that only rises on its line.
        kind: Whose model it is; empty for a configuration.
        minimum_agent: The oldest agent version that may take it.
        operators: What the runtime must know, with versions.
        gateways, sites: For whom it is; for everybody where both are empty.
    """

    body: bytes
    suffix: str
    type: Literal["model", "config"]
    name: str
    version: int
    kind: str = ""
    minimum_agent: str = "0.0.0"
    operators: Sequence[tuple[str, int]] = ()
    gateways: Sequence[str] = ()
    sites: Sequence[str] = ()

    @property
    def path(self) -> str:
        """Where it lies in the repository."""
        folder = f"models/{self.kind}" if self.type == "model" else "config"
        return f"{folder}/{self.name}-{self.version}{self.suffix}"


@dataclass(slots=True, kw_only=True)
class RoleFacts:
    """What is known of a role.

    Attributes:
        role: Its name.
        version: Of its metadata.
        expires: When they expire.
        threshold: How many signatures are needed.
        keys: The names of its keys; the first figures of the id of those that are elsewhere.
    """

    role: str
    version: int
    expires: datetime
    threshold: int
    keys: list[str] = field(default_factory=list)

    def as_dict(self, now: datetime) -> dict[str, object]:
        """Return it as plain JSON."""
        return {
            "role": self.role,
            "version": self.version,
            "expires": self.expires.strftime("%Y-%m-%d"),
            "days": (self.expires - now).days,
            "threshold": self.threshold,
            "keys": self.keys,
        }


class Repository:
    """A repository in a folder.

    Attributes:
        folder: Where it lies.
    """

    def __init__(self, folder: Path, *, keys: Path | None = None, now: datetime | None = None) -> None:
        """Open it.

        Args:
            folder: Where it lies.
            keys: Where the keys are; inside of it unless told.
            now: The present.

        Raises:
            DataError: There is none.
        """
        self.folder = folder
        self._keys = keys or folder / "keys"
        self._now = (now or datetime.now(UTC)).replace(microsecond=0)
        if not (folder / "metadata" / "1.root.json").is_file():
            raise DataError(f"{folder} is no repository; `attwin-convert repo init {folder}` makes one")

    @staticmethod
    def init(
        folder: Path, passphrase: Passphrase, *, keys: Path | None = None, now: datetime | None = None
    ) -> "Repository":
        """Make one, with a key of one operator for root and targets and one that is online for the other roles.

        Raises:
            DataError: There is one already.
        """
        if (folder / "metadata").exists():
            raise DataError(f"{folder} has a repository already")
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir(exist_ok=True)
        key_folder = keys or folder / "keys"
        operator = _make_key(key_folder, "operator", passphrase)
        online = _make_key(key_folder, "online", None)
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        root = Root(version=1, expires=now + _LIVES[ROOT], consistent_snapshot=True)
        for role in ROLES:
            root.add_key((operator if role in OFFLINE else online).public_key, role)
        signed = Metadata(root)
        signed.sign(operator)
        _write(folder / "metadata" / "1.root.json", signed.to_bytes(_JSON))
        made = Repository(folder, keys=keys, now=now)
        signers = {"operator": operator, "online": online}
        made._finish(Targets(version=1, expires=now + _LIVES[TARGETS]), [operator], signers)
        return made

    # reading

    def root(self) -> Metadata[Root]:
        """Return the newest root."""
        return Metadata[Root].from_file(str(self._newest(ROOT)))

    def targets(self) -> Metadata[Targets]:
        """Return the newest targets metadata."""
        return Metadata[Targets].from_file(str(self._newest(TARGETS)))

    def snapshot(self) -> Metadata[Snapshot]:
        """Return the newest snapshot."""
        return Metadata[Snapshot].from_file(str(self._newest(SNAPSHOT)))

    def timestamp(self) -> Metadata[Timestamp]:
        """Return the timestamp."""
        return Metadata[Timestamp].from_file(str(self.folder / "metadata" / "timestamp.json"))

    def published(self) -> list[Published]:
        """Return all targets, oldest versions first."""
        found = [_published(target) for target in self.targets().signed.targets.values()]
        return sorted(found, key=lambda one: (one.line, one.version))

    def newest(self, line: Line, gateway: str, site: str) -> Published | None:
        """Return the newest target of a line that is for a gateway; None where there is none."""
        mine = [one for one in self.published() if one.line == line and one.is_for(gateway, site)]
        return mine[-1] if mine else None

    def find(self, name: str) -> Published:
        """Return a target by its path, by its file, or by its name and version.

        Raises:
            DataError: There is none.
        """
        found = self.published()
        path = Path(name)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for one in found[::-1]:
            if name in (one.path, f"{one.name}-{one.version}") or one.sha256 == sha256:
                return one
        known = ", ".join(f"{one.name}-{one.version}" for one in found[-5:]) or "none"
        raise DataError(f"`{name}` is not published; `attwin-convert repo publish` does that. Published: {known}")

    def body(self, target: Published) -> bytes:
        """Return the file of a target.

        Raises:
            DataError: It is missing, or another.
        """
        path = self.folder / "targets" / target.path
        try:
            body = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        if hashlib.sha256(body).hexdigest() != target.sha256:
            raise DataError(f"{path} is not the file that was signed; publish it anew under a higher version")
        return body

    def metadata_after(self, root_version: int) -> dict[str, str]:
        """Return what a gateway needs that trusts a version of the root."""
        folder = self.folder / "metadata"
        roots = range(max(root_version, 0) + 1, self.root().signed.version + 1)
        snapshot, targets = self._newest(SNAPSHOT), self._newest(TARGETS)
        paths = [*(folder / f"{version}.root.json" for version in roots), folder / "timestamp.json", snapshot, targets]
        return {path.name: path.read_text(encoding="utf-8") for path in paths}

    def facts(self) -> list[RoleFacts]:
        """Return what is known of each role."""
        root = self.root().signed
        names = {signer.public_key.keyid: name for name, signer in self._public().items()}
        signed: Mapping[str, Root | Targets | Snapshot | Timestamp] = {
            ROOT: root,
            TARGETS: self.targets().signed,
            SNAPSHOT: self.snapshot().signed,
            TIMESTAMP: self.timestamp().signed,
        }
        return [
            RoleFacts(
                role=role,
                version=signed[role].version,
                expires=signed[role].expires,
                threshold=root.roles[role].threshold,
                keys=[names.get(keyid, keyid[:12]) for keyid in root.roles[role].keyids],
            )
            for role in ROLES
        ]

    def floors(self) -> dict[str, int]:
        """Return what the root lowers floors to."""
        floors = self.root().signed.unrecognized_fields.get(FLOORS, {})
        return {str(line): int(floor["version"]) for line, floor in floors.items()}

    def waiting(self) -> dict[str, int]:
        """Return what waits for more signatures: how many each still needs."""
        root = self.root()
        found = {}
        for path in sorted(self._pending().glob("*.json")):
            metadata = Metadata.from_file(str(path))
            found[path.name] = self._lacks(metadata, root.signed)
        return found

    # changing

    def publish(self, offer: Offer, passphrase: Passphrase) -> tuple[Published, int]:
        """Add a target, and sign; return it, and how many signatures more are needed.

        Raises:
            DataError: Its version is not higher than all before on its line, or no key is here.
        """
        self._demand_nothing_waits()
        targets = self.targets().signed
        line = f"model/{offer.kind}" if offer.type == "model" else "config"
        sha256 = hashlib.sha256(offer.body).hexdigest()
        for one in self.published():
            same = {*one.gateways, *one.sites} & {*offer.gateways, *offer.sites} or not (
                (one.gateways or one.sites) and (offer.gateways or offer.sites)
            )
            if one.line == line and same and one.version >= offer.version:
                raise DataError(f"{line} has version {one.version} already ({one.path}); a new one must be higher")
        _write(self.folder / "targets" / offer.path, offer.body)
        custom = {
            "format": 1,
            "type": offer.type,
            "name": offer.name,
            "kind": offer.kind,
            "version": offer.version,
            "minimum_agent": offer.minimum_agent,
            "operators": [list(operator) for operator in offer.operators],
            "for": {"gateways": list(offer.gateways), "sites": list(offer.sites)},
        }
        target = TargetFile(len(offer.body), {"sha256": sha256}, offer.path, {"custom": custom})
        targets.targets[offer.path] = target
        targets.version += 1
        targets.expires = self._now + _LIVES[TARGETS]
        lacks = self._sign_offline(Metadata(targets), passphrase)
        return _published(target), lacks

    def add_key(self, role: str, name: str, passphrase: Passphrase, *, threshold: int | None = None) -> int:
        """Give a role another key; return how many signatures of the root more are needed."""
        self._demand_nothing_waits()
        signer = _make_key(self._keys, name, passphrase if role in OFFLINE else None)
        return self._change_root(lambda root: _add_key(root, signer.public_key, role, threshold), passphrase)

    def rotate(self, role: str, old: str, name: str, passphrase: Passphrase) -> int:
        """Give a role another key for one of its keys; return how many signatures of the root more are needed.

        Raises:
            DataError: The role has no such key.
        """
        self._demand_nothing_waits()
        root = self.root().signed
        known = {name: signer.public_key.keyid for name, signer in self._public().items()}
        keyid = known.get(old, next((keyid for keyid in root.roles[role].keyids if keyid.startswith(old)), ""))
        if keyid not in root.roles[role].keyids:
            raise DataError(f"role {role} has no key `{old}`; it has {', '.join(self._names_of(role))}")
        signer = _make_key(self._keys, name, passphrase if role in OFFLINE else None)

        def change(root: Root) -> None:
            root.add_key(signer.public_key, role)
            root.revoke_key(keyid, role)

        return self._change_root(change, passphrase)

    def lower_floor(self, line: Line, version: int, passphrase: Passphrase) -> int:
        """Let gateways take versions from a number on, lower as that may be; return how many signatures are needed."""
        self._demand_nothing_waits()

        def change(root: Root) -> None:
            floors = dict(root.unrecognized_fields.get(FLOORS, {}))
            # a gateway lowers a floor once for each of these: what serves later is not to be gone behind again
            floors[line] = {"version": version, "root": root.version + 1}
            root.unrecognized_fields[FLOORS] = floors

        return self._change_root(change, passphrase)

    def refresh(self) -> datetime:
        """Sign snapshot and timestamp anew with the online key; return when they expire."""
        self._resign_online(self._signers_of(SNAPSHOT, None))
        return self.timestamp().signed.expires

    def sign(self, passphrase: Passphrase) -> dict[str, int]:
        """Sign what waits with the keys that are here; return how many signatures each still needs.

        Raises:
            DataError: Nothing waits.
        """
        waiting = sorted(self._pending().glob("*.json"))
        if not waiting:
            raise DataError("nothing waits for signatures")
        found = {}
        for path in waiting:
            metadata = Metadata.from_file(str(path))
            found[path.name] = self._sign_offline(metadata, passphrase)
        return found

    def _change_root(self, change: Callable[[Root], None], passphrase: Passphrase) -> int:
        root = self.root().signed
        change(root)
        root.version += 1
        root.expires = self._now + _LIVES[ROOT]
        return self._sign_offline(Metadata(root), passphrase)

    def _sign_offline(self, metadata: "Metadata[Root] | Metadata[Targets] | Metadata", passphrase: Passphrase) -> int:  # type: ignore[type-arg] # of either
        """Sign root or targets with the keys that are here, and let it count once there are enough signatures.

        A new root needs signatures by the old root's threshold and by its own.
        """
        role = metadata.signed.type
        old = self.root().signed
        wanted = set(old.roles[role].keyids)
        if isinstance(metadata.signed, Root):
            wanted |= set(metadata.signed.roles[ROOT].keyids)
        signers = [signer for signer in self._signers(passphrase, wanted) if signer.public_key.keyid in wanted]
        for signer in signers:
            metadata.sign(signer, append=True)
        name = f"{metadata.signed.version}.{role}.json"
        lacks = self._lacks(metadata, old)
        if lacks:
            if not metadata.signatures:
                raise DataError(f"no key of role {role} is in {self._keys}")
            _write(self._pending() / name, metadata.to_bytes(_JSON))
            return lacks
        (self._pending() / name).unlink(missing_ok=True)
        if isinstance(metadata.signed, Root):
            _write(self.folder / "metadata" / name, metadata.to_bytes(_JSON))
            # keys may have changed
            self._resign_targets(passphrase)
        else:
            _write(self.folder / "metadata" / name, metadata.to_bytes(_JSON))
            self._resign_online(self._signers_of(SNAPSHOT, None))
        return 0

    def _resign_targets(self, passphrase: Passphrase) -> None:
        """Sign the targets anew where the keys of their role are others now, and what is online in any case."""
        root, targets = self.root().signed, self.targets()
        try:
            root.verify_delegate(TARGETS, targets.signed_bytes, targets.signatures)
        except RepositoryError:
            targets.signed.version += 1
            targets.signed.expires = self._now + _LIVES[TARGETS]
            self._sign_offline(Metadata(targets.signed), passphrase)
        else:
            self._resign_online(self._signers_of(SNAPSHOT, None))

    def _finish(self, targets: Targets, signers: Sequence[CryptoSigner], online: Mapping[str, CryptoSigner]) -> None:
        """Write the first targets, snapshot and timestamp."""
        signed = Metadata(targets)
        for signer in signers:
            signed.sign(signer, append=True)
        _write(self.folder / "metadata" / "1.targets.json", signed.to_bytes(_JSON))
        snapshot = Snapshot(version=1, expires=self._now + _LIVES[SNAPSHOT], meta={"targets.json": MetaFile(1)})
        self._write_online(snapshot, 1, [online["online"]])

    def _resign_online(self, signers: Sequence[CryptoSigner]) -> None:
        snapshot = self.snapshot().signed
        snapshot.version += 1
        snapshot.expires = self._now + _LIVES[SNAPSHOT]
        snapshot.meta["targets.json"] = MetaFile(self.targets().signed.version)
        self._write_online(snapshot, self.timestamp().signed.version + 1, signers)

    def _write_online(self, snapshot: Snapshot, version: int, signers: Sequence[CryptoSigner]) -> None:
        signed = Metadata(snapshot)
        for signer in signers:
            signed.sign(signer, append=True)
        body = signed.to_bytes(_JSON)
        _write(self.folder / "metadata" / f"{snapshot.version}.snapshot.json", body)
        meta = MetaFile(snapshot.version, len(body), {"sha256": hashlib.sha256(body).hexdigest()})
        timestamp = Metadata(Timestamp(version=version, expires=self._now + _LIVES[TIMESTAMP], snapshot_meta=meta))
        for signer in self._signers_of(TIMESTAMP, None):
            timestamp.sign(signer, append=True)
        _write(self.folder / "metadata" / "timestamp.json", timestamp.to_bytes(_JSON))

    # keys

    def _signers_of(self, role: str, passphrase: Passphrase | None) -> list[CryptoSigner]:
        wanted = set(self.root().signed.roles[role].keyids)
        found = self._signers(passphrase, wanted)
        if not found:
            raise DataError(f"no key of role {role} is in {self._keys}")
        return found

    def _signers(self, passphrase: Passphrase | None, wanted: set[str]) -> list[CryptoSigner]:
        """Return the keys that are here and wanted, asking for the passphrases of those that are encrypted."""
        found = []
        for path in sorted(self._keys.glob("*.pem")):
            keyid = _public_of(path).keyid
            if keyid in wanted:
                found.append(_load_key(path, passphrase))
        return found

    def _public(self) -> dict[str, "_Public"]:
        return {path.stem: _Public(_public_of(path)) for path in sorted(self._keys.glob("*.pem"))}

    def _names_of(self, role: str) -> list[str]:
        return next(facts.keys for facts in self.facts() if facts.role == role)

    @staticmethod
    def _lacks(metadata: Metadata, root: Root) -> int:  # type: ignore[type-arg] # of either role
        """Return how many signatures are needed before it counts."""
        role = metadata.signed.type
        roles = [root.roles[role]]
        keys = dict(root.keys)
        if isinstance(metadata.signed, Root):
            roles.append(metadata.signed.roles[ROOT])
            keys |= metadata.signed.keys
        return max(
            max(0, one.threshold - len([k for k in one.keyids if k in metadata.signatures and k in keys]))
            for one in roles
        )

    def _demand_nothing_waits(self) -> None:
        waiting = self.waiting()
        if waiting:
            name, lacks = next(iter(waiting.items()))
            raise DataError(f"{name} needs {lacks} more signatures first: `attwin-convert repo sign`")

    def _pending(self) -> Path:
        return self.folder / "metadata" / _PENDING

    def _newest(self, role: str) -> Path:
        found = (self.folder / "metadata").glob(f"*.{role}.json")
        return max(found, key=lambda path: int(path.name.split(".")[0]))


@dataclass(frozen=True, slots=True)
class _Public:
    public_key: SSlibKey


def _add_key(root: Root, key: SSlibKey, role: str, threshold: int | None) -> None:
    root.add_key(key, role)
    if threshold is not None:
        if not 1 <= threshold <= len(root.roles[role].keyids):
            raise DataError(f"a threshold of {threshold}; role {role} has {len(root.roles[role].keyids)} keys")
        root.roles[role].threshold = threshold


def _make_key(folder: Path, name: str, passphrase: Passphrase | None) -> CryptoSigner:
    """Make a key, and keep it: encrypted where there is a passphrase.

    Raises:
        DataError: The name is taken, or the passphrase too short.
    """
    path = folder / f"{name}.pem"
    if path.exists():
        raise DataError(f"{path} exists already")
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        words = passphrase(name)
        if len(words) < _LEAST_PASSPHRASE:
            raise DataError(f"a passphrase has {_LEAST_PASSPHRASE} characters at least")
        encryption = BestAvailableEncryption(words)
    signer = CryptoSigner.generate_ed25519()
    private = signer._private_key  # noqa: SLF001 -- the library writes keys unencrypted only
    folder.mkdir(parents=True, exist_ok=True, mode=_MODE_FOLDER)
    public = {"keyid": signer.public_key.keyid, **signer.public_key.to_dict()}
    _write(path.with_suffix(".pub.json"), json.dumps(public, indent=2).encode() + b"\n")
    _write(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=_MODE_SECRET)
    return signer


def _load_key(path: Path, passphrase: Passphrase | None) -> CryptoSigner:
    public = _public_of(path)
    body = path.read_bytes()
    words = passphrase(path.stem) if b"ENCRYPTED" in body and passphrase else None
    try:
        private = load_pem_private_key(body, words)
    except TypeError as error:
        raise DataError(f"{path}: the key needs its passphrase") from error
    except ValueError as error:
        raise DataError(f"{path}: the passphrase is wrong, or it is no key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise DataError(f"{path} is no Ed25519 key")
    return CryptoSigner(private, public)


def _public_of(path: Path) -> SSlibKey:
    beside = path.with_suffix(".pub.json")
    try:
        public = json.loads(beside.read_text(encoding="utf-8"))
        key = SSlibKey.from_dict(public.pop("keyid"), public)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{beside}: no public key of {path.name}: {error}") from error
    if not isinstance(key, SSlibKey):
        raise DataError(f"{beside}: no key of this kind can be used")
    return key


def _published(target: TargetFile) -> Published:
    custom = target.custom or {}
    kind, whom = custom.get("kind", ""), custom.get("for", {})
    return Published(
        path=target.path,
        size=target.length,
        sha256=target.hashes["sha256"],
        line=f"model/{kind}" if custom.get("type") == "model" else "config",
        name=str(custom.get("name", "")),
        version=int(custom.get("version", 0)),
        gateways=tuple(whom.get("gateways", ())),
        sites=tuple(whom.get("sites", ())),
    )


def _write(path: Path, body: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole, and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
