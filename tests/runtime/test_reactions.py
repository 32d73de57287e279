"""Facts about the reaction stage: order, retries, and what is too late."""

from collections.abc import Sequence

from attwin.core.alerts import ACTIVE, CLEARED, AlertFacts
from attwin.core.audit import SITE
from attwin.core.reactions import Reaction, filled
from attwin.ports import AlertChange, Doing, Reacted
from attwin.runtime.reactions import Reactions
from support.fakes import FakeClock, FakeReactor


def a_reaction(name: str = "siren", **changes: object) -> Reaction:
    """Return a reaction that runs a command, twice again where it fails."""
    fields: dict[str, object] = {
        "name": name,
        "rules": frozenset(),
        "severity": "info",
        "topic": "",
        "retain": False,
        "command": ("siren",),
        "url": "",
        "token": "",
        "timeout_ms": 1000,
        "retries": 2,
        "within_ms": 60_000,
    }
    return Reaction(**(fields | changes))  # type: ignore[arg-type] # fields by name


def facts(**changes: object) -> AlertFacts:
    """Return an active alert that is told."""
    fields: dict[str, object] = {
        "alert": 1,
        "rule": "stuffy",
        "entity": "lab",
        "severity": "warning",
        "subject": "co2",
        "state": ACTIVE,
        "value": 1200.0,
        "threshold": 1000.0,
        "since_ms": 1,
        "time_ms": 2,
        "opened_ms": 2,
    }
    return AlertFacts(**(fields | changes))  # type: ignore[arg-type] # the same


class Shelf:
    """A store that holds what is to be done, and a stage over it."""

    def __init__(self, *reactions: Reaction) -> None:
        self.clock, self.reactor = FakeClock(), FakeReactor()
        self.waiting: dict[int, tuple[str, Doing]] = {}
        self.stage = Reactions(reactions, self, self.reactor, self.clock)  # type: ignore[arg-type] # of a store, this one call

    def add(self, number: int, name: str = "siren") -> None:
        """Let something wait since now."""
        doing = Doing(number=number, body="{}", created_ms=self.clock.now_ms(), tries=0, problem="")
        self.waiting[number] = (name, doing)

    def next_reaction(self, name: str, after: int) -> Doing | None:
        """Return the oldest that waits."""
        numbers = [n for n, (owner, _) in sorted(self.waiting.items()) if owner == name and n > after]
        return self.waiting[numbers[0]][1] if numbers else None

    def step(self, *done: tuple[int, str]) -> list[Reacted]:
        """Let things end, and the stage go on; keep what became of them."""
        self.reactor.done = list(done)
        found = self.stage.step()
        for one in found:
            name, doing = self.waiting.pop(one.number)
            if one.outcome == "waiting":
                again = Doing(
                    number=doing.number,
                    body=doing.body,
                    created_ms=doing.created_ms,
                    tries=one.tries,
                    problem=one.problem,
                )
                self.waiting[one.number] = (name, again)
        return found


def outcomes(found: Sequence[Reacted]) -> list[tuple[int, str]]:
    """Return number and outcome."""
    return [(one.number, one.outcome) for one in found]


def test_one_thing_is_done_after_the_other() -> None:
    """The next one begins when the one before has ended; another reaction does not wait for it."""
    shelf = Shelf(a_reaction(), a_reaction("chat"))
    for number, name in ((1, "siren"), (2, "siren"), (3, "chat")):
        shelf.add(number, name)

    shelf.step()
    assert shelf.reactor.started == [("siren", 1), ("chat", 3)]
    found = shelf.step((1, ""))

    assert outcomes(found) == [(1, "done")]
    assert shelf.reactor.started[2:] == [("siren", 2)]


def test_what_fails_is_tried_again_later_and_not_for_ever() -> None:
    """After a second, after two more, and then it has failed; what waits behind it goes on."""
    shelf = Shelf(a_reaction())
    shelf.add(1)
    shelf.add(2)
    shelf.step()

    found = [shelf.step((1, "no"))]
    shelf.step()
    assert len(shelf.reactor.started) == 1
    shelf.clock.pass_ms(1000)
    shelf.step()
    found.append(shelf.step((1, "no")))
    shelf.clock.pass_ms(1999)
    shelf.step()
    assert len(shelf.reactor.started) == 2
    shelf.clock.pass_ms(1)
    shelf.step()
    found.append(shelf.step((1, "never")))

    assert [outcomes(one) for one in found] == [[(1, "waiting")], [(1, "waiting")], [(1, "failed")]]
    assert (found[-1][0].tries, found[-1][0].problem) == (3, "never")
    assert shelf.reactor.started[-1] == ("siren", 2)


def test_what_is_too_old_is_not_done_any_more() -> None:
    """A siren long after the fire helps nobody; it is counted."""
    shelf = Shelf(a_reaction())
    shelf.add(1)
    shelf.clock.pass_ms(60_001)
    shelf.add(2)

    found = shelf.step()

    assert outcomes(found) == [(1, "expired")]
    assert shelf.reactor.started == [("siren", 2)]
    assert shelf.stage.counts((), found) == {(SITE, "expired", "siren"): 1}


def test_what_cannot_begin_now_waits_without_a_try() -> None:
    """With the broker away nothing has failed; it begins when the broker is back."""
    shelf = Shelf(a_reaction())
    shelf.add(1)
    shelf.reactor.able = False
    assert shelf.step() == []
    shelf.reactor.able = True
    assert shelf.step() == []
    shelf.clock.pass_ms(1000)
    shelf.step()

    assert shelf.reactor.started == [("siren", 1)]


def test_a_reaction_concerns_what_it_is_for() -> None:
    """By rule, by severity, and only what is told."""
    stage = Shelf(
        a_reaction("all"), a_reaction("grave", severity="critical"), a_reaction("one", rules=frozenset({"stuffy"}))
    ).stage

    def named(after: AlertFacts, before: AlertFacts | None = None) -> list[str]:
        return [draft.name for draft in stage.drafts([AlertChange(before=before, after=after)])]

    assert named(facts()) == ["all", "one"]
    assert named(facts(rule="other", severity="critical")) == ["all", "grave"]
    assert named(facts(announced=False)) == []


def test_who_hears_for_the_first_time_hears_of_something_new() -> None:
    """An alert that was muted when it opened is new when it is told."""
    muted = facts(announced=False)

    changes = [
        AlertChange(before=None, after=facts()),
        AlertChange(before=muted, after=facts()),
        AlertChange(before=facts(), after=facts(severity="critical")),
        AlertChange(before=facts(), after=facts(state=CLEARED)),
    ]

    assert [change.as_told()["type"] for change in changes] == ["new", "new", "update", "end"]


def test_fields_of_the_event_stand_in_braces() -> None:
    """Others are left as they are."""
    event = {"entity": "lab", "rule": "stuffy", "value": 1200.0}

    assert filled("{entity}/{rule} at {value} {severity}{other}", event) == "lab/stuffy at 1200 {other}"
