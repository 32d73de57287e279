"""Facts about payload formats, from the configuration to readings."""

import json
from pathlib import Path

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attwin.core.types import EmptyReason, Reason, RejectReason
from support.sources import HEAD, NOW_MS, Source, sums_hold

T_MS = 1_780_000_000_000
T_S = T_MS // 1000


def reasons(ingested: object) -> list[str]:
    """Return the reasons of all rejects."""
    return [str(reject.reason) for reject in ingested.rejects]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "topic", "payload", "expected"),
    [
        pytest.param(
            "{topic: 's/{entity}', kind: room, payload: {values: {temperature: env.t, co2: co2}}}",
            "s/lab",
            {"env": {"t": 21.5}, "co2": 700, "time": T_S},
            [("lab", "temperature", 21.5, T_MS), ("lab", "co2", 700.0, T_MS)],
            id="several metrics by path",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, payload: {values: {temperature: t, co2: c}}}",
            "s/lab",
            {"t": 21, "c": None, "time": T_S},
            [("lab", "temperature", 21.0, T_MS)],
            id="what is not there is no reading",
        ),
        pytest.param(
            "{topic: in, kind: room, payload: {entity: dev.id, metric: type, value: v, time: ts, time_unit: ms}}",
            "in",
            {"dev": {"id": "hall"}, "type": "co2", "v": 650, "ts": T_MS + 5},
            [("hall", "co2", 650.0, T_MS + 5)],
            id="entity and metric in the payload",
        ),
        pytest.param(
            "{topic: in, kind: room, payload: {entity: id, metric: q, values: {temperature: tmp}}}",
            "in",
            {"id": 7, "q": "tmp", "value": 20, "time": T_S},
            [("7", "temperature", 20.0, T_MS)],
            id="a number as entity, another name of a metric",
        ),
        pytest.param(
            "{topic: 's/{entity}/{metric}', kind: room, payload: {items: data.rows, time: t}}",
            "s/lab/co2",
            {"data": {"rows": [{"value": 1, "t": T_S}, {"value": 2, "t": T_S + 1}]}},
            [("lab", "co2", 1.0, T_MS), ("lab", "co2", 2.0, T_MS + 1000)],
            id="a list in an object",
        ),
        pytest.param(
            "{topic: 's/{metric}', kind: room, payload: {items: ., entity: id}}",
            "s/co2",
            [{"id": "a", "value": 1, "time": T_S}, {"id": "b", "value": 2, "time": T_S}],
            [("a", "co2", 1.0, T_MS), ("b", "co2", 2.0, T_MS)],
            id="a payload that is a list",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, payload: {items: rows, values: {temperature: t}}}",
            "s/lab",
            {"time": T_S, "rows": [{"t": 1}]},
            [("lab", "temperature", 1.0, T_MS)],
            id="one time for a list",
        ),
        pytest.param(
            "{topic: gw, kind: room, payload: {items: rows, entity: dev, metric: q, value: v}}",
            "gw",
            {"dev": "lab", "time": T_S, "q": "co2", "rows": [{"v": 1}, {"v": 2, "dev": "hall", "q": "temperature"}]},
            [("lab", "co2", 1.0, T_MS), ("hall", "temperature", 2.0, T_MS)],
            id="one entity and one metric for a list",
        ),
        pytest.param(
            "{topic: 'te/device/{entity}///m/+', kind: room, payload: {format: thin-edge, values: {co2: air.co2}}}",
            "te/device/main///m/environment",
            {"time": "2026-05-28T20:26:40Z", "air": {"co2": 640}},
            [("main", "co2", 640.0, T_MS)],
            id="thin-edge with a group",
        ),
        pytest.param(
            "{topic: 'te/device/{entity}///m/+', kind: room, payload: {format: thin-edge}}",
            "te/device/child1///m/",
            {"time": T_S, "temperature": 3, "pressure": 1013},
            [("child1", "temperature", 3.0, T_MS)],
            id="thin-edge by the metrics' own names",
        ),
        pytest.param(
            "{topic: 'zigbee2mqtt/{entity}', kind: room, payload: {format: state, values: {occupied: occupancy}}}",
            "zigbee2mqtt/hall",
            {"occupancy": True, "linkquality": 80, "last_seen": "2026-05-28T20:26:40+00:00"},
            [("hall", "occupied", 1.0, T_MS)],
            id="Zigbee2MQTT",
        ),
        pytest.param(
            "{topic: 'ha/{entity}', kind: room, payload: {format: state}}",
            "ha/hall",
            {"temperature": "21.5", "occupied": "OFF", "co2": "unavailable", "last_seen": T_MS},
            [("hall", "temperature", 21.5, T_MS), ("hall", "occupied", 0.0, T_MS)],
            id="words and numbers as text",
        ),
        pytest.param(
            "{topic: 'in/{entity}', kind: room, payload: {values: {temperature: t}, units: {temperature: degF}}}",
            "in/x",
            {"t": 212, "time": T_S},
            [("x", "temperature", pytest.approx(100.0), T_MS)],
            id="another unit",
        ),
    ],
)
def test_a_json_payload_gives_its_readings(
    tmp_path: Path, source: str, topic: str, payload: object, expected: list[tuple[str, str, float, int]]
) -> None:
    """Entity, metric, value and time are found where the configuration says."""
    own = Source(tmp_path, source)

    taken = own.take((topic, json.dumps(payload).encode()))

    assert own.readings(taken) == expected
    assert taken.rejects == []
    assert sums_hold(taken)


