"""Does what reactions ask for: publishes to the sensors' broker, runs a command, posts to a web server.

Commands and web servers can take long, so each reaction has a thread of its own, which knows neither the loop nor the
store. A command gets no shell: what an alert says cannot become a part of it.
"""

import importlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping

from attwin.core.reactions import FIELDS, Reaction, filled
from attwin.core.topics import quote_id
from attwin.ports import Clock, Doing

_MOST_SAID = 200
Publish = Callable[[int, str, bytes, bool], bool]
"""Publishes (number, topic, payload, retain) to the sensors' broker; False where that is away."""


class SiteReactor:
    """Implements ``ports.Reactor``."""

    def __init__(self, publish: Publish, take_published: Callable[[], list[int]], clock: Clock) -> None:
        """Make it.

        Args:
            publish: Gives a message to the sensors' broker.
            take_published: Returns the numbers of the messages that this broker has.
            clock: For how long a broker may take.
        """
        self._publish, self._take_published, self._clock = publish, take_published, clock
        self._published: dict[int, int] = {}
        self._done: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._work: dict[str, queue.SimpleQueue[Callable[[], None]]] = {}

    def start(self, reaction: Reaction, doing: Doing) -> bool:
        """Begin to do something; False where that is not possible now and was not tried."""
        event = json.loads(doing.body)
        if reaction.topic:
            return self._start_topic(reaction, doing, event)
        self._in_thread(reaction.name, lambda: self._done.put((doing.number, act(reaction, event, doing.body))))
        return True

    def take_done(self) -> list[tuple[int, str]]:
        """Return (number, problem) of what has ended since the last call; the problem is empty where it is done."""
        found = [(number, "") for number in self._take_published() if self._published.pop(number, None) is not None]
        now = self._clock.monotonic_ms()
        late = [number for number, deadline_ms in self._published.items() if now > deadline_ms]
        for number in late:
            del self._published[number]
        found += [(number, "the broker has not acknowledged it in time") for number in late]
        while not self._done.empty():
            found.append(self._done.get())
        return found

    def _start_topic(self, reaction: Reaction, doing: Doing, event: Mapping[str, object]) -> bool:
        quoted = {name: quote_id(str(event[name])) for name in ("entity", "rule")}
        topic = filled(reaction.topic, {**event, **quoted})
        # a message that the broker keeps is taken back when the alert is over
        is_over = reaction.retain and event["type"] == "end"
        if not self._publish(doing.number, topic, b"" if is_over else doing.body.encode(), reaction.retain):
            return False
        self._published[doing.number] = self._clock.monotonic_ms() + reaction.timeout_ms
        return True

    def _in_thread(self, name: str, work: Callable[[], None]) -> None:
        if name not in self._work:
            self._work[name] = queue.SimpleQueue()
            # it may hang in a command or a web server, and must not keep the agent from stopping
            threading.Thread(target=_serve, args=(self._work[name],), name=f"reaction {name}", daemon=True).start()
        self._work[name].put(work)


def act(reaction: Reaction, event: Mapping[str, object], body: str) -> str:
    """Run a command or post to a web server; return what went wrong, empty where nothing did."""
    if reaction.command:
        return _run(reaction, event, body)
    problem: str = importlib.import_module("attwin.adapters.web_post").post(reaction, body)
    return problem


def _serve(work: "queue.SimpleQueue[Callable[[], None]]") -> None:
    while True:
        work.get()()


def _run(reaction: Reaction, event: Mapping[str, object], body: str) -> str:
    arguments = [filled(argument, event) for argument in reaction.command]
    names = {f"ATTWIN_{name.upper()}": str(event.get(name, "")) for name in FIELDS}
    try:
        done = subprocess.run(  # noqa: S603 -- what the configuration asks for, without a shell
            arguments,
            input=body.encode(),
            capture_output=True,
            timeout=reaction.timeout_ms / 1000,
            env={**os.environ, **names},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {reaction.timeout_ms / 1000:g} s"
    except (OSError, ValueError) as error:
        return f"it cannot be run: {error}"
    said = done.stderr.decode(errors="replace").strip()[-_MOST_SAID:]
    return f"it ended with {done.returncode}: {said}" if done.returncode else ""
