"""What the control socket answers: one implementation of every verb."""

from collections.abc import Callable
from dataclasses import asdict

import msgspec

from attwin.core.alerts import MOST_SNOOZE_MS
from attwin.core.durations import format_duration
from attwin.core.errors import AlertGoneError, StoreStalledError, UpdateRefusedError
from attwin.core.outgoing import LANES
from attwin.core.updates import UpdateChange, answer_body
from attwin.ports import AlertChange, Label
from attwin.runtime.agent import Agent
from attwin.runtime.publish import twin_body

MOST_REPLAYED = 100
"""How many rejects are asked for at once, so that they are read in one go."""

_SAFE = "the agent runs with --safe, without models"

MOST_CHANGED = 50
"""How many messages of the outbox are changed at once: each is a transaction of its own, which the loop waits for."""


class Commands:
    """Answers requests about a running agent."""

    def __init__(self, agent: Agent, info: dict[str, object], reload: Callable[[], list[str]]) -> None:
        """Make the verbs.

        Args:
            agent: The running agent.
            info: What the gateway says of itself.
            reload: Takes the configuration anew, or returns its problems.
        """
        self._agent = agent
        self._reload = reload
        self._info = info
        self._verbs: dict[str, Callable[[dict[str, object]], dict[str, object]]] = {
            "status": self._status,
            "twins": self._twins,
            "twin": self._twin,
            "alerts": self._alerts,
            "forecasts": self._forecasts,
            "acknowledge": self._acknowledge,
            "snooze": self._snooze,
            "label": self._label,
            "replay_rejects": self._replay_rejects,
            "outbox": self._outbox,
            "park_outgoing": self._park_outgoing,
            "retry_outgoing": self._retry_outgoing,
            "reload": self._take_anew,
            "updates": self._updates,
            "model_install": self._install,
            "model_promote": self._promote,
            "model_rollback": self._roll_back,
        }

    def answer(self, request: dict[str, object]) -> dict[str, object]:
        """Return the answer to a request, an ``error`` where it cannot be answered."""
        verb = self._verbs.get(str(request.get("verb")))
        if verb is None:
            return {"error": f"verb {request.get('verb')!r}; known: {', '.join(self._verbs)}"}
        return verb(request)

    def _status(self, _request: dict[str, object]) -> dict[str, object]:
        return {**self._agent.health(), "drift": self._agent.drift.report(), **self._info, "audit": self._audit()}

    def _audit(self) -> list[list[object]]:
        return [[*key, count] for key, count in sorted(self._agent.totals.items())]

    def _twins(self, _request: dict[str, object]) -> dict[str, object]:
        return {"twins": [self._body(entity) for entity in self._agent.twin.catalogue.live()]}

    def _twin(self, request: dict[str, object]) -> dict[str, object]:
        entity = self._agent.twin.catalogue.find(str(request.get("entity")))
        if entity is None:
            return {"error": f"no entity `{request.get('entity')}`"}
        return {"twin": self._body(entity)}

    def _alerts(self, _request: dict[str, object]) -> dict[str, object]:
        return {"alerts": [facts.as_dict() for facts in self._agent.book.active.values()]}

    def _forecasts(self, _request: dict[str, object]) -> dict[str, object]:
        return {"forecasts": [asdict(row) for row in self._agent.foresight.rows()]}

    def _acknowledge(self, request: dict[str, object]) -> dict[str, object]:
        alert, by, note = request.get("alert"), str(request.get("by", "")), str(request.get("note", ""))
        if not isinstance(alert, int):
            return {"error": "`alert` is the number of an alert"}
        return self._change(lambda now_ms: self._agent.book.acknowledge(alert, by=by, note=note, now_ms=now_ms))

    def _snooze(self, request: dict[str, object]) -> dict[str, object]:
        alert, duration_ms = request.get("alert"), request.get("for_ms")
        by, note = str(request.get("by", "")), str(request.get("note", ""))
        if not isinstance(alert, int):
            return {"error": "`alert` is the number of an alert"}
        if not isinstance(duration_ms, int) or not 0 < duration_ms <= MOST_SNOOZE_MS:
            return {"error": f"`for_ms` is a duration in ms of at most {format_duration(MOST_SNOOZE_MS)}"}
        return self._change(
            lambda now_ms: self._agent.book.snooze(
                alert, until_ms=now_ms + duration_ms, by=by, note=note, now_ms=now_ms
            )
        )

    def _label(self, request: dict[str, object]) -> dict[str, object]:
        entity, time_ms, value = str(request.get("entity")), request.get("time_ms"), request.get("value")
        if self._agent.twin.catalogue.find(entity) is None:
            return {"error": f"no entity `{entity}`"}
        if not isinstance(time_ms, int) or not isinstance(value, int | float):
            return {"error": "`time_ms` is a whole number, `value` a number"}
        label = Label(entity=entity, time_ms=time_ms, value=float(value), by=str(request.get("by", "")))
        if not self._agent.keep_label(label):
            return {"error": "the disk refuses for now"}
        return {"label": {"entity": entity, "time_ms": time_ms, "value": label.value, "by": label.by}}

    def _change(self, act: Callable[[int], AlertChange]) -> dict[str, object]:
        """Do what a person asks about an alert, and keep it at once."""
        try:
            change = act(self._agent.clock.now_ms())
        except AlertGoneError as error:
            return {"error": str(error)}
        self._agent.announce([change])
        return {"alert": change.after.as_dict()}

    def _replay_rejects(self, request: dict[str, object]) -> dict[str, object]:
        numbers = request.get("numbers")
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            return {"error": "`numbers` is a list of the numbers of rejects"}
        if len(numbers) > MOST_REPLAYED:
            return {"error": f"at most {MOST_REPLAYED} rejects at once, not {len(numbers)}"}
        return self._agent.replay_rejects(numbers)

    def _outbox(self, _request: dict[str, object]) -> dict[str, object]:
        pauses = self._agent.delivery.pauses() if self._agent.delivery else {}
        in_flight = self._agent.store.in_flight_outgoing()
        return {"lanes": {lane: {"in_flight": n, "paused": pauses.get(lane, "")} for lane, n in in_flight.items()}}

    def _park_outgoing(self, request: dict[str, object]) -> dict[str, object]:
        now_ms = self._agent.clock.now_ms()
        return self._change_outgoing(
            request, lambda lane, place: not self._agent.store.park_outgoing(lane, place, now_ms=now_ms)
        )

    def _retry_outgoing(self, request: dict[str, object]) -> dict[str, object]:
        return self._change_outgoing(request, self._agent.store.retry_outgoing)

    @staticmethod
    def _change_outgoing(request: dict[str, object], change: Callable[[str, int], bool]) -> dict[str, object]:
        """Change messages of the outbox one by one; return how many that was possible with."""
        try:
            places = msgspec.convert(request.get("places"), list[tuple[str, int]])
        except msgspec.ValidationError as error:
            return {"error": f"`places` is a list of lanes and places: {error}"}
        unknown = sorted({lane for lane, _ in places} - set(LANES))
        if unknown or len(places) > MOST_CHANGED:
            return {"error": f"no lane `{unknown[0]}`" if unknown else f"at most {MOST_CHANGED} messages at once"}
        try:
            done = sum(change(lane, place) for lane, place in places)
        except StoreStalledError as error:
            return {"error": f"the disk refuses for now: {error}"}
        return {"done": done, "left": len(places) - done}

    def _take_anew(self, _request: dict[str, object]) -> dict[str, object]:
        problems = self._reload()
        return {"error": "\n".join(problems)} if problems else {"reloading": True}

    def _updates(self, _request: dict[str, object]) -> dict[str, object]:
        updates = self._agent.updates
        if updates is None:
            return {"error": _SAFE}
        current = updates.current
        under_way = answer_body(UpdateChange(before=str(current.state), after=current)) if current else None
        return {**updates.info(), "current": under_way}

    def _install(self, request: dict[str, object]) -> dict[str, object]:
        updates = self._agent.updates
        if updates is None:
            return {"error": _SAFE}
        try:
            return {"transaction": updates.install(str(request.get("kind")), str(request.get("path")))}
        except UpdateRefusedError as error:
            return {"error": str(error)}

    def _promote(self, _request: dict[str, object]) -> dict[str, object]:
        updates = self._agent.updates
        problem = updates.promote() if updates else _SAFE
        return {"error": problem} if problem else {"promoted": True}

    def _roll_back(self, request: dict[str, object]) -> dict[str, object]:
        updates = self._agent.updates
        reason = str(request.get("reason") or "asked on the gateway")
        problem = updates.roll_back(str(request.get("line")), reason) if updates else _SAFE
        return {"error": problem} if problem else {"rolled_back": True}

    def _body(self, entity: int) -> dict[str, object]:
        twin = self._agent.twin
        body = twin_body(twin, entity)
        name = twin.catalogue.entity_ids[entity]
        body |= {f"{subject}_anomaly": round(s, 4) for subject, s in self._agent.foresight.strange(entity).items()}
        body["alerts"] = [rule for rule, owner in self._agent.book.active if owner == name]
        return body