STATE = "{topic: 's/{entity}', kind: room, payload: {format: state}}"
THIN_EDGE = "{topic: 's/{entity}', kind: room, payload: {format: thin-edge}}"
VALUES = "{topic: 's/{entity}', kind: room, payload: {values: {temperature: t}}}"
LIST = "{topic: 's/{entity}', kind: room, payload: {items: readings, values: {temperature: t}}}"
CSV = "{topic: 's/{entity}', kind: room, payload: {format: csv, columns: [temperature, co2]}}"
OF_SENML = "{topic: s/lab, kind: room, payload: {format: senml}}"


@pytest.mark.parametrize(
    ("source", "payload", "reason"),
    [
        pytest.param(VALUES, b'{"name": "x"}', EmptyReason.NO_READING, id="another field"),
        pytest.param(VALUES, b"[]", EmptyReason.NO_READING, id="an empty list"),
        pytest.param(LIST, b'{"readings": []}', EmptyReason.NO_READING, id="an empty list in an object"),
        pytest.param(THIN_EDGE, b"{}", EmptyReason.NO_READING, id="an empty object"),
        pytest.param(STATE, b'{"action": "single"}', EmptyReason.NO_READING, id="an action"),
        pytest.param(STATE, b'{"co2": "unavailable"}', EmptyReason.UNAVAILABLE, id="a state that there is none"),
        pytest.param(STATE, b"unknown", EmptyReason.UNAVAILABLE, id="a word that there is none"),
        pytest.param(CSV, b",", EmptyReason.NO_READING, id="empty cells"),
        pytest.param(OF_SENML, b'[{"bn": "a:"}]', EmptyReason.NO_READING, id="base fields alone"),
    ],
)
def test_a_message_without_a_reading_is_counted_as_empty(
    tmp_path: Path, source: str, payload: bytes, reason: EmptyReason
) -> None:
    """It was received, and neither gave a reading nor was rejected; the log learns the topic where that is odd."""
    own = Source(tmp_path, source)

    taken = own.take(("s/lab", payload), ("s/lab", payload))

    assert taken.counts == {(own.topic, "messages_received", ""): 2, (own.topic, "messages_empty", reason): 2}
    assert list(taken.empty) == ([(own.topic, "s/lab", 2)] if reason == EmptyReason.NO_READING else [])
    assert (taken.rejects, sums_hold(taken)) == ([], True)


@pytest.mark.parametrize(
    ("source", "payload"),
    [
        pytest.param(STATE, b"offline", id="a word that is no state"),
        pytest.param(STATE, b"5", id="a number where an object is needed"),
        pytest.param(VALUES, b'"x"', id="a text where an object is needed"),
        pytest.param(CSV, b"a;b", id="a line of other columns"),
        pytest.param(CSV, b"1\n2", id="two of them"),
    ],
)
def test_a_payload_that_cannot_be_read_is_rejected_as_a_whole(tmp_path: Path, source: str, payload: bytes) -> None:
    """No reading of it is counted."""
    own = Source(tmp_path, source)

    taken = own.take(("s/lab", payload))

    assert taken.counts == {
        (own.topic, "messages_received", ""): 1,
        (own.topic, "messages_rejected", RejectReason.NOT_DECODABLE): 1,
    }
    assert reasons(taken) == [RejectReason.NOT_DECODABLE]


def test_a_line_of_other_columns_among_good_ones_is_rejected_alone(tmp_path: Path) -> None:
    """The rest is taken."""
    own = Source(tmp_path, CSV)

    taken = own.take(("s/lab", b"20,700\n3"))

    assert [value for _, _, value, _ in own.readings(taken)] == [20.0, 700.0]
    assert taken.counts[own.topic, "readings_rejected", RejectReason.NOT_DECODABLE] == 1
    assert sums_hold(taken)


def test_a_state_topic_may_hold_a_bare_word(tmp_path: Path) -> None:
    """Home Assistant publishes states as plain text; a state that says nothing is no reading."""
    own = Source(tmp_path, "{topic: 'ha/{entity}/state', kind: room, metric: occupied, payload: {format: state}}")

    taken = own.take(*[("ha/door/state", word) for word in (b"on", b"off", b"unavailable", b"0.5", b"sideways")])

    assert [value for _, _, value, _ in own.readings(taken)] == [1.0, 0.0, 0.5]
    assert reasons(taken) == [RejectReason.NOT_DECODABLE]
    assert sums_hold(taken)


