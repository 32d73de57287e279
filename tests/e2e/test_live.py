"""The agent as a process, between a real Mosquitto and a real database, on real data."""

import csv
import getpass
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.processes import Agent, Client, Mosquitto, free_port, wait_until

OCCUPANCY = Path(__file__).parents[1] / "data" / "occupancy" / "datatest.txt"
METRICS = ("temperature=Temperature", "humidity=Humidity", "light=Light", "co2=CO2", "humidity_ratio=HumidityRatio")
QUANTUM = 1 / 256

CONFIG = """\
version: 1
gateway: {{id: g1, site: office, zone: Europe/Brussels}}
broker: {{url: "{broker}", inflight: 1000}}
upstream: {{url: "{upstream}", twin_every: 100ms, health_every: 1s}}
limits: {{entities: 20, payload_bytes: 4096}}
kinds:
  room:
    model: builtin:occupancy
    metrics:
      temperature: {{unit: Cel, min: -20, max: 60}}
      humidity: {{unit: "%RH", min: 0, max: 100}}
      light: {{unit: lx, min: 0, max: 20000}}
      co2: {{unit: ppm, min: 200, max: 10000}}
      humidity_ratio: {{unit: kg/kg, min: 0, max: 0.1}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
rules:
  - name: in-use
    kind: room
    when: {{attention: true, above: 0.7, clear_below: 0.3}}
    for: 3m
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000, clear_below: 900}}
    for: 5m
    severity: critical
"""


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A topic base of the test's own: the broker serves the whole session."""
    return f"s-{abs(hash(request.node.nodeid)) % 10**9}"


@pytest.fixture
def agent(tmp_path: Path, mosquitto: Mosquitto, base: str) -> Agent:
    """An agent that has not been started, with the client id of the test."""
    text = CONFIG.format(broker=mosquitto.url, upstream=mosquitto.url, base=base).replace("id: g1", f"id: {base}")
    (tmp_path / "attwin.yaml").write_text(text, encoding="utf-8")
    return Agent(tmp_path / "attwin.yaml")


