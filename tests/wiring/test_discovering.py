"""What ``attwin init`` proposes: a configuration that is right, and that reads what was seen."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.errors import DataError
from attwin.settings.load import load_settings
from attwin.settings.model import BrokerSettings, Settings
from attwin.wiring.brokers import broker_given
from attwin.wiring.discovering import propose, rehearse
from support.sources import NOW_MS

T_S = 1_780_000_000
BROKER = BrokerSettings(url="mqtts://b:8883", username="u", ca_file=__file__)
Message = tuple[str, object]


def proposed(folder: Path, messages: list[tuple[str, bytes]]) -> Settings:
    """Return the configuration that is proposed for messages."""
    path = folder / "attwin.yaml"
    path.write_text(propose(messages, gateway="g", broker=BROKER, zone="Europe/Berlin"), encoding="utf-8")
    return load_settings(path)


def encoded(messages: list[Message]) -> list[tuple[str, bytes]]:
    """Return messages as they are on the wire: texts as they are, all else as JSON."""
    return [(topic, p.encode() if isinstance(p, str) else json.dumps(p).encode()) for topic, p in messages]


@pytest.mark.parametrize(
    ("messages", "readings", "metrics"),
    [
        pytest.param(
            [
                ("air/lab", {"ts": T_S * 1000, "temperature": 20, "air": {"co2": 700}}),
                ("air/hall", {"temperature": 19}),
            ],
            3,
            {"temperature", "air_co2"},
            id="several metrics in an object",
        ),
        pytest.param(
            [("gw/out", {"device": "lab", "temperature": 20, "co2": 700}), ("gw/out", {"device": "hall", "co2": 650})],
            3,
            {"temperature", "co2"},
            id="several metrics and the entity",
        ),
        pytest.param(
            [("gw", {"sensor_id": "lab", "type": "CO2 level", "value": 700, "timestamp": "2026-05-28T20:26:40Z"})],
            1,
            {"co2_level"},
            id="entity and metric, one level of a topic",
        ),
        pytest.param(
            [("gw/all", [{"device": d, "co2": 700, "time": T_S + n} for d in ("lab", "hall")]) for n in range(2)],
            4,
            {"co2"},
            id="a list of objects",
        ),
        pytest.param(
            [("gw/lab", [{"name": "temperature", "value": 20}, {"name": "co2", "value": 700}])],
            2,
            {"temperature", "co2"},
            id="a list of metrics",
        ),
        pytest.param(
            [("s/lab/co2", [{"v": 700, "t": T_S}, {"v": 710, "t": T_S + 1}]), ("s/hall/co2", [{"v": 650, "t": T_S}])],
            3,
            {"co2"},
            id="a list of values",
        ),
        pytest.param(
            [
                (
                    "gw/up",
                    {
                        "ts": T_S,
                        "device": "lab",
                        "data": {"rows": [{"type": "co2", "value": 700}, {"type": "noise", "value": 40}]},
                    },
                )
            ],
            2,
            {"co2", "noise"},
            id="a list within an object that says the rest",
        ),
        pytest.param(
            [("csv/lab", f"{T_S},20.5,700"), ("csv/hall", f"{T_S},19,\n{T_S + 1},19,640")],
            5,
            {"value1", "value2"},
            id="CSV",
        ),
        pytest.param(
            [("csv/lab", "time;Temperature;CO2 (ppm)\n2026-05-28T20:26:40Z;20.5;700")],
            2,
            {"temperature", "co2_ppm"},
            id="CSV with a header",
        ),
        pytest.param(
            [("s/lab/co2", f"{T_S * 1000}\t700"), ("s/hall/co2", f"{T_S * 1000}\t650")],
            2,
            {"co2"},
            id="CSV with one value",
        ),
        pytest.param(
            [("lines", f"lab,co2,700,{T_S}\nhall,temperature,20,{T_S}")],
            2,
            {"co2", "temperature"},
            id="CSV that says entity and metric",
        ),
        pytest.param(
            [("in/csv/lab", f"{T_S};20;45"), ("in/csv/hall", f"{T_S};19;50")],
            4,
            {"value1", "value2"},
            id="CSV of two entities at one time",
        ),
        pytest.param([("lines", "lab,ok,700\nhall,ok,650")], 2, {"lines"}, id="CSV with a word that says nothing"),
        pytest.param([("s/lab/door", "OPEN"), ("s/lab/co2", "700")], 2, {"door", "co2"}, id="words"),
        pytest.param(
            [("zigbee2mqtt/hall", {"state": "ON", "battery": 90})], 2, {"state", "battery"}, id="zigbee states"
        ),
        pytest.param([("co2", "700")], 1, {"co2"}, id="a topic of one level"),
        pytest.param([("co2", {"temp": 7, "noise": 4})], 2, {"temp", "noise"}, id="an object in a topic of one level"),
        pytest.param(
            [("home/lab/co2/state", "700"), ("home/lab/noise/state", "40")],
            2,
            {"co2", "noise"},
            id="a level that says nothing",
        ),
        pytest.param(
            [
                (f"dev/{room}/{sort}", {metric: 1, "ts": T_S})
                for room in "ab"
                for sort, metric in (("env", "co2"), ("el", "power"))
            ],
            4,
            {"co2", "power"},
            id="sorts of messages",
        ),
        pytest.param(
            [
                ("s/lab/co2", "700"),
                ("s/hall/co2", "650"),
                ("s/lab/all", {"temperature": 20, "noise": 40}),
                ("s/hall/raw", f"{T_S},3"),
            ],
            5,
            {"co2", "temperature", "noise", "raw"},
            id="several formats in like topics",
        ),
        pytest.param(
            [("s/lab/co2", "700"), ("zigbee2mqtt/lab", {"occupancy": True}), ("te/device/lab///m/x", {"co2": 3})],
            3,
            {"co2", "occupancy"},
            id="one entity in several sources",
        ),
        pytest.param(
            [("te/device/main///m/x", {"co2": 3}), ("te/device/main/service/fan/m/x", {"power": 3})],
            2,
            {"co2", "power"},
            id="thin-edge devices and services",
        ),
        pytest.param(
            [("homeassistant/sensor/kitchen/state", 21.5), ("homeassistant/binary_sensor/door/state", "on")],
            2,
            {"state"},
            id="Home Assistant states",
        ),
        pytest.param([("shellies/plug1/relay/0/power", "3")], 1, {"power"}, id="a part of a thing"),
        pytest.param([("ha/sensor/kitchen/state", {"value": 3})], 1, {"state"}, id="an object as a state"),
        pytest.param([("tele/plug/SENSOR", {"ENERGY": {"Power": 3}})], 1, {"energy_power"}, id="Tasmota"),
        pytest.param(
            [("machine/a/co2", "7"), ("spBv1.0/plant/NDEATH/n", "")], 1, {"co2", "value"}, id="a name that is taken"
        ),
    ],
)
def test_what_was_seen_is_read_by_what_is_proposed(
    tmp_path: Path, messages: list[Message], readings: int, metrics: set[str]
) -> None:
    """Every value becomes a reading, and nothing is rejected or taken for a repetition."""
    wire = encoded(messages)

    settings = proposed(tmp_path, wire)
    found, others = rehearse(settings, wire, now_ms=NOW_MS)

    assert (found, others) == (readings, {})
    names = {name for kind in settings.kinds.values() for name in kind.metrics}
    assert metrics == names


def test_what_is_guessed_or_skipped_is_said() -> None:
    """Beside the source, and below all of them."""
    wire = encoded([("s/lab/co2", "1"), ("homeassistant/sensor/x/config", {"x": 1}), ("attwin/g/health", {"x": 1})])

    text = propose(wire, gateway="g", broker=BROKER, zone="Europe/Berlin")

    assert "guessed from one topic: check which level is the entity" in text
    assert "#   attwin/#, what agents publish: 1 message\n" in text
    assert "#   homeassistant/.../config, what Home Assistant discovers devices by: 1 message\n" in text


def test_messages_without_a_reading_are_told(tmp_path: Path) -> None:
    """A configuration that finds nothing in a message says so before the agent runs."""
    settings = proposed(tmp_path, encoded([("air/lab", {"co2": 700}), ("air/hall", {"co2": 700})]))

    assert rehearse(settings, [("air/lab", b'{"CO2": 700}')], now_ms=NOW_MS) == (0, {"no_reading": 1})


def test_broker_and_zone_are_those_of_the_command(tmp_path: Path) -> None:
    """The agent finds its broker as init did, and prints times of its site."""
    settings = proposed(tmp_path, [("s/lab/co2", b"1")])

    assert (settings.broker, settings.gateway.zone) == (BROKER, "Europe/Berlin")


def test_the_example_of_a_rule_is_beyond_what_was_seen() -> None:
    """Taken as it is, it raises no alert at once."""
    wire = [("s/lab/co2", str(ppm).encode()) for ppm in (701, 706)]

    text = propose(wire, gateway="g", broker=BROKER, zone="UTC")

    assert "#   when: {metric: co2, above: 780, clear_below: 743}" in text


@pytest.mark.parametrize("given", ["127.0.0.1:1883", "localhost:1883", "broker"])
def test_a_broker_without_a_scheme_is_told_what_to_put_in_front(given: str) -> None:
    """It is the first thing that everybody forgets."""
    with pytest.raises(DataError, match=f"put mqtt:// in front, mqtt://{given}"):
        broker_given(given)


def test_shared_kinds_and_several_kinds_are_explained() -> None:
    """An entity that two kinds claim would be rejected from one of them."""
    wire = encoded([("badges/x/lab/presence", "1"), ("sensors/lab/co2", "700"), ("csv/hall", f"{T_S},1,2")])

    text = propose(wire, gateway="g", broker=BROKER, zone="UTC")

    assert "  # An entity id is the same entity in all topics, and of one kind: " in text
    assert "tell of the same entities: call this what those are\n  thing:\n" in text


LEVELS = st.sampled_from(["a", "b", "state", "co2", "temp", "1", "sensor", "relay", "badges", "homeassistant"])
PAYLOADS = st.one_of(
    st.sampled_from(["1", "2.5", "true", "ON", "open", "x", "", "1,2", "a;1", f"{T_S},3", "co2,4\nnoise,5", "[1, 2]"]),
    st.dictionaries(
        st.sampled_from(["value", "v", "co2", "temp", "device", "type", "time", "ts", "n", "rows"]),
        st.one_of(st.just(T_S), st.sampled_from(["lab", "co2"]), st.just([{"co2": 1, "device": "x"}])),
    ),
    st.lists(st.fixed_dictionaries({"value": st.integers(0, 9), "name": st.sampled_from(["lab", "co2"])}), max_size=2),
)


@given(messages=st.lists(st.tuples(st.lists(LEVELS, min_size=1, max_size=4).map("/".join), PAYLOADS), max_size=12))
def test_whatever_was_seen_the_proposal_is_a_configuration(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Message]
) -> None:
    """Mixtures that no source can read are listed in it, and it is right all the same."""
    wire = [*encoded(messages), ("sensors/lab/co2", b"1")]

    settings = proposed(tmp_path_factory.mktemp("mix"), wire)

    assert rehearse(settings, wire, now_ms=NOW_MS)[0] >= 1