def test_fields_that_are_not_asked_for_are_counted_as_ignored(tmp_path: Path) -> None:
    """A device sends more than one wants; it is in the sums and not in the reject ring."""
    own = Source(tmp_path, "{topic: 'z/{entity}', kind: room, payload: {format: state}}")

    taken = own.take(("z/a", b'{"temperature": 1, "linkquality": 80, "voltage": 3000, "state": "ON", "action": "x"}'))

    assert taken.counts["z/{entity}", "readings_suppressed", "not_configured"] == 3
    assert sums_hold(taken)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b'{"id": "a", "q": "co2", "value": "many"}', RejectReason.NOT_DECODABLE, id="text"),
        pytest.param(b'{"id": "a", "q": "co2"}', RejectReason.NOT_DECODABLE, id="no value"),
        pytest.param(b'{"q": "co2", "value": 1}', RejectReason.UNKNOWN_ENTITY, id="no entity"),
        pytest.param(b'{"id": true, "q": "co2", "value": 1}', RejectReason.UNKNOWN_ENTITY, id="an odd entity"),
        pytest.param(b'{"id": "a/b", "q": "co2", "value": 1}', RejectReason.BAD_TOPIC, id="no id"),
        pytest.param(b'{"id": "a", "value": 1}', RejectReason.UNKNOWN_METRIC, id="no metric"),
        pytest.param(b'{"id": "a", "q": "noise", "value": 1}', RejectReason.UNKNOWN_METRIC, id="an unknown metric"),
        pytest.param(b'{"id": "a", "q": "co2", "value": 1, "time": "x"}', RejectReason.BAD_TIME, id="no time"),
        pytest.param(b'{"id": "a", "q": "co2", "value": 1, "time": 1e300}', RejectReason.BAD_TIME, id="a far time"),
        pytest.param(b'{"id": "a", "q": "co2", "value": 1' + b"0" * 400 + b"}", RejectReason.NOT_FINITE, id="too big"),
        pytest.param(
            b'{"id": "a", "q": "co2", "value": 1, "time": 1' + b"0" * 400 + b"}", RejectReason.BAD_TIME, id="no float"
        ),
        pytest.param(b"7", RejectReason.UNKNOWN_ENTITY, id="a bare number"),
        pytest.param(b"[" * 60_000, RejectReason.NOT_DECODABLE, id="deep"),
        pytest.param(b"\xff", RejectReason.NOT_DECODABLE, id="no UTF-8"),
    ],
)
def test_a_bad_object_is_refused_with_a_reason(tmp_path: Path, payload: bytes, reason: RejectReason) -> None:
    """Its neighbours come through, and nothing is learned from it."""
    own = Source(tmp_path, "{topic: in, kind: room, payload: {entity: id, metric: q}}")
    good = b'{"id": "good", "q": "co2", "value": 1}'

    taken = own.take(("in", good), ("in", payload), ("in", good))

    assert reasons(taken) == [reason]
    assert [entity for entity, *_ in own.readings(taken)] == ["good", "good"]
    assert own.catalogue.live_count == 1
    assert sums_hold(taken)


SENML = "{topic: 'senml', kind: room, payload: {format: senml}}"


