"""Facts about the stage of updates, over a real store, with processes and a trial that a test plays."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.catalogue import Catalogue
from attwin.core.updates import Update, UpdateState
from attwin.ports import Commit, Judged, Messages, WorkDone
from attwin.runtime.updates import Serving, UpdatePolicy, Updates
from support.builders import a_kind
from support.fakes import FakeClock

LINE, OWN = "model/room", "own"
POLICY = UpdatePolicy(
    shadow_ms=60_000, probation_ms=60_000, confirm_ms=5_000, longest_ms=600_000, rate=0, largest_bytes=1_000_000
)
FILE = b"a model"


class Works:
    """Processes whose answers a test gives, and files in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.parts: dict[str, bytes] = {}
        self.begun: list[str] = []
        self.done: list[WorkDone] = []
        self.full = ""

    def check(self, request: bytes, target: str, *, now_ms: int) -> None:
        """Note it."""
        del request, now_ms
        self.begun.append(f"check {target}")

    def fetch(self, address: str, sha256: str, size: int) -> None:
        """Note it."""
        del size
        self.begun.append(f"fetch {address} {sha256}")

    def test(self, sha256: str, line: str) -> None:
        """Note it."""
        self.begun.append(f"test {sha256} {line}")

    def take_in(self, path: str) -> str:
        """Keep a file."""
        self.files[path] = FILE
        return path

    def size_of(self, sha256: str) -> int:
        """Return its size."""
        return len(self.files[sha256])

    def take_done(self) -> list[WorkDone]:
        """Return what a test has answered."""
        done, self.done = self.done, []
        return done

    def stop(self) -> None:
        """Forget parts."""
        self.parts.clear()

    def root_version(self) -> int:
        """Return a version."""
        return 1

    def room(self, size: int) -> str:
        """Return what a test has set."""
        del size
        return self.full

    def had(self, sha256: str) -> int:
        """Return the length of a part."""
        return len(self.parts.get(sha256, b""))

    def append(self, sha256: str, data: bytes) -> str:
        """Write at its end."""
        self.parts[sha256] = self.parts.get(sha256, b"") + data
        return self.full

    def finish(self, sha256: str, size: int) -> str:
        """Keep it where it is the right one."""
        body = self.parts.pop(sha256, b"")
        if body != FILE or len(body) != size:
            return "another hash"
        self.files[sha256] = body
        return ""

    def holds(self, sha256: str) -> bool:
        """Return whether it is kept."""
        return sha256 in self.files

    def keep_only(self, hashes: Collection[str]) -> None:
        """Delete all others."""
        self.files = {sha256: body for sha256, body in self.files.items() if sha256 in hashes}


class Trial:
    """A trial whose verdicts a test gives."""

    def __init__(self) -> None:
        self.shadow = self.probation = Judged(detail={})
        self.serving = OWN
        self.events: list[str] = []
        self.is_live = True
        self.problem = ""

    def begin(self, kind: str, sha256: str) -> None:
        """Note it."""
        self.events.append(f"begin {kind} {sha256}")

    def begin_before(self, kind: str, sha256: str) -> None:
        """Note it."""
        self.events.append(f"before {kind} {sha256}")

    def judge_shadow(self, *, is_over: bool) -> Judged:
        """Return what a test has set."""
        del is_over
        return self.shadow

    def judge_probation(self, kind: str) -> Judged:
        """Return what a test has set."""
        del kind
        return self.probation

    def activate(self, line: str, sha256: str) -> str:
        """Let it serve, where a test says that it can."""
        self.events.append(f"activate {line} {sha256}")
        if not self.problem:
            self.serving = sha256 or OWN
        return self.problem

    def revert(self, line: str, sha256: str) -> bool:
        """Let the one before serve at once, where a test says that it can."""
        self.events.append(f"revert {line} {sha256}")
        if self.is_live:
            self.serving = sha256
        return self.is_live

    def stop(self) -> None:
        """Note it."""
        self.events.append("stop")


