"""Facts about finding sources in messages."""

import json

from attwin.core.discover import discover


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
