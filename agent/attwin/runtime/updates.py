"""The stage of updates: what a pusher asks for is checked, fetched, tested, tried beside what serves, and watched.

One update is under way at a time. Every step of it is a row before anything follows from it, so that a kill or a power
cut at any point goes on with the step that was under way. Whatever takes long is another process's work.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from attwin.core.errors import UpdateRefusedError
from attwin.core.outgoing import Draft
from attwin.core.transfer import Transfer
from attwin.core.updates import Update, UpdateChange, UpdateState
from attwin.ports import Clock, Messages, Slot, Trial, UpdateStore, UpdateWorks, WorkDone
from attwin.runtime.update_requests import (
    BUSY,
    RollbackRequest,
    UpdateRequest,
    answer_draft,
    read_request,
    refusal_draft,
    rollback_draft,
)
from attwin.runtime.update_targets import CheckedTarget

_MOST_STARTS = 20
MOST_PROBATION_STARTS = 3
"""How often the agent may start with what is on probation, without having run well in between."""
_MOST_FETCHES = 3
"""How often a file is fetched anew whose hash was wrong."""
_CONFIG = "config"
_RETAIN = 0x01
_MOST_DIGITS = 12
CHECK, FETCH, TEST = "check", "fetch", "test"
"""What other processes do."""

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What serves on a line.

    Attributes:
        sha256, name, version: Of its file; empty and 0 where nothing serves yet.
        own: The hash of the file of the configuration, whether or not it serves; empty where there is none.
        pinned: Whether the configuration keeps the line for itself.
    """

    sha256: str
    name: str
    version: int
    own: str
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePolicy:
    """What the gateway asks of an update.

    Attributes:
        shadow_ms: For how long a model is tried beside the active one.
        probation_ms: For how long it is watched once it serves.
        confirm_ms: For how long the uplink may be away after another configuration.
        longest_ms: The deadline of every other state.
        rate: How much is fetched in a second at most [bytes]; 0 for any.
        largest_bytes: Larger files are refused.
    """

    shadow_ms: int
    probation_ms: int
    confirm_ms: int
    longest_ms: int
    rate: int
    largest_bytes: int


