"""Pushing a target: every gateway is asked, gets the blocks that it asks for, and says what became of it."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from attwin_converter.fleet import Fleet, Gateway
from attwin_converter.repository import Published, Repository

_ASK_AGAIN_S = 20.0
"""A request that nobody has answered may have been lost with a connection."""
_LOOK_S = 0.1
_SERVE_LOOK_S = 2.0
_GOOD_FOR_S = 30 * 86_400.0
"""No request is good for longer."""
_BACK_S = 60.0
"""How long gateways have to say that they went back."""
_GOOD = "committed"
_BUSY_AGAIN_S = 10.0


@dataclass(slots=True, kw_only=True)
class Pushed:
    """How a push to a gateway goes.

    Attributes:
        gateway: Its id.
        state: What it said last; ``asked`` before.
        reason: Why it ended, or what it waits for.
        detail: What the gateway has measured.
        is_final: Whether nothing more comes.
        sent: How much of the file it has asked for [bytes].
        asked_s: When it is asked again where it does not answer, by the monotonic clock.
        time_ms: When it said so, by its clock.
    """

    gateway: str
    state: str = "asked"
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    is_final: bool = False
    sent: int = 0
    asked_s: float = 0.0
    time_ms: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the target serves there for good."""
        return self.state == _GOOD

    def as_dict(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {
            "gateway": self.gateway,
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
            "final": self.is_final,
        }


Told = Callable[[Pushed], None]
"""Is told of each change."""


class Push:
    """A target on its way to gateways.

    Attributes:
        found: How it goes, by gateway.
    """

    def __init__(
        self, fleet: Fleet, repository: Repository, target: Published, *, seconds: float, source: str = ""
    ) -> None:
        """Begin.

        Args:
            fleet: The connection.
            repository: Where the target and its metadata are.
            target: What to push.
            seconds: For how long a request is good.
            source: An https:// folder with the targets, where the gateways are to fetch from there.
        """
        fleet.offer(target.sha256, repository.body(target))
        self.found: dict[str, Pushed] = {}
        self._fleet, self._repository, self._target = fleet, repository, target
        self._seconds, self._source = seconds, source
        self._transaction = f"{target.name}-{target.version}-{secrets.token_hex(4)}"
        self._known: dict[str, Gateway] = {}

    def add(self, gateway: Gateway) -> None:
        """Push to one gateway more."""
        self._known[gateway.id] = gateway
        self.found.setdefault(gateway.id, Pushed(gateway=gateway.id))

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of any gateway."""
        return all(one.is_final for one in self.found.values())

    def ask(self) -> None:
        """Ask those that have not answered, or were busy."""
        for one in self.found.values():
            if one.is_final or one.state not in ("asked", "busy") or time.monotonic() < one.asked_s:
                continue
            one.asked_s = time.monotonic() + (_ASK_AGAIN_S if one.state == "asked" else _BUSY_AGAIN_S)
            # who is busy answers a transaction once; the next try is another one
            again = "" if one.state == "asked" else f"-{secrets.token_hex(2)}"
            request = {
                "transaction": f"{self._transaction}{again}",
                "expires_ms": int((time.time() + min(self._seconds, _GOOD_FOR_S)) * 1000),
                "target": self._target.path,
                "metadata": self._repository.metadata_after(self._known[one.gateway].root_version),
                "source": self._source,
            }
            self._fleet.ask(one.gateway, "update", request)

    def hear(self, answers: Iterable[tuple[str, str, dict[str, Any]]], told: Told) -> None:
        """Take what gateways have answered, and tell what has changed."""
        for gateway, verb, answer in answers:
            one = self.found.get(gateway)
            if verb == "update" and one and str(answer.get("transaction", "")).startswith(self._transaction):
                _take(one, answer)
                told(one)
        for one in self.found.values():
            sent = self._fleet.sent(one.gateway, self._target.sha256)
            if sent != one.sent:
                one.sent = sent
                told(one)


def push(
    fleet: Fleet,
    repository: Repository,
    target: Published,
    gateways: Sequence[Gateway],
    told: Told,
    *,
    seconds: float,
    source: str = "",
) -> list[Pushed]:
    """Push a target to gateways, and return what became of it on each; one without a final state did not end in time.

    Args:
        fleet: The connection.
        repository: Where the target and its metadata are.
        target: What to push.
        gateways: To whom.
        told: Is told of each change.
        seconds: How long to wait for the verdict of all.
        source: An https:// folder with the targets, where the gateways are to fetch from there.
    """
    under_way = Push(fleet, repository, target, seconds=seconds, source=source)
    for gateway in gateways:
        under_way.add(gateway)
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s and not under_way.is_over:
        under_way.ask()
        under_way.hear(fleet.take_answers(), told)
        time.sleep(_LOOK_S)
    return list(under_way.found.values())


def serve(fleet: Fleet, folder: Path, told: Callable[[Published, Pushed], None], *, seconds: float | None) -> None:
    """Offer the newest target of each line to every gateway that is there and has an older one.

    Args:
        fleet: The connection.
        folder: The repository; what is published meanwhile is offered too.
        told: Is told of each change.
        seconds: For how long; None for ever.
    """
    under_way: dict[str, tuple[Published, Push]] = {}
    ends_s = None if seconds is None else time.monotonic() + seconds
    look_s = time.monotonic()
    while ends_s is None or time.monotonic() < ends_s:
        if time.monotonic() >= look_s:
            look_s = time.monotonic() + _SERVE_LOOK_S
            repository = Repository(folder)
            for gateway, target in _behind(fleet, repository):
                if target.path not in under_way:
                    under_way[target.path] = target, Push(fleet, repository, target, seconds=_GOOD_FOR_S)
                under_way[target.path][1].add(gateway)
        answers = fleet.take_answers()
        for target, one in under_way.values():
            one.ask()
            one.hear(answers, partial(told, target))
        time.sleep(_LOOK_S)


def _behind(fleet: Fleet, repository: Repository) -> list[tuple[Gateway, Published]]:
    """Return the gateways that are there and have an older version than the newest that is for them, with that."""
    lines = sorted({one.line for one in repository.published()})
    found = []
    for gateway in fleet.known():
        for line in lines if gateway.available == "online" else ():
            version, target = gateway.version(line), repository.newest(line, gateway.id, gateway.site)
            if target and version is not None and version < target.version:
                found.append((gateway, target))
    return found


def take_back(fleet: Fleet, target: Published, pushed: Sequence[Pushed], reason: str) -> dict[str, str]:
    """Ask the gateways on which a target serves to go back; return what each could not do, empty where it did."""
    transaction = f"back-{secrets.token_hex(4)}"
    kind = target.line.removeprefix("model/") if target.line != "config" else ""
    waiting = {one.gateway: "no answer yet" for one in pushed if one.is_good or not one.is_final}
    request = {
        "transaction": transaction,
        "expires_ms": int((time.time() + _BACK_S) * 1000),
        "kind": kind,
        "reason": reason,
    }
    for gateway in waiting:
        fleet.ask(gateway, "rollback", request)
    answered: set[str] = set()
    ends_s = time.monotonic() + _BACK_S
    while answered != waiting.keys() and time.monotonic() < ends_s:
        for gateway, verb, answer in fleet.take_answers():
            if verb == "rollback" and answer.get("transaction") == transaction and gateway in waiting:
                answered.add(gateway)
                waiting[gateway] = "" if answer.get("ok") else str(answer.get("reason"))
        time.sleep(_LOOK_S)
    return waiting


def _take(one: Pushed, answer: dict[str, Any]) -> None:
    """Take an answer; what a gateway sends again after a broken connection may be older than what is known."""
    time_ms = answer.get("time_ms")
    if not isinstance(time_ms, int) or time_ms < one.time_ms:
        return
    one.time_ms = time_ms
    one.state, one.reason = str(answer.get("state")), str(answer.get("reason", ""))
    detail = answer.get("detail", {})
    one.detail = detail if isinstance(detail, dict) else {}
    one.is_final = bool(answer.get("final")) and one.state != "busy"


def line_of(one: Pushed, size: int) -> str:
    """Return a line that tells how a push goes."""
    part = f" {one.sent / max(1, size):.0%}" if one.state == "fetching" else ""
    why = f": {one.reason}" if one.reason else ""
    measured = ""
    if one.state == "tested" and "self_test" in one.detail:
        measured = " " + json.dumps(one.detail["self_test"])
    return f"{one.gateway} {one.state}{part}{why}{measured}"
