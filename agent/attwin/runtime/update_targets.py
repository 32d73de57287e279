"""What the signed metadata says of a target: what it is, for whom, and what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from attwin.core.errors import UpdateRefusedError

MODEL, CONFIG = "model", "config"


class _For(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateways: list[str] = []
    sites: list[str] = []


class _Custom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Literal[1]
    type: Literal["model", "config"]
    name: str
    kind: str
    version: int
    minimum_agent: str
    operators: list[tuple[str, int]]
    for_: _For = msgspec.field(name="for")


class _Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    root: int


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: str
    size: int
    sha256: str
    custom: _Custom
    root_version: int
    floors: dict[str, _Floor] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTarget:
    """A target whose metadata is signed and fresh.

    Attributes:
        path: Its path in the repository.
        size, sha256: Of its file.
        type: ``model`` or ``config``.
        name, version: A number that only rises on its line.
        kind: Whose model it is; empty for a configuration.
        minimum_agent: The oldest agent version that may take it.
        operators: What the runtime must know, with versions.
        gateways, sites: For whom it is; for everybody where both are empty.
        root_version: Of the root that is trusted now.
        floors: To which version a floor is lowered, and by which version of the root, by line.
    """

    path: str
    size: int
    sha256: str
    type: str
    name: str
    version: int
    kind: str
    minimum_agent: str
    operators: tuple[tuple[str, int], ...]
    gateways: tuple[str, ...]
    sites: tuple[str, ...]
    root_version: int
    floors: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, answer: Mapping[str, object]) -> "CheckedTarget":
        """Return what the answer of the process says that checked a request.

        Raises:
            UpdateRefusedError: The target says something that the agent does not know.
        """
        try:
            read = msgspec.convert(answer, _Answer)
        except msgspec.ValidationError as error:
            raise UpdateRefusedError(f"the target says what this agent does not know: {error}") from error
        custom = read.custom
        if (custom.type == MODEL) != bool(custom.kind) or custom.version < 1 or read.size < 1:
            raise UpdateRefusedError(
                "the target is neither a model of a kind nor a configuration, in a version above 0"
            )
        return cls(
            path=read.path,
            size=read.size,
            sha256=read.sha256,
            type=custom.type,
            name=custom.name,
            version=custom.version,
            kind=custom.kind,
            minimum_agent=custom.minimum_agent,
            operators=tuple(custom.operators),
            gateways=tuple(custom.for_.gateways),
            sites=tuple(custom.for_.sites),
            root_version=read.root_version,
            floors={line: (floor.version, floor.root) for line, floor in (read.floors or {}).items()},
        )

    @property
    def line(self) -> str:
        """What it takes the place of: ``model/<kind>`` or ``config``."""
        return f"{MODEL}/{self.kind}" if self.type == MODEL else CONFIG

    def is_for(self, gateway: str, site: str) -> bool:
        """Return whether it is meant for a gateway."""
        return not (self.gateways or self.sites) or gateway in self.gateways or bool(site and site in self.sites)
