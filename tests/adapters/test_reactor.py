"""Facts about commands and web servers that an alert calls."""

import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attwin.adapters.reactor import SiteReactor, act
from attwin.ports import Doing
from runtime.test_reactions import a_reaction
from support.fakes import FakeClock

EVENT = {"entity": "lab; rm -rf $HOME", "rule": "stuffy", "severity": "warning", "type": "new", "value": 12.5}
BODY = json.dumps(EVENT)
TOKEN = "a-token-of-the-test"  # noqa: S105 -- no secret


def test_a_command_gets_the_event_and_no_shell(tmp_path: Path) -> None:
    """By its arguments, its environment and its input; nothing of it is a command of a shell."""
    out = tmp_path / "out"
    code = (
        "import os, sys, json\n"
        f"with open({str(out)!r}, 'w') as out:\n"
        "    json.dump([sys.argv[1:], os.environ['ATTWIN_RULE'], json.load(sys.stdin)], out)"
    )

    problem = act(a_reaction(command=(sys.executable, "-c", code, "{entity}", "{value}")), EVENT, BODY)

    assert problem == ""
    assert json.loads(out.read_text(encoding="utf-8")) == [["lab; rm -rf $HOME", "12.5"], "stuffy", EVENT]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param(("/no/such/siren",), "it cannot be run: [Errno 2]", id="missing"),
        pytest.param((sys.executable, "-c", "import sys; sys.exit('no power')"), "ended with 1: no power", id="fails"),
        pytest.param((sys.executable, "-c", "import time; time.sleep(60)"), "more than 0.2 s", id="hangs"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(command: tuple[str, ...], words: str) -> None:
    """One that hangs is ended."""
    started = time.monotonic()

    problem = act(a_reaction(command=command, timeout_ms=200 if "more" in words else 20_000), EVENT, BODY)

    assert words in problem
    assert time.monotonic() - started < 20


class Server:
    """A web server that answers as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer, self.delay_s = 200, 0.0
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                server.headers.append(dict(self.headers))
                time.sleep(server.delay_s)
                self.send_response(server.answer)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alert"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on this machine."""
    own = Server()
    yield own
    own.close()


def test_a_web_server_gets_the_event(server: Server) -> None:
    """As JSON by POST, with the token."""
    assert act(a_reaction(command=(), url=server.url, token=TOKEN), EVENT, BODY) == ""

    assert [json.loads(body) for body in server.bodies] == [EVENT]
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert server.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("answer", [204, 201])
def test_any_answer_of_success_is_one(server: Server, answer: int) -> None:
    """Created and no content are."""
    server.answer = answer

    assert act(a_reaction(command=(), url=server.url), EVENT, BODY) == ""


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_any_other_answer_is_a_failure(server: Server, answer: int) -> None:
    """A redirection is not followed: the token must not go elsewhere."""
    server.answer = answer

    assert act(a_reaction(command=(), url=server.url, token=TOKEN), EVENT, BODY) == f"it answered {answer}"
    assert len(server.bodies) == 1


def test_a_web_server_that_hangs_or_is_away_is_given_up(server: Server) -> None:
    """After the time that it has."""
    server.delay_s = 5

    slow = act(a_reaction(command=(), url=server.url, timeout_ms=200), EVENT, BODY)
    away = act(a_reaction(command=(), url="http://127.0.0.1:9/"), EVENT, BODY)

    assert "timed out" in slow
    assert "it cannot be reached: [Errno 111]" in away


class Broker:
    """The sensors' broker, which has what it is told when a test says so."""

    def __init__(self) -> None:
        self.up = True
        self.told: list[tuple[str, bytes, bool]] = []
        self.has: list[int] = []

    def publish(self, _number: int, topic: str, payload: bytes, retain: bool) -> bool:  # noqa: FBT001 -- the reactor's
        """Take a message, where it is up."""
        if self.up:
            self.told.append((topic, payload, retain))
        return self.up

    def take(self) -> list[int]:
        """Return what it has, once."""
        has, self.has = self.has, []
        return has


def a_doing(kind: str = "new") -> Doing:
    """Return an event that is to be told."""
    return Doing(number=7, body=json.dumps({**EVENT, "type": kind}), created_ms=0, tries=0, problem="")


def test_a_topic_is_done_when_the_broker_has_it() -> None:
    """What an entity is called is one level of the topic, whatever it holds."""
    broker, clock = Broker(), FakeClock()
    reactor = SiteReactor(broker.publish, broker.take, clock)

    assert reactor.start(a_reaction(command=(), topic="site/{entity}/{rule}"), a_doing())
    assert reactor.take_done() == []
    broker.has = [7]

    assert reactor.take_done() == [(7, "")]
    assert broker.told[0][0] == "site/lab%3B%20rm%20-rf%20%24HOME/stuffy"
    assert json.loads(broker.told[0][1])["type"] == "new"


def test_a_broker_that_does_not_acknowledge_has_it_not() -> None:
    """It is tried again after the time that it has; a broker that is away was not tried."""
    broker, clock = Broker(), FakeClock()
    reactor = SiteReactor(broker.publish, broker.take, clock)
    reaction = a_reaction(command=(), topic="site")
    reactor.start(reaction, a_doing())
    clock.pass_ms(1001)

    ((number, problem),) = reactor.take_done()
    broker.up = False

    assert (number, "not acknowledged" in problem) == (7, True)
    assert not reactor.start(reaction, a_doing())


def test_what_the_broker_keeps_is_taken_back_at_the_end() -> None:
    """An empty message ends a retained one."""
    broker = Broker()
    reactor = SiteReactor(broker.publish, broker.take, FakeClock())

    reactor.start(a_reaction(command=(), topic="site", retain=True), a_doing("end"))

    assert broker.told == [("site", b"", True)]


def test_a_command_that_hangs_holds_up_nobody_else() -> None:
    """Each reaction has a thread of its own."""
    broker = Broker()
    reactor = SiteReactor(broker.publish, broker.take, FakeClock())
    hangs = a_reaction("hangs", command=(sys.executable, "-c", "import time; time.sleep(2)"), timeout_ms=5000)
    quick = a_reaction("quick", command=(sys.executable, "-c", ""), timeout_ms=5000)

    reactor.start(hangs, a_doing())
    reactor.start(quick, Doing(number=8, body=BODY, created_ms=0, tries=0, problem=""))
    done: list[tuple[int, str]] = []
    while len(done) < 2:
        done += reactor.take_done()
        time.sleep(0.01)

    assert done == [(8, ""), (7, "")]