@pytest.mark.parametrize(
    ("pack", "expected"),
    [
        pytest.param(
            [{"bn": "urn:dev:ow:10e2073a01080063:", "n": "temperature", "u": "Cel", "v": 23.1, "t": T_S}],
            [("urn:dev:ow:10e2073a01080063", "temperature", 23.1, T_MS)],
            id="base name",
        ),
        pytest.param(
            [
                {"bn": "a/", "bt": T_S, "bu": "Cel", "n": "temperature", "v": 1},
                {"n": "temperature", "v": 2, "t": 5},
                {"n": "temperature", "v": 3, "t": -5},
            ],
            [("a", "temperature", v, T_MS + 1000 * t) for v, t in ((1.0, 0), (2.0, 5), (3.0, -5))],
            id="base time",
        ),
        pytest.param(
            [
                {"bn": "a/", "bt": T_S, "bv": 20, "n": "temperature", "v": 1},
                {"bn": "b/", "bt": T_S + 10, "bv": 30, "n": "temperature", "v": 2},
                {"n": "temperature", "v": 3, "t": 1},
            ],
            [
                ("a", "temperature", 21.0, T_MS),
                ("b", "temperature", 32.0, T_MS + 10_000),
                ("b", "temperature", 33.0, T_MS + 11_000),
            ],
            id="bases that change on the way",
        ),
        pytest.param(
            [{"n": "a/temperature", "u": "K", "v": 300, "t": T_S}, {"n": "a/co2", "u": "/", "v": 0.0007, "t": T_S}],
            [
                ("a", "temperature", pytest.approx(26.85), T_MS),
                ("a", "co2", pytest.approx(700.0), T_MS),
            ],
            id="units",
        ),
        pytest.param(
            [{"bn": "a/", "bt": T_S}, {"n": "occupied", "vb": True}, {"n": "occupied", "vb": False, "t": 1}],
            [("a", "occupied", 1.0, T_MS), ("a", "occupied", 0.0, T_MS + 1000)],
            id="booleans after a record of bases alone",
        ),
        pytest.param(
            [{"n": "a/co2", "v": 5, "t": -30}, {"n": "a/co2", "v": 6, "t": 30}],
            [("a", "co2", 5.0, NOW_MS - 30_000), ("a", "co2", 6.0, NOW_MS + 30_000)],
            id="relative times are about now",
        ),
        pytest.param(
            [{"bn": "a/", "bver": 5, "bt": T_S, "n": "co2", "v": 5, "ut": 3600}],
            [("a", "co2", 5.0, T_MS)],
            id="an older version, and an update time",
        ),
    ],
)
def test_a_senml_pack_is_resolved(tmp_path: Path, pack: list[dict[str, object]], expected: list[object]) -> None:
    """Base fields apply to the record they stand in and to all after it (RFC 8428, section 4.6); CBOR says the same."""
    labels = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "n": 0, "u": 1, "v": 2, "vb": 4, "t": 6, "ut": 7}
    as_cbor = cbor2.dumps([{labels[name]: value for name, value in record.items()} for record in pack])
    by_json = Source(tmp_path, SENML)
    by_cbor = Source(tmp_path, "{topic: 'senml', kind: room, payload: {format: senml-cbor}}")

    # twice: the second time from what is remembered of the first
    for own, payload in (
        (by_json, json.dumps(pack).encode()),
        (by_json, json.dumps(pack).encode()),
        (by_cbor, as_cbor),
    ):
        taken = own.take(("senml", payload))
        assert own.readings(taken) == expected
        assert taken.rejects == []
        assert sums_hold(taken)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"[]", id="empty"),
        pytest.param(b"{}", id="no list"),
        pytest.param(b'[{"v": 1}]', id="no name"),
        pytest.param(b'[{"n": "a/co2", "v": "1"}]', id="text for a number"),
        pytest.param(b'[{"bver": 11, "n": "a/co2", "v": 1}]', id="a newer version"),
        pytest.param(b'[{"bver": 9, "n": "a/co2", "v": 1}, {"bver": 10, "n": "a/co2", "v": 1}]', id="two versions"),
        pytest.param(b'[{"n": "a/co2", "v": 1, "must_": 1}]', id="a field that must be understood"),
        pytest.param(b"[1]", id="no record"),
        pytest.param(b"\xff\xff", id="no JSON"),
    ],
)
def test_a_pack_that_is_none_is_rejected_as_a_whole(tmp_path: Path, payload: bytes) -> None:
    """Nothing of it is taken, and the next one is."""
    own = Source(tmp_path, SENML)

    taken = own.take(("senml", payload), ("senml", b'[{"n": "b/co2", "v": 2}]'))

    assert reasons(taken) == [RejectReason.NOT_DECODABLE]
    assert [entity for entity, *_ in own.readings(taken)] == ["b"]
    assert sums_hold(taken)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param({"n": "a/noise", "v": 1}, RejectReason.UNKNOWN_METRIC, id="metric"),
        pytest.param({"n": "co2", "v": 1}, RejectReason.UNKNOWN_METRIC, id="no entity in the name"),
        pytest.param({"n": "a/co2", "u": "Cel", "v": 1}, RejectReason.WRONG_UNIT, id="unit"),
        pytest.param({"n": "a/co2", "u": "furlong", "v": 1}, RejectReason.WRONG_UNIT, id="no unit"),
        pytest.param({"n": "a/co2", "vs": "much"}, RejectReason.NOT_DECODABLE, id="text"),
        pytest.param({"n": "a/co2", "s": 5}, RejectReason.NOT_DECODABLE, id="a sum alone"),
        pytest.param({"n": "a/co2", "v": 1, "t": 1e15}, RejectReason.BAD_TIME, id="a far time"),
        pytest.param({"n": "a/co2", "bv": 1e308, "v": 1.7e308}, RejectReason.NOT_FINITE, id="a sum without end"),
    ],
)
def test_one_bad_record_is_refused_and_the_others_are_taken(
    tmp_path: Path, record: dict[str, object], reason: RejectReason
) -> None:
    """A device with one odd sensor still delivers the rest; also when its pack comes again."""
    own = Source(tmp_path, SENML)
    pack = json.dumps([{"n": "a/temperature", "v": 1}, record]).encode()

    for _ in range(2):
        taken = own.take(("senml", pack))
        assert reasons(taken) == [reason]
        assert [metric for _, metric, *_ in own.readings(taken)] == ["temperature"]
        assert sums_hold(taken)


def test_names_may_follow_a_template_of_their_own(tmp_path: Path) -> None:
    """Where the entity is in the topic, only the metric of a name counts; metrics may have other names."""
    by_name = Source(tmp_path, "{topic: s, kind: room, payload: {format: senml, name: 'urn:dev:{entity};{metric}'}}")
    by_topic = Source(
        tmp_path, "{topic: 's/{entity}', kind: room, payload: {format: senml, values: {temperature: temp}}}"
    )

    named = by_name.take(("s", b'[{"n": "urn:dev:x;co2", "v": 1}]'))
    in_topic = by_topic.take(("s/lab", b'[{"bn": "urn:dev:x:", "n": "temp", "v": 1}]'))

    assert [r[:2] for r in by_name.readings(named)] == [("x", "co2")]
    assert [r[:2] for r in by_topic.readings(in_topic)] == [("lab", "temperature")]


