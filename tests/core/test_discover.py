"""Facts about finding sources in messages."""

import json

import pytest

from attwin.core.discover import discover, skipped_as


def test_plain_topics_become_one_source() -> None:
    """The last level is the metric, the level before it that varies the entity, others that vary any text."""
    messages = [
        (f"site/{floor}/{room}/{metric}", b"21.5")
        for floor in ("1", "2")
        for room in ("lab", "hall")
        for metric in ("temperature", "co2")
    ]

    (source,), strange = discover(messages)

    assert source.topic == "site/+/{entity}/{metric}"
    assert {m.name: m.unit for m in source.metrics.values()} == {"temperature": "Cel", "co2": "ppm"}
    assert (source.topics, source.messages, strange) == (8, 8, {})


def test_objects_keep_their_fields_and_times() -> None:
    """Several numbers in an object are metrics; its time is found by its name and size."""
    payload = json.dumps({"ts": 1_780_000_000_000, "T": 20, "air": {"co2": 700}, "note": "x"}).encode()

    (source,), _ = discover([("air/lab", payload), ("air/hall", payload)])

    assert source.topic == "air/{entity}"
    assert source.payload == {"time": "ts", "time_unit": "ms", "values": {"t": "T", "air_co2": "air.co2"}}


def test_one_value_with_a_time_is_a_single_reading() -> None:
    """The field of the value is found by its name."""
    (source,), _ = discover([("s/lab/co2", b'{"v": 5, "time": "2026-01-01T00:00:00Z"}')])

    assert (source.topic, source.payload) == ("s/{entity}/{metric}", {"value": "v", "time_unit": "iso"})


def test_presets_are_recognised_by_their_topics() -> None:
    """thin-edge.io, Zigbee2MQTT and SenML; what is our own or a platform's is left out."""
    found, strange = discover(
        [
            ("te/device/main///m/env", b'{"temperature": 1}'),
            ("zigbee2mqtt/hall", b'{"occupancy": true, "linkquality": 3}'),
            ("lora/up", b'[{"bn": "urn:dev:x:", "n": "temp", "u": "Cel", "v": 3}]'),
            ("attwin/g/health", b'{"x": 1}'),
            ("homeassistant/sensor/x/config", b'{"x": 1}'),
            ("odd/text", b"hello"),
        ]
    )

    assert {source.topic: source.payload.get("format") for source in found} == {
        "te/device/{entity}///m/+": "thin-edge",
        "zigbee2mqtt/{entity}": "state",
        "lora/up": "senml",
    }
    assert strange == {"odd/text": 1}


def test_what_is_no_measurement_is_not_taken_for_one() -> None:
    """Events of thin-edge.io, texts, numbers in a list, and topics that no template can name."""
    messages = [
        ("te/device/main///e/boot", b'{"count": 3}'),
        ("log", b"started, 3 sensors"),
        ("s/lab/all", b"[1, 2]"),
        ("s/{lab}/co2", b"1"),
    ]

    assert discover(messages) == ([], {topic: 1 for topic, _ in messages})


def test_the_topic_says_the_entity_where_it_can() -> None:
    """A field of the payload is the entity only where topics hold readings of several, or there is one topic alone."""
    payloads = [json.dumps({"device": name, "co2": 7}).encode() for name in ("esp-1", "esp-2")]

    (apart,), _ = discover([("room/lab", payloads[0]), ("room/hall", payloads[1])])
    (together,), _ = discover([("room/all", payloads[0]), ("room/all", payloads[1])])

    assert (apart.topic, apart.payload) == ("room/{entity}", {"values": {"co2": "co2"}})
    assert (together.topic, together.payload["entity"]) == ("room/all", "device")