class Gateway:
    """A gateway that can be stopped and started at any point."""

    def __init__(self, folder: Path) -> None:
        self.path, self.clock, self.works, self.trial = folder / "twin.db", FakeClock(), Works(), Trial()
        self.told: list[dict[str, object]] = []
        self.wanted: list[dict[str, object]] = []
        self.up = True
        self.start()

    def start(self, *, serving: str | None = None) -> None:
        """Start, with what serves by the slots unless told."""
        self.store = SqliteStore(self.path, Catalogue([a_kind()], most_entities=4), gateway="g", durability="full")
        slot = self.store.slots().get(LINE)
        sha256 = serving if serving is not None else (slot.sha256 if slot else "") or OWN
        layer = self.store.slots().get("config")
        self.updates = Updates(
            clock=self.clock,
            works=self.works,
            store=self.store,
            trial=self.trial,
            policy=POLICY,
            base="attwin/g",
            serving={
                LINE: Serving(sha256=sha256, name="m", version=1, own=OWN),
                "config": Serving(sha256=layer.sha256 if layer else "", name="", version=0, own=""),
            },
            refuses=lambda _target: "",
            tell=lambda _topic, body: self.wanted.append(json.loads(body)),
        )

    def restart(self, *, serving: str | None = None, starts: int = 0) -> None:
        """Be killed, and start again."""
        self.store.close()
        if starts:
            store = SqliteStore(self.path, Catalogue([a_kind()], most_entities=4), gateway="g", durability="full")
            with store._transaction():
                store._connection.execute("update updates set starts = ?", (starts,))
            store.close()
        self.start(serving=serving)

    def step(self, after_ms: int = 0, *, durable: bool = True) -> None:
        """Let time pass, go on, make the steps durable and do what follows."""
        self.clock.pass_ms(after_ms)
        stepped = self.updates.step(uplink_up=self.up)
        self.told += [dict(draft.body or {}) for draft in stepped.drafts]
        if not stepped.is_empty():
            now_ms = self.clock.now_ms()
            self.store.commit(
                Commit(updates=stepped.changes, slots=stepped.slots, floors=stepped.floors, now_ms=now_ms)
            )
        if durable:
            self.updates.settle()

    def ask(self, transaction: str, *, retained: bool = False, **others: object) -> None:
        """Ask for an update."""
        expires_ms = self.clock.now_ms() + 60_000
        request = {"transaction": transaction, "expires_ms": expires_ms, "target": "t", "metadata": {}, **others}
        messages = Messages()
        body = json.dumps(request).encode()
        messages.add(b"attwin/g/request/update", body, length=len(body), flags=0x31 if retained else 0x30, packet_id=0)
        self.updates.hear(messages)
        self.step()

    def answer(self, what: str, problem: str = "", **answer: object) -> None:
        """Let a process end."""
        self.works.done.append(WorkDone(what=what, answer=answer, problem=problem))
        self.step()

    def checked(self, version: int, sha256: str = "new", *, floors: Mapping[str, object] | None = None) -> None:
        """Let the metadata be good."""
        custom = {"format": 1, "type": "model", "name": "m", "kind": "room", "version": version}
        custom |= {"minimum_agent": "0.1.0", "operators": [], "for": {}}
        self.answer("check", path="t", size=len(FILE), sha256=sha256, custom=custom, root_version=1, floors=floors)

    def send(self) -> None:
        """Send the blocks that are wanted."""
        want = self.wanted[-1]
        for offset, length in want["ranges"]:  # type: ignore[attr-defined]
            self.updates.take_block(str(want["transaction"]), offset, FILE[offset : offset + length])
        self.step()

    def bring_to(self, state: UpdateState, *, version: int = 2, sha256: str = "new") -> None:
        """Push an update as far as a state."""
        self.ask(f"push-{version}")
        for at, act in (
            (UpdateState.RECEIVED, lambda: None),
            (UpdateState.FETCHING, lambda: self.checked(version, sha256)),
            (UpdateState.VERIFIED, lambda: (self.step(), self.send())),
            (UpdateState.TESTED, lambda: self.answer("test", name="m", version=version, kind="room")),
            (UpdateState.SHADOW, self.step),
            (UpdateState.PROBATION, lambda: self.step(60_000)),
            (UpdateState.COMMITTED, lambda: self.step(60_000)),
        ):
            if self.state(f"push-{version}") is not at:
                act()
            if at is state:
                break
        assert self.state(f"push-{version}") in (state, UpdateState.SHADOW), self.told

    def state(self, transaction: str) -> UpdateState | None:
        """Return where an update stands, as is durable."""
        update = self.store.update(transaction)
        return update.state if update else None


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose own model is of version 1."""
    made = Gateway(tmp_path)
    yield made
    made.store.close()


def test_an_update_goes_through_all_states_and_serves(gateway: Gateway) -> None:
    """Each is told once, in order; the file that serves is kept, and its version is the floor."""
    gateway.bring_to(UpdateState.COMMITTED)

    states = ["received", "fetching", "verified", "tested", "shadow", "probation", "committed"]
    assert [body["state"] for body in gateway.told] == states
    assert gateway.trial.serving == "new"
    assert gateway.works.files.keys() == {"new"}
    assert gateway.store.floors() == {LINE: 2}
    assert gateway.store.slots()[LINE].previous == ""


STATES = [state for state in UpdateState if not Update(transaction="", target="", state=state).has_ended]


@pytest.mark.parametrize("state", STATES)
def test_a_kill_in_any_state_goes_on_from_there(gateway: Gateway, state: UpdateState) -> None:
    """The gateway has a model that works at each of these points, and comes to the same end."""
    gateway.bring_to(state)
    before = gateway.trial.serving
    gateway.restart()
    assert gateway.trial.serving == before
    ends = {
        UpdateState.RECEIVED: lambda: gateway.checked(2),
        UpdateState.FETCHING: lambda: (gateway.step(), gateway.send()),
        UpdateState.VERIFIED: lambda: gateway.answer("test", name="m", version=2, kind="room"),
    }
    for _ in range(8):
        now = gateway.state("push-2")
        if now in ends:
            ends[now]()
        else:
            gateway.step(60_000)

    assert gateway.state("push-2") is UpdateState.COMMITTED
    assert gateway.trial.serving == "new"


def test_what_comes_before_the_commit_does_not_happen(gateway: Gateway) -> None:
    """A model serves only once that is durable: a kill in between begins with it."""
    gateway.bring_to(UpdateState.SHADOW)
    gateway.step(60_000, durable=False)
    assert gateway.trial.serving == OWN
    gateway.restart()
    assert gateway.store.slots()[LINE].sha256 == "new"
    assert gateway.updates.current is not None


@pytest.mark.parametrize(
    ("state", "said"), [("shadow", "refused"), ("probation", "rolled_back")], ids=["shadow", "probation"]
)
def test_a_model_that_does_badly_goes(gateway: Gateway, state: str, said: str) -> None:
    """In the shadow it never serves; on probation the one before serves again in the same step, and it stays away."""
    gateway.bring_to(UpdateState(state))
    bad = Judged(detail={}, reasons=["it saturates"])
    gateway.trial.shadow = gateway.trial.probation = bad
    gateway.step()

    assert gateway.told[-1]["state"] == said
    assert gateway.trial.serving == OWN
    gateway.ask("again")
    gateway.checked(2)
    assert gateway.told[-1]["state"] == ("fetching" if state == "shadow" else "refused")
    assert gateway.told[-1]["reason"] == ("" if state == "shadow" else "it was rolled back here before: it saturates")


def test_a_model_with_too_little_to_compare_waits_until_the_deadline(gateway: Gateway) -> None:
    """And says what it lacks."""
    gateway.bring_to(UpdateState.SHADOW)
    gateway.trial.shadow = Judged(detail={}, is_enough=False, lacks="3 of 100 pairs of scores")
    gateway.step(120_000)
    assert gateway.state("push-2") is UpdateState.SHADOW
    gateway.step(600_000)
    assert gateway.told[-1]["state"] == "refused"
    assert "3 of 100 pairs" in str(gateway.told[-1]["reason"])


def test_the_agent_that_starts_again_and_again_on_probation_goes_back(gateway: Gateway) -> None:
    """After the third start, and where the model could not be loaded at all."""
    gateway.bring_to(UpdateState.PROBATION)
    gateway.restart(starts=4)
    gateway.step()
    assert gateway.state("push-2") is UpdateState.ROLLED_BACK
    assert gateway.trial.serving == OWN

    gateway.bring_to(UpdateState.PROBATION, version=3, sha256="newer")
    gateway.restart(serving=OWN)
    gateway.step()
    assert gateway.state("push-3") is UpdateState.ROLLED_BACK


def test_an_older_version_and_the_same_with_other_content_are_refused(gateway: Gateway) -> None:
    """The floor is what has served; only a root that says so lowers it, once."""
    gateway.bring_to(UpdateState.COMMITTED, version=5)
    for version, sha256 in ((4, "old"), (5, "other")):
        gateway.ask(f"again-{version}")
        gateway.checked(version, sha256)
        assert gateway.told[-1]["state"] == "refused"
    gateway.ask("lowered")
    gateway.checked(4, "old", floors={LINE: {"version": 3, "root": 2}})
    assert gateway.state("lowered") is UpdateState.FETCHING
    assert gateway.store.floors() == {LINE: 3, f"root {LINE}": 2}
    gateway.bring_to(UpdateState.COMMITTED, version=6, sha256="newer")
    gateway.ask("again")
    gateway.checked(4, "old", floors={LINE: {"version": 3, "root": 2}})
    assert "older than 6" in str(gateway.told[-1]["reason"])


def test_requests_that_must_not_count_are_answered(gateway: Gateway) -> None:
    """Retained, expired, not readable, of no such verb; none of them begins anything."""
    gateway.ask("kept", retained=True)
    gateway.ask("late", expires_ms=gateway.clock.now_ms() - 1)
    gateway.ask("far", expires_ms=gateway.clock.now_ms() + 40 * 86_400_000)
    gateway.ask("odd", colour="red")
    gateway.ask("bad transaction")
    messages = Messages()
    messages.add(b"attwin/g/request/reboot", b"{}", length=2, flags=0x30, packet_id=0)
    gateway.updates.hear(messages)
    gateway.step()

    reasons = [str(body["reason"]) for body in gateway.told]
    assert len(reasons) == 6
    words = ("retained", "expired", "31 days", "unknown field", "letters, digits", "no request is called")
    assert all(word in reason for word, reason in zip(words, reasons, strict=True)), reasons
    assert gateway.works.begun == []


def test_a_second_push_waits_a_newer_one_takes_over(gateway: Gateway) -> None:
    """While one is served on probation nothing else begins; before that a higher version supersedes it."""
    gateway.bring_to(UpdateState.FETCHING, version=2)
    gateway.ask("same")
    gateway.checked(2, "other")
    assert gateway.told[-1]["state"] == "busy"
    gateway.ask("newer")
    gateway.checked(3, "newer")
    assert gateway.state("push-2") is UpdateState.SUPERSEDED
    assert gateway.state("newer") is UpdateState.FETCHING


def test_a_file_with_a_wrong_hash_is_fetched_thrice(gateway: Gateway) -> None:
    """Then it is refused, and nothing of it is kept."""
    gateway.bring_to(UpdateState.FETCHING)
    for _ in range(3):
        gateway.step()
        want = gateway.wanted[-1]
        for offset, length in want["ranges"]:  # type: ignore[attr-defined]
            gateway.updates.take_block(str(want["transaction"]), offset, b"x" * length)
        gateway.step()
    assert gateway.told[-1] | {"state": "refused", "reason": "another hash"} == gateway.told[-1]
    assert not gateway.works.files
    assert not gateway.works.parts


def test_a_full_disk_refuses_what_it_cannot_hold(gateway: Gateway) -> None:
    """Before the first block, and in the midst of it."""
    gateway.works.full = "the disk is full"
    gateway.ask("first")
    gateway.checked(2)
    assert gateway.told[-1]["reason"] == "the disk is full"
    gateway.works.full = ""
    gateway.ask("second")
    gateway.checked(2)
    gateway.step()
    gateway.works.full = "the disk is full"
    gateway.send()
    assert gateway.told[-1] | {"state": "refused", "reason": "the disk is full"} == gateway.told[-1]


def test_a_bundle_that_is_not_what_was_signed_is_refused(gateway: Gateway) -> None:
    """Its own manifest says another version, or another kind."""
    gateway.bring_to(UpdateState.VERIFIED)
    gateway.answer("test", name="m", version=9, kind="room")
    assert "signed was m version 2" in str(gateway.told[-1]["reason"])


def test_a_rollback_brings_the_one_before_back(gateway: Gateway) -> None:
    """From upstream, on the gateway, and during a push of the line."""
    gateway.bring_to(UpdateState.COMMITTED)
    assert gateway.updates.roll_back(LINE, "it is noisy") == ""
    gateway.step()
    assert gateway.trial.serving == OWN
    assert gateway.state("push-2") is UpdateState.ROLLED_BACK
    assert gateway.updates.roll_back(LINE, "again") == f"nothing that was pushed serves on {LINE}"

    gateway.bring_to(UpdateState.SHADOW, version=3, sha256="newer")
    assert gateway.updates.roll_back(LINE, "no more") == ""
    gateway.step()
    assert gateway.state("push-3") is UpdateState.REFUSED


def test_a_local_file_goes_through_the_same_gates(gateway: Gateway) -> None:
    """Its owner is trusted; what it computes is not."""
    transaction = gateway.updates.install("room", "new")
    gateway.step()
    assert gateway.works.begun == [f"test new {LINE}"]
    gateway.answer("test", name="m", version=7, kind="room")
    gateway.step()
    assert gateway.updates.promote() == ""
    gateway.step()
    assert gateway.trial.serving == "new"
    assert gateway.updates.promote() == ""
    gateway.step()
    assert gateway.state(transaction) is UpdateState.COMMITTED


def test_blocks_that_nobody_asked_for_do_nothing(gateway: Gateway) -> None:
    """Of another transaction, without end, before anything was asked."""
    gateway.updates.take_block("x", 0, b"flood")
    gateway.bring_to(UpdateState.FETCHING)
    gateway.step()
    for offset in range(0, 10_000, 10):
        gateway.updates.take_block("push-2", 5_000 + offset, b"flood")
        gateway.updates.take_block("other", 0, FILE)
    assert gateway.works.parts == {}
    gateway.send()
    assert gateway.state("push-2") is UpdateState.VERIFIED


def test_what_cannot_be_taken_to_service_goes_back(gateway: Gateway) -> None:
    """It is not taken for good because nothing bad was measured of it."""
    gateway.bring_to(UpdateState.SHADOW)
    gateway.trial.problem = "the local file cannot be read"
    gateway.step(60_000)
    gateway.step(120_000)

    assert gateway.state("push-2") is UpdateState.ROLLED_BACK
    assert gateway.told[-1]["reason"] == "it could not be taken: the local file cannot be read"
    assert gateway.trial.serving == OWN


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("update/block/t/\u00b2", b"x"),
        ("update/block/t/-1", b"x"),
        ("update/block/t/99999999999999999999", b"x"),
        ("request/update", b"{"),
        ("request/update", b"[" * 100_000),
        ("request/rollback", b"null"),
        ("request/\udce9", b"{}"),
    ],
)
def test_nothing_that_arrives_stops_the_agent(gateway: Gateway, topic: str, body: bytes) -> None:
    """Numbers that are none, payloads that are none, names that are none."""
    gateway.bring_to(UpdateState.FETCHING)
    messages = Messages()
    name = f"attwin/g/{topic}".encode(errors="surrogateescape")
    messages.add(name, body, length=len(body), flags=0x30, packet_id=0)
    gateway.updates.hear(messages)
    gateway.step()
    assert gateway.state("push-2") is UpdateState.FETCHING


@pytest.mark.parametrize("others", [{"target": "a\0b"}, {"target": "x" * 501}, {"source": "http\n"}])
def test_texts_that_no_process_can_be_given_are_refused(gateway: Gateway, others: dict[str, object]) -> None:
    """A NUL in an argument would be an error where the process is started."""
    gateway.ask("odd", **others)
    assert gateway.told[-1]["state"] == "refused"
    assert gateway.works.begun == []