def test_a_series_that_was_forgotten_is_learned_again(tmp_path: Path) -> None:
    """What was remembered of names is dropped when an entity is forgotten, so readings never go to another entity."""
    own = Source(tmp_path, SENML)
    own.take(("senml", b'[{"n": "old/co2", "v": 1}]'))
    own.ingest.routes.unlearn(0)
    own.take(("senml", b'[{"n": "new/co2", "v": 1}]'))

    again = own.take(("senml", b'[{"n": "old/co2", "v": 2}]'))

    assert [r[:3] for r in own.readings(again)] == [("old", "co2", 2.0)]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payloads=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.integers()),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(
                        st.sampled_from(["n", "v", "t", "bn", "bt", "vb", "u", "id", "q", "value", "time", "s"]),
                        inner,
                        max_size=5,
                    ),
                ),
            ).map(lambda tree: json.dumps(tree).encode()),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_payload_of_any_format_raises(tmp_path: Path, payloads: list[bytes]) -> None:
    """Whatever arrives on any source, every message and every reading is accounted for."""
    own = Source(
        tmp_path,
        "{topic: 'senml', kind: room, payload: {format: senml}}",
        "{topic: 'cbor', kind: room, payload: {format: senml-cbor}}",
        "{topic: 'csv', kind: room, payload: {format: csv, columns: [time, entity, metric, value]}}",
        "{topic: 'objects', kind: room, payload: {entity: id, metric: q}}",
        "{topic: 'state/{entity}', kind: room, payload: {format: state}}",
        "{topic: 'te/device/{entity}///m/+', kind: room, payload: {format: thin-edge}}",
        "{topic: 'spBv1.0/plant', kind: room, payload: {format: sparkplug}}",
        "{topic: 'plain/{entity}/{metric}', kind: room}",
    )
    topics = (
        "senml",
        "cbor",
        "csv",
        "objects",
        "state/a",
        "te/device/a///m/x",
        "spBv1.0/plant/NBIRTH/n",
        "plain/a/co2",
    )

    taken = own.take(*[(topic, payload) for topic in topics for payload in payloads])

    assert sums_hold(taken)
    received = sum(count for (_, name, _), count in taken.counts.items() if name == "messages_received")
    assert received == len(topics) * len(payloads)


@pytest.mark.parametrize(
    ("columns", "payload", "expected"),
    [
        pytest.param("[time, value]", b"1780000000,5", [("lab", "co2", 5.0, T_MS)], id="one line"),
        pytest.param(
            "[time, value]",
            b"1780000000,5\r\n1780000001.5, 6\n\n",
            [("lab", "co2", 5.0, T_MS), ("lab", "co2", 6.0, T_MS + 1500)],
            id="lines",
        ),
        pytest.param("[_, value]", b'"a,b",7', [("lab", "co2", 7.0, NOW_MS)], id="quoted, and no time"),
    ],
)
def test_csv_lines_are_read(tmp_path: Path, columns: str, payload: bytes, expected: list[object]) -> None:
    """A payload is one line or several."""
    own = Source(
        tmp_path, f"{{topic: 's/{{entity}}/{{metric}}', kind: room, payload: {{format: csv, columns: {columns}}}}}"
    )

    taken = own.take(("s/lab/co2", payload))

    assert own.readings(taken) == expected
    assert taken.rejects == []


@pytest.mark.parametrize(
    ("columns", "payload", "readings", "refused"),
    [
        pytest.param("[time, CO2]", b"when,CO2\n1780000000,700", 1, 0, id="names of metrics"),
        pytest.param("[entity, metric, value]", b"a,b,value\nlab,CO2,7\nlab,CO2,8", 2, 0, id="the word value"),
        pytest.param("[time, CO2]", b"when,CO2", 0, 1, id="no line after it"),
        pytest.param("[time, CO2]", b"1780000000,700\nwhen,CO2", 1, 1, id="not the first line"),
        pytest.param("[time, CO2]", b"when,O2\n1780000000,700", 1, 1, id="other names"),
    ],
)
def test_a_first_line_that_names_the_columns_is_no_reading(
    tmp_path: Path, columns: str, payload: bytes, readings: int, refused: int
) -> None:
    """A header is passed over; what only looks like one is refused."""
    topic = "in" if "entity" in columns else "'{entity}'"
    source = Source(
        tmp_path,
        f"{{topic: {topic}, kind: room, payload: {{format: csv, columns: {columns}, values: {{co2: CO2}}}}}}",
    )

    ingested = source.take(("in", payload))

    assert (len(ingested.batch), len(ingested.rejects)) == (readings, refused)
    assert sums_hold(ingested)


def test_csv_columns_may_be_metrics_or_say_them(tmp_path: Path) -> None:
    """A wide line holds a reading a column, a long one names its metric; an empty cell is no reading."""
    wide = Source(
        tmp_path,
        "{topic: 's/{entity}', kind: room, payload: {format: csv, separator: ';', time_unit: iso, "
        "columns: [time, T, co2], values: {temperature: T}}}",
    )
    long = Source(tmp_path, "{topic: s, kind: room, payload: {format: csv, columns: [entity, metric, value, _]}}")

    by_column = wide.take(("s/a", b"2026-05-28T20:26:40Z;20;\n2026-05-28T20:26:41Z;21;700"))
    by_name = long.take(("s", b"a,co2,1,x\nb,noise,2,x\nc,co2\nd,co2,zero,x"))

    assert wide.readings(by_column) == [
        ("a", "temperature", 20.0, T_MS),
        ("a", "temperature", 21.0, T_MS + 1000),
        ("a", "co2", 700.0, T_MS + 1000),
    ]
    assert [r[:3] for r in long.readings(by_name)] == [("a", "co2", 1.0)]
    # one row a message and reason, however many readings
    assert sorted((str(r.reason), r.count) for r in by_name.rejects) == [("not_decodable", 2), ("unknown_metric", 1)]
    assert sums_hold(by_name)


def test_readings_of_several_sources_stay_in_the_order_of_arrival(tmp_path: Path) -> None:
    """A batch of mixed formats is in the order in which the messages came."""
    own = Source(tmp_path, SENML, "{topic: 'plain/{entity}/{metric}', kind: room}")

    taken = own.take(
        ("plain/a/co2", b"1"), ("senml", b'[{"n": "a/co2", "v": 2}, {"n": "a/co2", "v": 3}]'), ("plain/a/co2", b"4")
    )

    assert [value for _, _, value, _ in own.readings(taken)] == [1.0, 2.0, 3.0, 4.0]
    assert taken.rows.place.tolist() == [0, 1, 1, 2]
    times = [time_ms for *_, time_ms in own.readings(taken)]
    assert sorted(set(times)) == times