def attwin(*command: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run([sys.executable, "-m", "attwin", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(port: int, base: str, file: Path = OCCUPANCY) -> int:
    """Play a file as fast as the broker takes it, and return how many readings were acknowledged."""
    options = [option for metric in METRICS for option in ("--metric", metric)]
    said = attwin(
        *("publish", str(file), "--broker", f"mqtt://127.0.0.1:{port}", "--topic", base + "/{entity}/{metric}"),
        *("--entity", "office", "--zone", "Europe/Brussels", "--speed", "0", "--rate", "0", "--json", *options),
    )
    return int(json.loads(said)["published"])


def query(agent: Agent, text: str) -> list[tuple[object, ...]]:
    """Ask the database."""
    with closing(sqlite3.connect(f"file:{agent.config.with_name('twin.db')}?mode=ro", uri=True)) as connection:
        return connection.execute(text).fetchall()


@pytest.mark.tflite
def test_every_stored_score_is_the_offline_one_and_upstream_has_every_alert(
    agent: Agent, mosquitto: Mosquitto, base: str, tmp_path: Path
) -> None:
    """The real file through MQTT: scores equal `attwin score` of the same CSV, alerts upstream equal the database."""
    with Client(mosquitto.port, f"attwin/{base}/#") as upstream, agent:
        count = publish(mosquitto.port, base)
        agent.wait_for("readings_stored", count)
        wait_until(lambda: agent.status()["outbox_waiting"] == 0, "upstream has everything")
        assert agent.stop() < 2.0
        events = upstream.bodies("/events")

    out = tmp_path / "offline.csv"
    options = [option for metric in METRICS for option in ("--metric", metric)]
    attwin("score", "--bundle", "builtin:occupancy", str(OCCUPANCY), "--entity", "office", "--zone", "Europe/Brussels",
           "--out", str(out), *options)  # fmt: skip
    with out.open(encoding="utf-8") as file:
        offline = {int(row["score_ms"]): float(row["score"]) for row in csv.DictReader(file)}
    stored = query(agent, "select time_ms, score from scores order by time_ms")

    minutes = {time_ms // 60_000 for time_ms in offline}
    assert count == 5 * 2665
    # the last row of the file waits for a later reading to close its tick
    assert len({int(str(time_ms)) // 60_000 for time_ms, _ in stored}) >= len(minutes) - 1
    assert all(abs(float(str(score)) - offline[int(str(time_ms))]) <= QUANTUM for time_ms, score in stored)

    alerts = query(agent, "select body from alert_events order by id")
    kept = [json.loads(str(body)) for (body,) in alerts]
    assert [(e["type"], e["after"], e["before"]) for e in events] == [(k.pop("type"), k, k.pop("before")) for k in kept]
    assert [event["type"] for event in events] == ["new" if e["after"]["state"] == "active" else "end" for e in events]
    assert len(events) >= 4
    lines = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == list(range(1, len(alerts) + 1))
    ids = [str(event["id"]) for event in events]
    assert len(set(ids)) == len(ids)


@pytest.mark.tflite
def test_kill_9_loses_nothing_and_repeats_nothing(agent: Agent, mosquitto: Mosquitto, base: str) -> None:
    """Killed again and again while readings arrive: what the broker has is stored once, the scores are the same."""
    rows = OCCUPANCY.read_text(encoding="utf-8").splitlines()[:401]
    part = agent.config.with_name("part.csv")
    part.write_text("\n".join(rows) + "\n", encoding="utf-8")
    options = [option for metric in METRICS for option in ("--metric", metric)]
    command = [
        *(sys.executable, "-m", "attwin", "publish", str(part), "--broker", mosquitto.url, "--speed", "4000"),
        *("--topic", base + "/{entity}/{metric}", "--entity", "office", "--zone", "Europe/Brussels", *options),
    ]

    with agent:
        player = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for pause in (0.3, 0.7, 0.5):
            time.sleep(pause)
            agent.kill()
            agent.start()
        assert player.wait(60) == 0
        agent.wait_for("readings_stored", 2000)
        agent.stop()

    sums = agent.ask("status")
    assert (sums["readings_stored"], sums.get("readings_rejected", 0)) == (2000, 0)
    assert sums["messages_received"] == sums["messages_decoded"]
    assert sums["readings_decoded"] == 2000 + int(str(sums.get("readings_duplicate", 0)))
    assert query(agent, "select sum(readings) from journal") == [(2000,)]
    said = attwin(
        *("score", "--bundle", "builtin:occupancy", str(part), "--entity", "office", "--zone", "Europe/Brussels"),
        *("--json", *options),
    )
    offline = [json.loads(line) for line in said.splitlines()]
    expected = {row["score_ms"]: row["score"] for row in offline}
    for time_ms, score in query(agent, "select time_ms, score from scores"):
        assert abs(float(str(score)) - expected[int(str(time_ms))]) <= QUANTUM


@pytest.mark.tflite
def test_bad_input_is_counted_with_its_reason_and_nothing_else_is_lost(
    agent: Agent, mosquitto: Mosquitto, base: str
) -> None:
    """Among good readings: truncated JSON, NaN, strings, unknown things, 10 MB; each is a reject with an excerpt."""
    bad = {
        f"{base}/r1/co2": b'{"value": 4',
        f"{base}/r1/light": b"NaN",
        f"{base}/r1/temperature": b'{"value": "20"}',
        f"{base}/r1/humidity": b"\xff\xfe",
        f"{base}/r1/noise": b"1",
        f"{base}/{'x' * 70}/co2": b"1",
        f"{base}/r1/humidity_ratio": b"x" * 10_000_000,
    }
    with Client(mosquitto.port) as sensor, agent:
        for number, (topic, payload) in enumerate(bad.items()):
            sensor.publish(f"{base}/good/co2", json.dumps({"value": 500 + number, "time": 1_423_000_000 + number}))
            sensor.publish(topic, payload)
        agent.wait_for("messages_received", 2 * len(bad))
        agent.stop()

    sums = agent.ask("status")
    assert (sums["readings_stored"], sums["messages_rejected"]) == (len(bad), len(bad))
    rejects = query(agent, "select topic, reason, detail, length(payload) from rejects order by id")
    reasons = ["not_decodable"] * 4 + ["unknown_metric", "bad_topic", "too_large"]
    assert {topic: reason for topic, reason, _, _ in rejects} == dict(zip(bad, reasons, strict=True))
    assert all(detail for _, _, detail, _ in rejects)
    assert max(int(str(size)) for _, _, _, size in rejects) <= 4096


def test_the_agent_starts_and_stops_without_any_broker(tmp_path: Path) -> None:
    """With both brokers away it runs, says so, and ends in time; readings flow when the broker comes."""
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    text = CONFIG.format(broker=url, upstream="mqtt://127.0.0.1:1", base="s")
    (tmp_path / "attwin.yaml").write_text(text, encoding="utf-8")
    agent = Agent(tmp_path / "attwin.yaml")
    with agent:
        assert "refused" in str(agent.status()["broker"])
        with Mosquitto(tmp_path, port=port), Client(port) as sensor:
            wait_until(lambda: agent.status()["broker"] == "up", "the agent has found the broker")
            for number in range(5):
                sensor.publish("s/r1/co2", json.dumps({"value": 2000, "time": 1_423_000_000 + 100 * number}))
            agent.wait_for("readings_stored", 5)
            assert "stuffy" in [alert["rule"] for alert in agent.rows("alerts", "list")]
            assert agent.status()["outbox_waiting"] != 0
        assert agent.stop() < 2.0


def test_a_broker_that_comes_back_finds_the_session(agent: Agent, tmp_path: Path, base: str) -> None:
    """The agent reconnects by itself and goes on; what was published meanwhile to the new broker arrives."""
    port = free_port()
    text = CONFIG.format(broker=f"mqtt://127.0.0.1:{port}", upstream=f"mqtt://127.0.0.1:{port}", base=base)
    agent.config.write_text(text, encoding="utf-8")
    broker = Mosquitto(tmp_path, port=port)
    with broker, agent:
        wait_until(lambda: agent.status()["broker"] == "up", "the agent is connected")
        with Client(port) as sensor:
            sensor.publish(f"{base}/r1/co2", b"500")
        agent.wait_for("readings_stored", 1)
        broker.stop()
        wait_until(lambda: agent.status()["broker"] != "up", "the agent has noticed")
        broker.start()
        wait_until(lambda: agent.status()["broker"] == "up", "the agent is back")
        with Client(port) as sensor:
            sensor.publish(f"{base}/r1/co2", b"501")
        agent.wait_for("readings_stored", 2)
        agent.stop()

    assert query(agent, "select value from state") == [(501.0,)]


def test_upstream_sees_the_life_of_a_gateway(agent: Agent, mosquitto: Mosquitto, base: str) -> None:
    """Online, info, health and twins while it runs; stopped after a clean end; offline after a kill."""

    def available(upstream: Client) -> list[bytes]:
        return [payload for topic, payload, _ in upstream.messages if topic == f"attwin/{base}/available"]

    with Client(mosquitto.port, f"attwin/{base}/#") as upstream:
        with agent, Client(mosquitto.port) as sensor:
            for number in range(3):
                sensor.publish(f"{base}/r ü/co2", json.dumps({"value": 500, "time": 1_423_000_000 + 10 * number}))
            wait_until(lambda: upstream.bodies("/twin/r%20%C3%BC"), "the twin is published")
            wait_until(lambda: upstream.bodies("/health"), "health is published")
            agent.stop()
            wait_until(lambda: available(upstream) == [b"online", b"stopped"], "a clean stop is told")
            agent.start()
            wait_until(lambda: available(upstream)[-1] == b"online", "it is online again")
            agent.kill()
            wait_until(lambda: available(upstream)[-1] == b"offline", "the last will is told")
        twin, info = upstream.bodies("/twin/r%20%C3%BC")[0], upstream.bodies("/info")[0]

    assert (twin["entity"], twin["kind"], twin["co2"]) == ("r ü", "room", 500.0)
    assert isinstance(twin["attention"], float)
    assert info["models"]["room"]["name"] == "occupancy"


def test_commands_read_a_running_and_a_stopped_agent_alike(agent: Agent, mosquitto: Mosquitto, base: str) -> None:
    """`twin list`, `twin show`, `alerts` and `status` answer from the agent, and from the database afterwards."""
    with Client(mosquitto.port) as sensor, agent:
        for number in range(5):
            sensor.publish(f"{base}/r1/co2", json.dumps({"value": 2000, "time": 1_423_000_000 + 100 * number}))
        agent.wait_for("readings_stored", 5)
        live = agent.rows("twin", "list")
        alone = ("--database", str(agent.database), "--json")
        told = subprocess.run([sys.executable, "-m", "attwin", "status", *alone], capture_output=True, check=True)
        assert json.loads(told.stdout)["agent"] == "running"
        agent.stop()
    stored = agent.rows("twin", "list")

    for rows in (live, stored):
        assert [(row["entity"], row["co2"]) for row in rows] == [("r1", 2000.0)]
        assert "stuffy" in rows[0]["alerts"]
    assert live[0]["attention"] == pytest.approx(stored[0]["attention"])
    assert agent.ask("twin", "show", "r1")["co2"] == 2000.0
    assert agent.ask("twin", "show", "nobody") == {}
    assert agent.ask("status")["agent"] == "not running"
    event = agent.rows("alerts", "tail", "--no-follow")[0]
    assert (event["rule"], event["state"], event["severity"]) == ("stuffy", "active", "critical")


def test_an_alert_survives_a_restart_and_clears_after_it(agent: Agent, mosquitto: Mosquitto, base: str) -> None:
    """No second alert opens for the same condition, and the one that was open ends."""
    with Client(mosquitto.port) as sensor, agent:
        for number, value in enumerate([2000] * 5 + [2001, 500]):
            sensor.publish(f"{base}/r1/co2", json.dumps({"value": value, "time": 1_423_000_000 + 100 * number}))
            if number == 4:
                agent.wait_for("readings_stored", 5)
                agent.kill()
                agent.start()
        agent.wait_for("readings_stored", 7)
        agent.stop()

    alerts = [row for row in agent.rows("alerts", "list", "--all") if row["rule"] == "stuffy"]
    assert [(row["alert"], row["state"]) for row in alerts] == [(1, "cleared")]


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        pytest.param(
            "kind: room\n    when: {attention",
            "kind: rom\n    when: {attention",
            78,
            "did you mean `room`?",
            id="configuration",
        ),
        pytest.param("builtin:occupancy", "none.zip", 78, "none.zip: cannot be read", id="missing bundle"),
        pytest.param("builtin:occupancy", "attwin.yaml", 78, "not an attwin bundle", id="foreign bundle"),
        pytest.param(
            "light: {unit: lx,", "light: {unit: lm,", 78, "`light` is in `lm`, the model wants `lx`", id="other unit"
        ),
    ],
)
def test_what_is_wrong_at_the_start_is_told_and_ends_with_its_code(
    agent: Agent, old: str, new: str, code: int, message: str
) -> None:
    """A person reads one clear message, systemd the exit code; no database is made."""
    text = agent.config.read_text(encoding="utf-8")
    assert old in text
    agent.config.write_text(text.replace(old, new), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "attwin", "run", "--config", str(agent.config)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not agent.config.with_name("twin.db").exists()


def test_a_reload_takes_a_new_configuration_and_refuses_a_wrong_one(
    agent: Agent, mosquitto: Mosquitto, base: str
) -> None:
    """Nothing is lost in between; a wrong file changes nothing, and says so; SIGHUP does the same as the command."""
    text = agent.config.read_text(encoding="utf-8")
    with agent, Client(mosquitto.port) as sensor:
        sensor.publish(f"{base}/lab/co2", "700")
        agent.config.write_text(text.replace("  - name: stuffy", "  - called: stuffy"), encoding="utf-8")
        refused = subprocess.run(
            [sys.executable, "-m", "attwin", "reload", "--config", str(agent.config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert refused.returncode == 78
        assert "called: not a setting" in refused.stderr
        assert "The agent goes on as before." in refused.stderr
        assert agent.process
        agent.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload=refused" in agent.log(), "the wrong file is refused")
        agent.config.write_text(text.replace("id: " + base, "id: other"), encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "needs a restart" in agent.log(), "another gateway is refused")

        agent.config.write_text(text.replace("above: 1000, clear_below: 900", "above: 100"), encoding="utf-8")
        attwin("reload", "--config", str(agent.config))
        for number in range(20):
            sensor.publish(f"{base}/hall/co2", json.dumps({"value": 500, "time": time.time() - 1000 + 60 * number}))
        agent.wait_for("readings_stored", 21)
        wait_until(lambda: agent.rows("alerts", "list"), "the new rule holds")
        assert not agent.gone()
        # a reload is no stop to whoever watches the log
        assert agent.log().count("state=st") == 1
        attwin("audit", "--config", str(agent.config))
        agent.stop()


def logged(agent: Agent) -> list[str]:
    """Return type, state and rule of the lines of alerts.jsonl."""
    lines = agent.config.with_name("alerts.jsonl").read_text(encoding="utf-8").splitlines()
    return [f"{event['type']} {event['rule']}" for event in map(json.loads, lines)]


@pytest.mark.tflite
def test_a_person_asks_why_takes_it_up_and_snoozes(
    agent: Agent, mosquitto: Mosquitto, base: str, tmp_path: Path
) -> None:
    """Each change is in the database, in alerts.jsonl and upstream; a stopped agent finds what was done meanwhile."""
    config = str(agent.config)
    part = tmp_path / "part.csv"
    part.write_text("\n".join(OCCUPANCY.read_text(encoding="utf-8").splitlines()[:120]) + "\n", encoding="utf-8")
    with Client(mosquitto.port, f"attwin/{base}/#") as upstream, agent:
        count = publish(mosquitto.port, base, part)
        agent.wait_for("readings_stored", count)
        rows = agent.rows("alerts", "list")
        number = {row["rule"]: str(row["alert"]) for row in rows}
        assert {(row["rule"], row["state"]) for row in rows} == {("in-use", "active"), ("stuffy", "active")}
        attwin("alerts", "ack", number["in-use"], "--config", config, "--note", "meeting")
        attwin("alerts", "snooze", number["stuffy"], "--config", config, "--for", "1h")
        wait_until(lambda: len(upstream.bodies("/events")) == 4, "upstream has all events")
        heard = [(body["type"], body["after"]["rule"]) for body in upstream.bodies("/events")]  # type: ignore[index]
        why = json.loads(attwin("alerts", "why", number["in-use"], "--config", config, "--json"))
        said = attwin("alerts", "why", number["in-use"], "--config", config)
        log = agent.config.with_name("alerts.jsonl")
        log.rename(log.with_suffix(".1"))
        agent.stop()

    assert heard[2:] == [("update", "in-use"), ("update", "stuffy")]
    assert sorted(heard[:2]) == [("new", "in-use"), ("new", "stuffy")]
    assert why["alert"]["note"] == "meeting"
    assert why["rule"].startswith("attention above 0.7, clears below 0.3, for 3m")
    assert why["clock"] == "trusted"
    assert why["newest"]["office"]["co2"]["age_ms"] >= 0
    assert set(why["features"]) == {entry["input"] for entry in why["contributions"]}
    strongest = abs(why["contributions"][0]["contribution"])
    assert strongest > 0.1
    assert all(abs(entry["contribution"]) <= strongest for entry in why["contributions"])
    assert {reading["metric"] for reading in why["readings"]} == {pair.split("=")[0] for pair in METRICS}
    assert "Contribution of each input to the score:" in said

    # nobody runs now: the database itself is changed, and the log, which was rotated away, goes on
    attwin("alerts", "ack", number["stuffy"], "--config", config)
    with agent:
        assert logged(agent) == ["update stuffy"]
        agent.stop()
    shown = json.loads(attwin("alerts", "show", number["stuffy"], "--config", config, "--json"))
    assert [event["type"] for event in shown["events"]] == ["new", "update", "update"]
    exported = attwin("alerts", "export", "--config", config, "--format", "csv").splitlines()
    assert [line.split(",")[1] for line in exported] == [
        "rule",
        *(rule for rule, _ in sorted(number.items(), key=lambda entry: int(entry[1]))),
    ]


SITE = """\
reactions:
  - {{name: panel, rules: [stuffy], topic: "{base}-site/{{entity}}/{{rule}}", retain: true}}
  - {{name: siren, rules: [stuffy], command: ["{python}", "-c", "{code}", "{out}", "{{type}}"], retries: 1}}
labels: {{topic: "{base}-labels/{{entity}}"}}
"""
CODE = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + chr(10))"


def test_a_site_reacts_without_upstream_and_labels_come_in(
    agent: Agent, mosquitto: Mosquitto, base: str, tmp_path: Path
) -> None:
    """An alert goes to a topic of the sensors' broker and to a command, in order; what is said of an entity is kept."""
    out = tmp_path / "siren"
    site = SITE.format(base=base, python=sys.executable, code=CODE, out=out)
    text = agent.config.read_text(encoding="utf-8").replace("    for: 5m\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("upstream:")]
    agent.config.write_text("\n".join(lines) + "\n" + site, encoding="utf-8")
    panel = f"{base}-site/office/stuffy"
    with Client(mosquitto.port, f"{base}-site/#") as heard, Client(mosquitto.port) as sensors, agent:
        sensors.publish(f"{base}/office/co2", "1200")
        wait_until(lambda: len(heard.messages) == 1, "the panel shows it")
        sensors.publish(f"{base}/office/co2", "500")
        wait_until(lambda: len(heard.messages) == 2, "the panel is empty")
        wait_until(lambda: out.exists() and out.read_text() == "new\nend\n", "the siren is off")
        sensors.publish(f"{base}-labels/office", '{"value": 1, "time": 1423000000, "by": "ann"}')
        sensors.publish(f"{base}-labels/nobody", "1")
        sensors.publish(f"{base}-labels/office", "much")
        agent.wait_for("messages_rejected", 2)
        said = attwin("label", "office", "0", "--at", "2015-02-04T10:00+01:00", "--config", str(agent.config), "--json")
        wait_until(lambda: agent.status().get("site_done") == 4, "all reactions are counted")
        assert agent.rows("reactions", "list") == []
        agent.stop()
    labels = [
        json.loads(line) for line in attwin("labels", "list", "--config", str(agent.config), "--json").splitlines()
    ]
    audit = [json.loads(line) for line in attwin("audit", "--config", str(agent.config), "--json").splitlines()]

    assert [(topic, bool(payload)) for topic, payload, _ in heard.messages] == [(panel, True), (panel, False)]
    assert json.loads(heard.messages[0][1])["value"] == 1200.0
    assert json.loads(said)["time_ms"] == 1_423_040_400_000
    assert [(row["entity"], row["time_ms"], row["value"], row["by"]) for row in labels] == [
        ("office", 1_423_000_000_000, 1.0, "ann"),
        ("office", 1_423_040_400_000, 0.0, getpass.getuser()),
    ]
    sums = {row["source"]: row for row in audit if row["what"] in ("messages received", "reactions queued")}
    assert sums[f"{base}-labels/{{entity}}"]["parts"] == {
        "decoded": 1, "rejected(unknown_entity)": 1, "rejected(not_decodable)": 1
    }  # fmt: skip
    assert sums["site"]["parts"] == {"waiting": 0, "done": 4}
    assert all(row["difference"] == 0 for row in audit)


def test_a_reaction_that_a_kill_interrupted_is_done_after_it(
    agent: Agent, mosquitto: Mosquitto, base: str, tmp_path: Path
) -> None:
    """What is to be done is durable with the alert; a command that has failed for good is listed with its problem."""
    out = tmp_path / "siren"
    # it hangs until the file is there, and fails where that holds "no"
    code = (
        f"import time, os, sys\nwhile not os.path.exists({str(out)!r}): time.sleep(.05)\n"
        f"sys.exit(open({str(out)!r}).read())"
    )
    site = f"reactions:\n  - {{name: siren, retries: 0, command: [{sys.executable}, '-c', {json.dumps(code)}]}}\n"
    text = agent.config.read_text(encoding="utf-8").replace("    for: 5m\n", "")
    agent.config.write_text(text + site, encoding="utf-8")
    with Client(mosquitto.port) as sensors, agent:
        sensors.publish(f"{base}/office/co2", "1200")
        wait_until(lambda: len(agent.rows("reactions", "list")) == 1, "the siren is to be heard")
        agent.kill()
    out.write_text("no power", encoding="utf-8")
    with agent:
        wait_until(lambda: agent.rows("reactions", "list")[0]["state"] == "failed", "it has failed")
        agent.stop()
    (row,) = agent.rows("reactions", "list")

    assert row["problem"] == "it ended with 1: no power"
    assert agent.rows("audit")[-1]["difference"] == 0