@pytest.mark.parametrize(
    ("topics", "template", "entities"),
    [
        pytest.param(["ha/sensor/kitchen/state"], "ha/sensor/{entity}/state", {"kitchen"}, id="one state"),
        pytest.param(["shellies/plug1/relay/0/power"], "shellies/{entity}/relay/0/{metric}", {"plug1"}, id="one part"),
        pytest.param(
            [f"shellies/plug1/relay/{n}/power" for n in (0, 1)],
            "shellies/{entity}/relay/+/{metric}",
            {"plug1"},
            id="two parts of one thing",
        ),
        pytest.param(
            [f"shellies/{plug}/relay/0/power" for plug in ("a", "b")],
            "shellies/{entity}/relay/0/{metric}",
            {"a", "b"},
            id="two things",
        ),
        pytest.param(["s/1/co2", "s/2/co2"], "s/{entity}/{metric}", {"1", "2"}, id="numbers that name"),
        pytest.param(["home/lab/co2/state"], "home/{entity}/{metric}/state", {"lab"}, id="a metric before the state"),
        pytest.param(["ha/door/get"], "ha/{entity}/get", {"door"}, id="the level before a last word"),
    ],
)
def test_a_last_word_a_part_or_a_sort_is_no_entity(topics: list[str], template: str, entities: set[str]) -> None:
    """The entity is the level that varies, else the last one that can be a name."""
    (source,), _ = discover([(topic, b"21.5") for topic in topics])

    assert (source.topic, source.entities) == (template, entities)
    assert (source.is_guess, source.has_namesakes) == (len(topics) == 1, "+" in template)


def test_the_sort_of_a_message_is_no_entity() -> None:
    """Also where one message is all there is."""
    (source,), _ = discover([("tele/tasmota_1/SENSOR", b'{"ENERGY": {"Power": 3}}')])

    assert (source.topic, source.entities) == ("tele/{entity}/SENSOR", {"tasmota_1"})


def test_what_names_a_person_is_not_written_down() -> None:
    """A level after `badges`, or one that reads like a name, becomes any text."""
    found, _ = discover([("badges/alice/lab/presence", b"1"), ("site/bob.jones/lab/presence", b"1")])

    assert [source.topic for source in found] == ["badges/+/{entity}/{metric}", "site/+/{entity}/{metric}"]
    assert all(source.leaves_out_people for source in found)


def test_a_name_in_one_payload_is_weaker_than_the_topic() -> None:
    """A sensor's `name` is often that of its sort; one that tells several entities of a topic apart is taken."""
    (alone,), _ = discover([("air/room7", b'{"name": "x", "co2": 4}')])
    (several,), _ = discover([("air/all", b'{"name": "x", "co2": 4}'), ("air/all", b'{"name": "y", "co2": 4}')])

    assert (alone.topic, alone.payload) == ("air/{entity}", {"values": {"co2": "co2"}})
    assert (several.topic, several.payload["entity"]) == ("air/all", "name")


def test_home_assistant_states_are_found_and_its_discovery_is_skipped() -> None:
    """A state is a number or a word by turns, so both are read as states."""
    found, strange = discover(
        [
            ("homeassistant/sensor/kitchen/state", b"21.5"),
            ("homeassistant/binary_sensor/door/state", b"on"),
            ("homeassistant/sensor/kitchen/config", b'{"x": 1}'),
            ("homeassistant/status", b"online"),
        ]
    )

    assert {source.topic: (source.payload, source.metric) for source in found} == {
        "homeassistant/sensor/{entity}/state": ({"format": "state"}, "state"),
        "homeassistant/binary_sensor/{entity}/state": ({"format": "state"}, "state"),
    }
    assert strange == {"homeassistant/status": 1}
    assert "discovers" in skipped_as("homeassistant/sensor/kitchen/config")


def test_sources_of_the_same_entities_share_a_kind_that_is_none_of_their_names() -> None:
    """CO2 of a room is no badge. Sources of others keep their names, and a sort of sensor is a better one."""
    found, _ = discover(
        [
            ("badges/alice/lab/presence", b"1"),
            ("sensors/lab/co2", b"700"),
            ("csv/hall", b"1780000000,1,2"),
            ("ha/binary_sensor/door/state", b"on"),
        ]
    )

    assert {source.topic: source.kind for source in found} == {
        "badges/+/{entity}/{metric}": "thing",
        "sensors/{entity}/{metric}": "thing",
        "csv/{entity}": "csv",
        "ha/binary_sensor/{entity}/state": "binary_sensor",
    }