def test_a_redelivered_message_without_a_time_is_a_duplicate(tmp_path: Path) -> None:
    """The same packet id and content with DUP is the same reading; with another content or id, or no DUP, a new one."""
    own = Source(tmp_path, "{topic: 'p/{entity}/{metric}', kind: room}")
    own.take(("p/a/co2", b"1"), packet_ids=[7])

    again = own.take(("p/a/co2", b"1"), packet_ids=[7], flags=[0x3A])
    others = own.take(
        ("p/a/co2", b"2"), ("p/b/co2", b"1"), ("p/a/co2", b"1"), packet_ids=[7, 7, 8], flags=[0x3A, 0x3A, 0x3A]
    )
    new = own.take(("p/a/co2", b"1"), packet_ids=[8], flags=[0x32])

    assert own.readings(again) == []
    assert again.counts["p/{entity}/{metric}", "readings_duplicate", ""] == 1
    assert sums_hold(again)
    assert len(others.batch) == 3
    assert len(new.batch) == 1


def test_identifiers_become_pseudonyms_before_anything_is_kept(tmp_path: Path) -> None:
    """Neither the catalogue nor the rejects hold an identifier; the same person has the same pseudonym."""
    own = Source(
        tmp_path,
        "{topic: 'badge/{person}/{entity}/{metric}', kind: room, identifiers: [entity, person, mac]}",
        "{topic: in, kind: room, identifiers: [entity], payload: {entity: who.id, metric: q}}",
        "{topic: senml, kind: room, identifiers: [entity], payload: {format: senml}}",
    )
    secrets = (b"alice", b"ab:cd", b"bob")

    taken = own.take(
        ("badge/bob/alice/co2", b"1"),
        ("badge/bob/alice/co2", b'{"value": "x", "mac": "ab:cd", "deep": [{"mac": "ab:cd"}]}'),
        ("badge/bob/alice/noise", b"1"),
        ("badge/bob/alice/co2", b"{ab:cd"),
        ("in", b'{"who": {"id": "alice"}, "q": "co2", "value": 2}'),
        ("in", b'{"who": {"id": "alice"}, "q": "co2", "value": "x"}'),
        ("senml", b'[{"n": "alice/co2", "v": 3}]'),
        ("senml", b'[{"n": "alice/co2", "vs": "x"}]'),
        ("nowhere/alice", b"alice"),
    )

    assert len({entity for entity, *_ in own.readings(taken)}) == 1
    assert [value for _, _, value, _ in own.readings(taken)] == [1.0, 2.0, 3.0]
    assert own.catalogue.entity_ids[0].startswith("p-")
    assert len(taken.rejects) == 6
    for reject in taken.rejects:
        kept = reject.topic.encode() + reject.payload + reject.detail.encode()
        assert not [secret for secret in secrets if secret in kept], kept
    assert sums_hold(taken)


def test_pseudonyms_need_a_key_and_differ_between_kinds(tmp_path: Path) -> None:
    """Two kinds cannot be linked by the pseudonyms of one person, and two keys give two pseudonyms."""
    head = HEAD.replace("sources:", "  desk:\n    metrics: {co2: {unit: ppm}}\nsources:")
    sources = [
        f"{{topic: '{kind}/{{entity}}/{{metric}}', kind: {kind}, identifiers: [entity]}}" for kind in ("room", "desk")
    ]
    own = Source(tmp_path, *sources, head=head)
    other = Source(tmp_path, *sources, head=head.replace("k" * 32, "j" * 32))

    for each in (own, other):
        each.take(("room/alice/co2", b"1"), ("desk/alice/co2", b"1"))

    assert len({*own.catalogue.entity_ids, *other.catalogue.entity_ids}) == 4


def test_a_value_that_overflows_in_the_metrics_unit_is_refused(tmp_path: Path) -> None:
    """A conversion may make a finite number endless."""
    own = Source(tmp_path, "{topic: 'p/{entity}/{metric}', kind: room, payload: {units: {co2: /}}}")

    taken = own.take(("p/a/co2", b"1e305"), ("p/a/co2", b"0.0007"))

    assert [value for _, _, value, _ in own.readings(taken)] == [pytest.approx(700.0)]
    assert reasons(taken) == [RejectReason.NOT_FINITE]
    assert sums_hold(taken)


def test_a_record_without_a_value_does_not_hide_the_next_one(tmp_path: Path) -> None:
    """What is remembered of a pack depends on which records have values."""
    own = Source(tmp_path, SENML)

    own.take(("senml", b'[{"n": "a/temperature"}]'))
    taken = own.take(("senml", b'[{"n": "a/temperature", "v": 21}]'))

    assert [r[:3] for r in own.readings(taken)] == [("a", "temperature", 21.0)]


def test_a_relative_time_is_a_time_of_receipt(tmp_path: Path) -> None:
    """It is marked so, and a second delivery is found to be one although its time would differ."""
    own = Source(tmp_path, SENML)
    pack = b'[{"n": "a/temperature", "v": 1, "t": -5}]'

    first = own.take(("senml", pack), packet_ids=[9])
    again = own.take(("senml", pack), packet_ids=[9], flags=[0x3A])

    assert first.batch.reason.tolist() == [Reason.RECEIVED]
    assert own.readings(again) == []
    assert sums_hold(again)