@dataclass(slots=True, kw_only=True)
class Stepped:
    """What came of a step, to be made durable at once.

    Attributes:
        changes, slots, floors: As in ``ports.Commit``.
        drafts: What is told upstream.
        ended: Updates that have served and are kept, or do not serve any more.
    """

    changes: list[UpdateChange] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    floors: dict[str, int] = field(default_factory=dict)
    ended: list[Update] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Return whether there is nothing to keep."""
        return not (self.changes or self.drafts or self.slots or self.floors)


class Updates:
    """All updates of this gateway.

    Attributes:
        current: The update that is under way, None while none is.
    """

    def __init__(  # noqa: PLR0913 -- all that an update touches
        self,
        *,
        clock: Clock,
        works: UpdateWorks,
        store: UpdateStore,
        trial: Trial,
        policy: UpdatePolicy,
        base: str,
        serving: Mapping[str, Serving],
        refuses: Callable[[CheckedTarget], str],
        tell: Callable[[str, bytes], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on where the store says that updates were.

        Args:
            clock: Tells the time.
            works: Does what takes long, and keeps files.
            store: What was kept.
            trial: Tries models and configurations.
            policy: What is asked of an update.
            base: The base of all topics of this gateway.
            serving: What serves on each line that may be updated.
            refuses: Says why a target is not for this gateway; empty where it is.
            tell: Publishes upstream what need not arrive.
            changed: Told that ``info`` says something else now.
        """
        self._changed = changed
        self._clock, self._works, self._store, self._trial = clock, works, store, trial
        self._policy, self._base, self._refuses, self._tell = policy, base, refuses, tell
        self._serving = dict(serving)
        self._floors = dict(store.floors())
        self._out = Stepped()
        self._after: list[Callable[[], None]] = []
        self._transfer: Transfer | None = None
        self._candidate: Update | None = None
        self._fetches = 0
        self._has_begun = False
        self._told = self.info()
        self.current: Update | None = None
        self._entered_ms = clock.monotonic_ms()
        for update in store.open_updates():
            self.current = update
        if self.current is not None:
            self._resume(self.current)

    def info(self) -> dict[str, object]:
        """Return what pushers have to know."""
        return {
            "lines": {line: serving.version for line, serving in self._serving.items()},
            "root": self._works.root_version(),
        }

    def hear(self, messages: Messages) -> None:
        """Take what has arrived from upstream."""
        for topic, payload, length, flags in zip(
            messages.topics, messages.payloads, messages.lengths, messages.flags, strict=True
        ):
            names = topic.decode(errors="replace").removeprefix(f"{self._base}/").split("/")
            retained = bool(flags & _RETAIN)
            if length != len(payload) or (retained and not payload):
                continue
            if names[0] == "request":
                self.ask(names[1], payload, retained=retained)
            elif names[:2] == ["update", "block"] and names[3].isdecimal() and not retained:
                self.take_block(names[2], int(names[3][:_MOST_DIGITS]), payload)

    # requests

    def ask(self, verb: str, body: bytes, *, retained: bool) -> None:
        """Take a request that has arrived."""
        problem = "a retained request: it may be of any time" if retained else self._asked(verb, body)
        if problem:
            log.warning("update=refused problem=%r", problem)
            self._answer(verb, body, UpdateState.REFUSED, problem)

    def _asked(self, verb: str, body: bytes) -> str:
        """Begin to do what is asked; return why that cannot be, empty where it can."""
        verbs = {"update": self._ask_update, "rollback": self._ask_rollback}
        if verb not in verbs:
            return f"no request is called `{verb}`; there are {' and '.join(verbs)}"
        try:
            verbs[verb](body, self._clock.now_ms())
        except UpdateRefusedError as error:
            return str(error)
        return ""

    def _ask_update(self, body: bytes, now_ms: int) -> None:
        request = read_request(body, UpdateRequest, now_ms=now_ms, clock_trusted=self._clock.is_trusted)
        if self.current and request.transaction == self.current.transaction:
            self._tell_again(self.current)
            if self._transfer:
                # who asks again has what is wanted
                self._transfer.lost()
            return
        known = self._store.update(request.transaction)
        if known is not None:
            self._tell_again(known)
            return
        if self._candidate is not None or (self.current and self.current.state is UpdateState.PROBATION):
            self._answer("update", body, BUSY, self._busy())
            return
        update = Update(
            transaction=request.transaction,
            target=request.target,
            source=request.source,
            since_ms=now_ms,
            request=body,
        )
        if self.current is None:
            self._begin(update)
            self._out.changes.append(UpdateChange(before="", after=update))
            self._out.drafts.append(answer_draft(self._base, self._out.changes[-1]))
        self._candidate = update
        self._works.check(body, request.target, now_ms=now_ms)

    def _ask_rollback(self, body: bytes, now_ms: int) -> None:
        request = read_request(body, RollbackRequest, now_ms=now_ms, clock_trusted=self._clock.is_trusted)
        line = f"model/{request.kind}" if request.kind else _CONFIG
        problem = self.roll_back(line, request.reason or "asked from upstream")
        served = self._serving.get(line)
        version = served.version if served else 0
        self._out.drafts.append(rollback_draft(self._base, request, version, problem, now_ms))

    def roll_back(self, line: str, reason: str) -> str:
        """Let what served before serve again; return why that cannot be, empty where it does."""
        if self.current and self.current.line == line:
            if self.current.state is UpdateState.PROBATION:
                self._revert(self.current, reason)
            else:
                self._end(self.current, UpdateState.REFUSED, reason)
            return ""
        slot = self._store.slots().get(line)
        if slot is None or not slot.sha256:
            return f"nothing that was pushed serves on {line}"
        update = self._store.committed(slot.sha256)
        if update is None:
            update = _installed(slot)
        self._revert(update, reason)
        return ""

    def install(self, kind: str, path: str) -> str:
        """Take a local file, whose owner is trusted, as a model of a kind; return its transaction.

        Raises:
            UpdateRefusedError: It cannot be taken now.
        """
        line = f"model/{kind}"
        if line not in self._serving:
            raise UpdateRefusedError(f"this gateway has no {line}")
        if self._serving[line].pinned:
            raise UpdateRefusedError(f"{line} is pinned by the configuration")
        if self.current or self._candidate:
            raise UpdateRefusedError(f"another update is under way: {self._busy()}")
        sha256 = self._works.take_in(path)
        if sha256 == self._serving[line].sha256:
            raise UpdateRefusedError("that very file serves already")
        now_ms = self._clock.now_ms()
        update = Update(
            transaction=f"local-{sha256[:12]}-{now_ms}",
            target=path,
            line=line,
            sha256=sha256,
            size=self._works.size_of(sha256),
            state=UpdateState.RECEIVED,
            since_ms=now_ms,
        )
        self._begin(update)
        self._verified(update)
        return update.transaction

    def promote(self) -> str:
        """Let what is tried serve now, or keep what is on probation for good; return why that cannot be."""
        update = self.current
        if update is None or update.state not in (UpdateState.SHADOW, UpdateState.PROBATION):
            return "nothing is tried"
        if update.state is UpdateState.PROBATION:
            self._end(update, UpdateState.COMMITTED, "", detail={**update.detail, "promoted": True})
            return ""
        judged = self._trial.judge_shadow(is_over=True)
        if judged.reasons:
            return "; ".join(judged.reasons)
        self._activate(replace(update, detail={**update.detail, "shadow": judged.detail, "promoted": True}))
        return ""

    def steady(self) -> None:
        """Note that the agent runs well."""
        if self.current:
            self._store.steady()

    def _busy(self) -> str:
        update = self.current or self._candidate
        return f"{update.target} is {update.state}" if update else ""

    def _answer(self, verb: str, body: bytes, state: str, reason: str) -> None:
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            request = {}
        given = request if isinstance(request, dict) else {}
        self._out.drafts.append(refusal_draft(self._base, verb, given, state, reason, self._clock.now_ms()))

    def _tell_again(self, update: Update) -> None:
        self._out.drafts.append(answer_draft(self._base, UpdateChange(before=str(update.state), after=update)))

    def take_block(self, transaction: str, offset: int, data: bytes) -> None:
        """Take a block that has arrived."""
        if self._transfer is None or self.current is None or transaction != self.current.transaction:
            return
        for part in self._transfer.take(offset, data, self._clock.monotonic_ms()):
            problem = self._works.append(self.current.sha256, part)
            if problem:
                self._end(self.current, UpdateState.REFUSED, problem)
                return

    def cut(self) -> None:
        """Note that the link upstream was cut."""
        if self._transfer:
            self._transfer.lost()

    # steps

    def step(self, *, uplink_up: bool) -> Stepped:
        """Go on, and return what is to be made durable before ``settle`` is called. Never blocks."""
        for done in self._works.take_done():
            self._done(done)
        if self.current and not self._after:
            self._go_on(self.current, uplink_up=uplink_up)
        out, self._out = self._out, Stepped()
        info = self.info()
        if info != self._told:
            self._told = info
            self._after.append(self._changed)
        return out

    @property
    def waits(self) -> bool:
        """Whether something follows once all steps are durable."""
        return bool(self._after)

    def settle(self) -> None:
        """Do what follows from steps that are durable now."""
        after, self._after = self._after, []
        for act in after:
            act()

    def _go_on(self, update: Update, *, uplink_up: bool) -> None:
        spent_ms = self._clock.monotonic_ms() - self._entered_ms
        if update.state is UpdateState.PROBATION:
            self._watch(update, spent_ms, uplink_up=uplink_up)
        elif spent_ms > self._policy.longest_ms:
            self._end(update, UpdateState.REFUSED, f"it was {update.state} for too long: {update.reason or 'no end'}")
        elif update.state is UpdateState.FETCHING:
            self._fetch(update, uplink_up=uplink_up)
        elif update.state is UpdateState.TESTED:
            self._try_out(update)
        elif update.state is UpdateState.SHADOW:
            self._judge(update, spent_ms)

    def _resume(self, update: Update) -> None:
        """Go on with an update that was under way when the agent ended."""
        most = MOST_PROBATION_STARTS if update.state is UpdateState.PROBATION else _MOST_STARTS
        served = self._serving.get(update.line)
        if update.state is UpdateState.PROBATION and (not served or served.sha256 != update.sha256):
            self._revert(update, "the agent could not start with it")
        elif update.starts > most:
            reason = f"the agent has started {update.starts} times while it was {update.state}"
            if update.state is UpdateState.PROBATION:
                self._revert(update, reason)
            else:
                self._end(update, UpdateState.REFUSED, reason)
        elif update.state is UpdateState.RECEIVED:
            self._candidate = update
            self._works.check(update.request, update.target, now_ms=self._clock.now_ms())
        elif update.state is UpdateState.FETCHING:
            self._begin_fetch(update)
        elif update.state is UpdateState.VERIFIED:
            self._works.test(update.sha256, update.line)

    def _done(self, done: WorkDone) -> None:
        """Take what another process has found."""
        update = self._candidate if done.what == CHECK else self.current
        if update is None:
            return
        if done.what == CHECK:
            self._candidate = None
            self._checked(update, done)
        elif done.what == FETCH and update.state is UpdateState.FETCHING:
            if done.problem:
                self._end(update, UpdateState.REFUSED, done.problem)
            else:
                self._finish_fetch(update)
        elif done.what == TEST and update.state is UpdateState.VERIFIED:
            if done.problem:
                self._end(update, UpdateState.REFUSED, f"the self-test failed: {done.problem}")
            else:
                self._tested(update, done.answer)

    def _tested(self, update: Update, answer: Mapping[str, object]) -> None:
        """Take what a test has found: the file must be what the metadata say, or what it was installed as."""
        detail = {"self_test": dict(answer)}
        name, version, kind = answer.get("name"), answer.get("version"), answer.get("kind")
        if update.kind:
            if not isinstance(name, str) or not isinstance(version, int) or kind != update.kind:
                self._end(update, UpdateState.REFUSED, f"the bundle is for kind `{kind}`, not `{update.kind}`")
                return
            if not update.version:
                update = replace(update, name=name, version=version)
            elif (name, version) != (update.name, update.version):
                reason = f"the bundle is {name} version {version}, signed was {update.name} version {update.version}"
                self._end(update, UpdateState.REFUSED, reason)
                return
        self._move(update, UpdateState.TESTED, detail=detail)

    def _checked(self, update: Update, done: WorkDone) -> None:
        """Take what the check of a request has found."""
        if done.problem:
            self._refuse(update, done.problem)
            return
        try:
            target = CheckedTarget.of(done.answer)
        except UpdateRefusedError as error:
            self._refuse(update, str(error))
            return
        self._lower(target)
        problem = self._refuses(target) or self._too_old(target)
        if problem:
            self._refuse(update, problem)
            return
        update = replace(
            update,
            line=target.line,
            name=target.name,
            version=target.version,
            sha256=target.sha256,
            size=target.size,
        )
        if self.current is not None and self.current.transaction != update.transaction:
            if self.current.line != update.line or self.current.version >= update.version:
                self._answer("update", update.request, BUSY, self._busy())
                return
            self._end(self.current, UpdateState.SUPERSEDED, f"version {update.version} has come")
            self._out.changes.append(UpdateChange(before="", after=update))
        self._begin(update)
        served = self._serving.get(update.line)
        if served and served.sha256 == update.sha256:
            self._end(update, UpdateState.COMMITTED, "", detail={"already": True})
        elif self._works.holds(update.sha256):
            self._verified(update)
        else:
            self._move(update, UpdateState.FETCHING)
            self._begin_fetch(update)

    def _lower(self, target: CheckedTarget) -> None:
        """Lower floors where the root says so, once for each time that it does."""
        for line, (version, root) in target.floors.items():
            by_root = f"root {line}"
            if root > self._floors.get(by_root, 0):
                self._floors[by_root] = self._out.floors[by_root] = root
                if version < self._floors.get(line, 0):
                    log.warning("update=floor line=%s version=%d root=%d", line, version, root)
                    self._floors[line] = self._out.floors[line] = version

    def _too_old(self, target: CheckedTarget) -> str:
        """Return why a target is not newer than what has served; empty where it is, or where it serves now."""
        served = self._serving.get(target.line)
        if served is None:
            return f"this gateway has no {target.line}"
        if served.pinned:
            return f"{target.line} is pinned by the gateway's own configuration"
        if served.sha256 == target.sha256:
            return ""
        return self._not_newer(target, served)

    def _not_newer(self, target: CheckedTarget, served: Serving) -> str:
        """Return why a target must not take the place of another that serves; empty where it may."""
        bad = self._store.rolled_back(target.sha256)
        if bad:
            return f"it was rolled back here before: {bad}"
        floor = self._floors.get(target.line, 0)
        if target.version < floor:
            return f"version {target.version} is older than {floor}, which has served"
        if target.version in (floor, served.version):
            return f"version {target.version} has served with other content"
        return ""

    # fetching

    def _begin_fetch(self, update: Update) -> None:
        if update.size > self._policy.largest_bytes:
            self._end(update, UpdateState.REFUSED, f"{update.size} bytes; at most {self._policy.largest_bytes}")
            return
        problem = self._works.room(update.size)
        if problem:
            self._end(update, UpdateState.REFUSED, problem)
        elif update.source:
            self._works.fetch(f"{update.source.rstrip('/')}/{update.target}", update.sha256, update.size)
        else:
            had = min(self._works.had(update.sha256), update.size)
            self._transfer = Transfer(update.size, done=had, rate=self._policy.rate)

    def _fetch(self, update: Update, *, uplink_up: bool) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        if transfer.is_complete:
            self._finish_fetch(update)
        elif uplink_up:
            ranges = transfer.wants(self._clock.monotonic_ms())
            if ranges:
                want = {
                    "transaction": update.transaction,
                    "sha256": update.sha256,
                    "size": update.size,
                    "ranges": [list(one) for one in ranges],
                }
                self._tell(f"{self._base}/update/want", json.dumps(want, separators=(",", ":")).encode())

    def _finish_fetch(self, update: Update) -> None:
        """Keep the file where its hash is right; fetch it anew where it is not."""
        self._transfer = None
        problem = self._works.finish(update.sha256, update.size)
        if not problem:
            self._verified(update)
            return
        self._fetches += 1
        if self._fetches < _MOST_FETCHES:
            log.warning("update=fetch target=%s tries=%d problem=%r", update.target, self._fetches, problem)
            self._begin_fetch(update)
        else:
            self._end(update, UpdateState.REFUSED, problem)

    def _verified(self, update: Update) -> None:
        self._move(update, UpdateState.VERIFIED)
        self._after.append(lambda: self._works.test(update.sha256, update.line))

    # trial

    def _try_out(self, update: Update) -> None:
        """Let it run beside what serves; a configuration cannot, and serves at once."""
        if not update.kind:
            self._activate(update)
            return
        try:
            self._trial.begin(update.kind, update.sha256)
        except UpdateRefusedError as error:
            self._end(update, UpdateState.REFUSED, str(error))
        else:
            self._has_begun = True
            self._move(update, UpdateState.SHADOW)

    def _judge(self, update: Update, spent_ms: int) -> None:
        """Take it to service when it has done well for long enough."""
        if not self._has_begun:
            # the agent was started meanwhile: what the two did before is forgotten
            self._has_begun = True
            try:
                self._trial.begin(update.kind, update.sha256)
            except UpdateRefusedError as error:
                self._end(update, UpdateState.REFUSED, str(error))
                return
        judged = self._trial.judge_shadow(is_over=spent_ms >= self._policy.shadow_ms)
        if judged.reasons:
            detail = {**update.detail, "shadow": judged.detail}
            self._end(update, UpdateState.REFUSED, "; ".join(judged.reasons), detail=detail)
        elif spent_ms >= self._policy.shadow_ms:
            if judged.is_enough:
                self._activate(replace(update, detail={**update.detail, "shadow": judged.detail}))
            elif update.reason != judged.lacks:
                self.current = replace(update, reason=judged.lacks)

    def _activate(self, update: Update) -> None:
        """Let it serve as soon as that is durable."""
        served = self._serving[update.line]
        slots = self._store.slots()
        before = slots.get(update.line)
        # what served came from the configuration where no slot says otherwise
        previous = before.sha256 if before and before.sha256 == served.sha256 else ""
        self._out.slots.append(
            Slot(
                line=update.line,
                sha256=update.sha256,
                name=update.name,
                version=update.version,
                previous=previous,
                over=served.own,
                since_ms=self._clock.now_ms(),
            )
        )
        if update.version > self._floors.get(update.line, 0):
            self._floors[update.line] = self._out.floors[update.line] = update.version
        self._move(update, UpdateState.PROBATION)
        self._serving[update.line] = replace(served, sha256=update.sha256, name=update.name, version=update.version)
        self._after.append(lambda: self._take_to_service(update.line, update.sha256))

    def _take_to_service(self, line: str, sha256: str) -> None:
        """Let a file serve; where that cannot be, what served before goes on, and the update is over."""
        problem = self._trial.activate(line, sha256)
        if problem:
            log.error("update=activate line=%s problem=%r", line, problem)
        if problem and self.current and self.current.state is UpdateState.PROBATION:
            self._revert(self.current, f"it could not be taken: {problem}")

    def _watch(self, update: Update, spent_ms: int, *, uplink_up: bool) -> None:
        """Revert as soon as it does badly; keep it for good when it has not for long enough."""
        if update.kind:
            if not self._has_begun:
                self._has_begun = True
                slot = self._store.slots().get(update.line)
                before = (slot.previous if slot else "") or self._serving[update.line].own
                if before:
                    self._trial.begin_before(update.kind, before)
            judged = self._trial.judge_probation(update.kind)
            if judged.reasons:
                self._revert(update, "; ".join(judged.reasons), detail={**update.detail, "probation": judged.detail})
            elif spent_ms >= self._policy.probation_ms:
                detail = {**update.detail, "probation": judged.detail}
                self._end(update, UpdateState.COMMITTED, "", detail=detail)
        elif uplink_up:
            self._end(update, UpdateState.COMMITTED, "", detail={**update.detail, "uplink_ms": spent_ms})
        elif spent_ms >= self._policy.confirm_ms:
            self._revert(update, "the uplink has not come back")

    def _revert(self, update: Update, reason: str, *, detail: Mapping[str, object] | None = None) -> None:
        """Let what served before serve again, at once where the trial can, and keep why."""
        slot = self._store.slots().get(update.line)
        previous = slot.previous if slot else ""
        served = self._serving.get(update.line) or Serving(sha256="", name="", version=0, own="")
        was_live = self._trial.revert(update.line, previous or served.own)
        self._serving[update.line] = replace(served, sha256=previous or served.own)
        self._out.slots.append(
            Slot(
                line=update.line,
                sha256=previous,
                name=update.name,
                version=update.version,
                previous="",
                over=served.own,
                since_ms=self._clock.now_ms(),
            )
        )
        self._end(update, UpdateState.ROLLED_BACK, reason, detail=detail)
        if not was_live:
            self._after.append(lambda: self._take_to_service(update.line, previous))

    # transitions

    def _begin(self, update: Update) -> None:
        self.current = update
        self._entered_ms = self._clock.monotonic_ms()
        self._transfer, self._fetches, self._has_begun = None, 0, False

    def _move(self, update: Update, state: UpdateState, *, detail: Mapping[str, object] | None = None) -> None:
        self._change(update, update.moved(state, now_ms=self._clock.now_ms(), detail=detail))

    def _end(
        self, update: Update, state: UpdateState, reason: str, *, detail: Mapping[str, object] | None = None
    ) -> None:
        self._change(update, update.moved(state, now_ms=self._clock.now_ms(), reason=reason, detail=detail))

    def _refuse(self, update: Update, reason: str) -> None:
        """Refuse a request that was checked: the current update, or one beside it."""
        if self.current is None or self.current.transaction == update.transaction:
            self._end(update, UpdateState.REFUSED, reason)
        else:
            self._answer("update", update.request, UpdateState.REFUSED, reason)

    def _change(self, before: Update, after: Update) -> None:
        change = UpdateChange(before=str(before.state), after=after)
        self._out.changes.append(change)
        self._out.drafts.append(answer_draft(self._base, change))
        level = logging.WARNING if after.reason else logging.INFO
        log.log(level, "update=%s target=%s reason=%r", after.state, after.target, after.reason)
        self._entered_ms = self._clock.monotonic_ms()
        self.current = after
        if after.has_ended:
            self._works.stop()
            if before.state in (UpdateState.SHADOW, UpdateState.PROBATION):
                self._trial.stop()
            if after.state in (UpdateState.COMMITTED, UpdateState.ROLLED_BACK):
                self._out.ended.append(after)
            self.current, self._transfer = None, None
            self._works.keep_only(self._kept())

    def _kept(self) -> set[str]:
        """Return the hashes of the files that are still of use."""
        kept = {serving.sha256 for serving in self._serving.values()}
        for slot in [*self._store.slots().values(), *self._out.slots]:
            kept |= {slot.sha256, slot.previous}
        return kept - {""}


def _installed(slot: Slot) -> Update:
    """Return the update that a slot stands for which was filled by hand."""
    return Update(
        transaction=f"installed-{slot.sha256[:16]}",
        target=f"{slot.line}/{slot.name}-{slot.version}",
        line=slot.line,
        name=slot.name,
        version=slot.version,
        sha256=slot.sha256,
        state=UpdateState.COMMITTED,
        since_ms=slot.since_ms,
    )
