"""What a pusher asks for, and what it is answered."""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from attwin.core.errors import UpdateRefusedError
from attwin.core.outgoing import ALERTS, Draft
from attwin.core.updates import UpdateChange, answer_body

MOST_REQUEST = 61_440
"""The longest request [bytes]; a broker may take no more than 64 KiB."""
BUSY = "busy"
"""An answer that is no state: another update is under way."""
_TRANSACTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_TEXT = 500
_MOST_AHEAD_MS = 31 * 86_400_000
"""A request that is good for longer could be kept, and played when nobody expects it."""


class UpdateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pusher asks for.

    Attributes:
        transaction: What it calls it.
        expires_ms: After this the request is void [ms since the Unix epoch].
        target: The path of the target.
        metadata: The texts of the metadata files by their names.
        source: The folder at which targets lie; empty for blocks over MQTT.
    """

    transaction: str
    expires_ms: int
    target: str
    metadata: dict[str, str]
    source: str = ""


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pusher asks for where a model is to go back.

    Attributes:
        transaction, expires_ms: As in ``UpdateRequest``.
        kind: Whose model.
        reason: Why; it is kept in the history.
    """

    transaction: str
    expires_ms: int
    kind: str
    reason: str = ""


_Request = TypeVar("_Request", UpdateRequest, RollbackRequest)


def read_request(body: bytes, form: type[_Request], *, now_ms: int, clock_trusted: bool) -> _Request:
    """Return a request that is well formed and not void.

    Args:
        body: As it arrived.
        form: What it must be.
        now_ms: The latest time that has certainly passed.
        clock_trusted: Whether that is the present.

    Raises:
        UpdateRefusedError: It is not.
    """
    if len(body) > MOST_REQUEST:
        raise UpdateRefusedError(f"a request of {len(body)} bytes; at most {MOST_REQUEST}")
    try:
        request = msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpdateRefusedError(f"the request cannot be read: {error}") from error
    if not _TRANSACTION.fullmatch(request.transaction):
        raise UpdateRefusedError("`transaction` is 1 to 64 letters, digits, - and _")
    for name in ("target", "kind", "reason", "source"):
        text = getattr(request, name, "")
        if len(text) > _MOST_TEXT or not text.isprintable():
            raise UpdateRefusedError(f"`{name}` is at most {_MOST_TEXT} characters that can be printed")
    if request.expires_ms <= now_ms:
        raise UpdateRefusedError("the request has expired")
    if clock_trusted and request.expires_ms > now_ms + _MOST_AHEAD_MS:
        raise UpdateRefusedError("the request would be good for more than 31 days")
    return request


def refusal_draft(base: str, verb: str, request: Mapping[str, object], state: str, reason: str, now_ms: int) -> Draft:
    """Return the answer to a request that changes nothing."""
    known = {
        name: text[:_MOST_TEXT]
        for name in ("transaction", "target", "kind")
        if isinstance(text := request.get(name), str)
    }
    ok: dict[str, object] = {"ok": False} if verb != "update" else {"state": state, "final": True}
    body = {**known, **ok, "reason": reason, "time_ms": now_ms}
    return Draft(lane=ALERTS, topic=f"{base}/response/{verb}", retain=False, body=body)


def rollback_draft(base: str, request: RollbackRequest, version: int, problem: str, now_ms: int) -> Draft:
    """Return the answer to a request to go back: which version serves now, or why that is not the one before."""
    body: dict[str, object] = {
        "transaction": request.transaction,
        "kind": request.kind,
        "ok": not problem,
        "version": version,
        "reason": problem,
        "time_ms": now_ms,
    }
    return Draft(lane=ALERTS, topic=f"{base}/response/rollback", retain=False, body=body)


def answer_draft(base: str, change: UpdateChange) -> Draft:
    """Return the message that tells the pusher of a transition."""
    return Draft(lane=ALERTS, topic=f"{base}/response/update", retain=False, body=answer_body(change))