def test_a_first_and_a_second_delivery_may_come_in_one_batch(tmp_path: Path) -> None:
    """After a reconnection both may wait together."""
    own = Source(tmp_path, "{topic: 'p/{entity}/{metric}', kind: room}")

    taken = own.take(("p/a/co2", b"1"), ("p/a/co2", b"1"), packet_ids=[7, 7], flags=[0x32, 0x3A])

    assert len(taken.batch) == 1
    assert taken.counts["p/{entity}/{metric}", "readings_duplicate", ""] == 1


def test_a_message_of_many_bad_readings_is_one_reject(tmp_path: Path) -> None:
    """All are counted, and the ring is not flooded."""
    own = Source(tmp_path, SENML)
    pack = json.dumps([{"n": f"a/m{number}", "v": 1} for number in range(500)]).encode()

    taken = own.take(("senml", pack))

    assert [reject.count for reject in taken.rejects] == [500]
    assert taken.counts["senml", "readings_rejected", "unknown_metric"] == 500
    assert sums_hold(taken)


@pytest.mark.parametrize(
    ("source", "topic", "payload"),
    [
        pytest.param(
            "{topic: 's/{entity}', kind: room, identifiers: [entity], payload: {format: senml}}",
            "s/x", b'[{"bn": "urn:dev:alice:", "n": "noise", "v": 1}]', id="a base name",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, identifiers: [entity], payload: {format: csv, columns: [_, co2]}}",
            "s/x", b"alice", id="a column that does not matter",
        ),
        pytest.param(
            "{topic: 'b/{badge}/{entity}/{metric}', kind: room, identifiers: [badge]}",
            "b/x/lab/co2", b'{"badge": "alice", "value": "x"}', id="a field that is called like a level",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, identifiers: [mail], payload: {values: {co2: c}}}",
            "s/x", b'{"c": "alice@x.org", "mail": "a"}', id="a detail",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, identifiers: [mail], payload: {values: {co2: c}}}",
            "s/x", b'"alice@x.org"', id="a bare text",
        ),
        pytest.param(
            "{topic: 's/{entity}', kind: room, identifiers: [mail], payload: {values: {co2: c}}}",
            "s/x", b'{"time": "alice", "c": 1}', id="a time",
        ),
    ],
)  # fmt: skip
def test_no_reject_holds_an_identifier(tmp_path: Path, source: str, topic: str, payload: bytes) -> None:
    """Neither its payload nor its detail."""
    (reject,) = Source(tmp_path, source).take((topic, payload)).rejects

    assert "alice" not in reject.detail
    if "mail" not in source or payload.startswith(b'"'):
        assert b"alice" not in reject.payload + reject.topic.encode()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"data": {"rows": [{"id": "alice", "c": "x"}]}}', id="a list in an object"),
        pytest.param(b'{"data": {"rows": {"id": "alice", "c": "x"}}}', id="one object for a list"),
        pytest.param(b'{"data": {"rows": [[{"id": "alice"}]]}}', id="lists in a list"),
        pytest.param(b'{"data": {"row": {"id": "alice", "c": 1}}}', id="an object elsewhere"),
    ],
)
def test_an_identifier_is_masked_in_every_object(tmp_path: Path, payload: bytes) -> None:
    """The objects of `items` may lie deep, and a payload that is refused may have them somewhere else."""
    own = Source(
        tmp_path,
        "{topic: s, kind: room, identifiers: [entity], payload: {items: data.rows, entity: id, values: {co2: c}}}",
    )

    (reject,) = own.take(("s", payload)).rejects

    assert json.loads(reject.payload) == json.loads(payload.replace(b"alice", b"***"))


@pytest.mark.parametrize("depth", [900, 990, 1_500, 9_000, 30_000])
def test_a_deep_payload_with_identifiers_is_a_reject_without_them(tmp_path: Path, depth: int) -> None:
    """It is masked, or not kept where it is too deep for that; its neighbours come through."""
    own = Source(tmp_path, "{topic: 'b/{entity}/{metric}', kind: room, identifiers: [mac]}")
    deep = b'{"mac": "alice", "value": "x", "a": ' + b"[" * depth + b"]" * depth + b"}"

    taken = own.take(("b/lab/co2", deep), ("b/lab/co2", b"700"))

    assert [value for _, _, value, _ in own.readings(taken)] == [700.0]
    assert [b"alice" in reject.payload for reject in taken.rejects] == [False]
    assert sums_hold(taken)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"t": DEEP}', id="a value"),
        pytest.param(b'{"t": 1, "time": DEEP}', id="a time"),
        pytest.param(b"DEEP", id="all of it"),
    ],
)
def test_a_value_of_any_depth_is_refused(tmp_path: Path, payload: bytes) -> None:
    """Also one that could just be parsed, and is too deep to be quoted."""
    own = Source(tmp_path, "{topic: 's/{entity}', kind: room, payload: {values: {temperature: t}}}")

    for depth in range(700, 1_000):
        deep = b"[" * depth + b"]" * depth
        taken = own.take(("s/lab", payload.replace(b"DEEP", deep)), ("s/lab", b'{"t": 2}'))

        assert len(taken.rejects) == 1
        assert [value for _, _, value, _ in own.readings(taken)] == [2.0]
        assert sums_hold(taken)


@pytest.mark.parametrize(
    ("source", "topic", "payload"),
    [
        pytest.param(SENML, "senml", b'[{"LONG_": 1}]', id="a field"),
        pytest.param(
            "{topic: s, kind: room, payload: {entity: id, metric: q}}",
            "s", b'{"id": "a", "q": "LONG", "value": "x"}', id="a metric",
        ),
    ],
)  # fmt: skip
def test_a_detail_is_short(tmp_path: Path, source: str, topic: str, payload: bytes) -> None:
    """What it quotes may be as long as a payload, and the ring counts the bytes of topics and payloads only."""
    (reject,) = Source(tmp_path, source).take((topic, payload.replace(b"LONG", b"x" * 60_000))).rejects

    assert len(reject.detail) == 500


def test_a_state_that_says_nothing_is_no_reading_wherever_it_stands(tmp_path: Path) -> None:
    """A whole payload may be `unavailable` where an object is usual."""
    own = Source(tmp_path, "{topic: 'z/{entity}', kind: room, payload: {format: state}}")

    taken = own.take(("z/door", b"unavailable"))

    assert (own.readings(taken), taken.rejects) == ([], [])
    assert sums_hold(taken)


def test_an_empty_pack_is_none_even_after_an_empty_record(tmp_path: Path) -> None:
    """A record that says nothing is a pack; no record is not."""
    own = Source(tmp_path, SENML)

    taken = own.take(("senml", b"[{}]"), ("senml", b"[]"), ("senml", b"[{}]"))

    assert reasons(taken) == [RejectReason.NOT_DECODABLE]
    assert sums_hold(taken)


VISITS = HEAD.replace("occupied: {}", "visitor: {categories: [new, other, '7']}")


@pytest.mark.parametrize(
    ("source", "topic", "payload", "expected"),
    [
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b"other", 1.0),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b'"other"', 1.0),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b" new\n", 0.0),
        (
            "{topic: 's/{entity}/{metric}', kind: room}",
            "s/shop/visitor",
            b'{"value": "other", "time": 1780000000}',
            1.0,
        ),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b"1", 1.0),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b"7", 2.0),
        ("{topic: 's/{entity}', kind: room, payload: {values: {visitor: v}}}", "s/shop", b'{"v": "7"}', 2.0),
        (
            "{topic: in, kind: room, payload: {entity: e, metric: m}}",
            "in",
            b'{"e":"shop","m":"visitor","value":"new"}',
            0.0,
        ),
        ("{topic: 's/{entity}', kind: room, payload: {format: csv, columns: [visitor]}}", "s/shop", b"other", 1.0),
        ("{topic: 's/{entity}', kind: room, payload: {format: csv, columns: [visitor]}}", "s/shop", b"7", 2.0),
        ("{topic: 's/{entity}/{metric}', kind: room, payload: {format: state}}", "s/shop/visitor", b"other", 1.0),
    ],
    ids=[
        "plain text",
        "JSON text",
        "spaces",
        "object",
        "code",
        "number",
        "path",
        "named",
        "CSV",
        "CSV number",
        "state",
    ],
)
def test_a_text_of_a_metric_with_categories_becomes_its_code(
    tmp_path: Path, source: str, topic: str, payload: bytes, expected: float
) -> None:
    """Whatever the format that says it."""
    own = Source(tmp_path, source, head=VISITS)

    taken = own.take((topic, payload))

    assert [reading[:3] for reading in own.readings(taken)] == [("shop", "visitor", expected)]
    assert sums_hold(taken)


@pytest.mark.parametrize(
    ("source", "topic", "payload"),
    [
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b"robot"),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b"3"),
        ("{topic: 's/{entity}/{metric}', kind: room}", "s/shop/visitor", b'{"value": "robot"}'),
        ("{topic: 's/{entity}', kind: room, payload: {values: {visitor: v}}}", "s/shop", b'{"v": "robot"}'),
        ("{topic: 's/{entity}', kind: room, payload: {format: csv, columns: [visitor]}}", "s/shop", b"robot"),
    ],
    ids=["plain text", "no code", "object", "path", "CSV"],
)
def test_another_text_is_rejected_with_those_that_are_allowed(
    tmp_path: Path, source: str, topic: str, payload: bytes
) -> None:
    """Nothing is made up for it."""
    own = Source(tmp_path, source, head=VISITS)

    taken = own.take((topic, payload))

    assert len(taken.batch) == 0
    assert reasons(taken) == [RejectReason.UNKNOWN_CATEGORY]
    assert taken.rejects[0].detail.startswith("`visitor` is one of new, other, 7; not '")
    assert sums_hold(taken)


def test_a_text_is_no_number_where_another_metric_has_categories(tmp_path: Path) -> None:
    """Also a text that looks like one; the numbers beside it are taken."""
    own = Source(tmp_path, "{topic: 's/{entity}/{metric}', kind: room}", head=VISITS)

    taken = own.take(
        ("s/shop/co2", b'"500"'), ("s/shop/co2", b"600"), ("s/shop/co2", b'{"value": "x"}'), ("s/a/co2", b"x")
    )

    assert reasons(taken) == [RejectReason.NOT_DECODABLE] * 3
    assert taken.batch.value.tolist() == [600.0]
    assert sums_hold(taken)
