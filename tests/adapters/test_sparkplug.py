"""Facts about Sparkplug B: payloads encoded by Google's protobuf, read by ours."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attwin.adapters.sparkplug_protobuf import read_payload, rebirth_command
from attwin.core.types import RejectReason
from support.sources import NOW_MS, Source, sums_hold
from support.sparkplug import encode, parse

T_MS = 1_780_000_000_000
SOURCE = (
    "{topic: spBv1.0/plant, kind: room, payload: {format: sparkplug, values: {temperature: Inputs/T, occupied: Busy}}}"
)
NODE, DEVICE = "spBv1.0/plant/{}/n1", "spBv1.0/plant/{}/n1/d1"
BIRTH = encode({"name": "bdSeq", "datatype": 8, "long_value": 3}, seq=0, timestamp=T_MS)
DEVICE_BIRTH = encode(
    {"name": "Inputs/T", "alias": 1, "datatype": 9, "float_value": 20.5, "timestamp": T_MS},
    {"name": "Busy", "alias": 2, "datatype": 11, "boolean_value": True},
    {"name": "co2", "alias": 3, "datatype": 1, "int_value": 2**32 - 5},
    {"name": "Serial", "alias": 4, "datatype": 12, "string_value": "x"},
    seq=1,
    timestamp=T_MS + 7,
)


@pytest.fixture
def plant(tmp_path: Path) -> Source:
    """Return a source of a Sparkplug group."""
    return Source(tmp_path, SOURCE)


def test_a_birth_gives_values_and_the_data_after_it_are_known_by_alias(plant: Source) -> None:
    """The entity is node and device; a metric without a time has its payload's; signs follow the birth's data type."""
    born = plant.take((NODE.format("NBIRTH"), BIRTH), (DEVICE.format("DBIRTH"), DEVICE_BIRTH))
    data = encode({"alias": 1, "float_value": 21.5}, {"alias": 3, "int_value": 2**32 - 1}, seq=2, timestamp=T_MS + 9)
    told = plant.take((DEVICE.format("DDATA"), data))

    assert plant.readings(born) == [
        ("n1:d1", "temperature", 20.5, T_MS),
        ("n1:d1", "occupied", 1.0, T_MS + 7),
        ("n1:d1", "co2", -5.0, T_MS + 7),
    ]
    assert plant.readings(told) == [("n1:d1", "temperature", 21.5, T_MS + 9), ("n1:d1", "co2", -1.0, T_MS + 9)]
    assert (born.replies, told.replies, born.rejects, told.rejects) == ([], [], [], [])
    assert born.counts["spBv1.0/plant", "readings_suppressed", "not_configured"] == 1
    assert sums_hold(born)
    assert sums_hold(told)


def test_data_before_a_birth_asks_for_a_rebirth_once(plant: Source) -> None:
    """An alias that means nothing is refused with its reason; what has a name is taken."""
    data = encode({"alias": 1, "float_value": 1.0}, {"name": "co2", "datatype": 10, "double_value": 5.0}, seq=8)

    taken = plant.take((DEVICE.format("DDATA"), data), (DEVICE.format("DDATA"), encode(seq=9)))

    assert [r[:3] for r in plant.readings(taken)] == [("n1:d1", "co2", 5.0)]
    assert [reject.reason for reject in taken.rejects] == [RejectReason.UNKNOWN_ALIAS]
    assert [topic for topic, _ in taken.replies] == ["spBv1.0/plant/NCMD/n1"]
    command = parse(taken.replies[0][1])
    assert (command.timestamp, command.metrics[0].name) == (NOW_MS, "Node Control/Rebirth")
    assert (command.metrics[0].datatype, command.metrics[0].boolean_value) == (11, True)
    assert sums_hold(taken)


@pytest.mark.parametrize("node", ["n%2B", "%23", "n%2Fx", "%00"])
def test_a_node_that_no_topic_can_name_is_asked_nothing(plant: Source, node: str) -> None:
    """A percent-encoded wildcard would make a topic that MQTT forbids, and publishing there ends the connection."""
    taken = plant.take((f"spBv1.0/plant/NDATA/{node}", encode(seq=8)))

    assert taken.replies == []
    assert sums_hold(taken)


def test_a_gap_in_the_sequence_asks_for_a_rebirth(plant: Source) -> None:
    """The sequence wraps from 255 to 0; a gap means that a birth may have been missed."""
    plant.take((NODE.format("NBIRTH"), BIRTH))
    in_order = plant.take(*[(NODE.format("NDATA"), encode(seq=i % 256)) for i in range(1, 258)])
    gap = plant.take((NODE.format("NDATA"), encode(seq=4)))

    assert in_order.replies == []
    assert [topic for topic, _ in gap.replies] == ["spBv1.0/plant/NCMD/n1"]


def test_a_death_silences_what_was_born(plant: Source) -> None:
    """A device's death is its own, a node's is that of all its devices; the will of an older birth says nothing."""
    plant.take((NODE.format("NBIRTH"), BIRTH), (DEVICE.format("DBIRTH"), DEVICE_BIRTH))
    device = plant.take((DEVICE.format("DDEATH"), encode(seq=2)))
    old = plant.take((NODE.format("NDEATH"), encode({"name": "bdSeq", "datatype": 8, "long_value": 2})))
    node = plant.take((NODE.format("NDEATH"), encode({"name": "bdSeq", "datatype": 8, "long_value": 3})))

    own = plant.ingest.routes.series_of(0)
    assert (list(device.silent), list(old.silent), list(node.silent)) == (own, [], own)


def test_commands_and_unknown_messages_are_no_readings(plant: Source) -> None:
    """Our own command comes back by the subscription; what Sparkplug does not know is rejected."""
    taken = plant.take((NODE.format("NCMD"), rebirth_command(T_MS)), (NODE.format("NOPE"), BIRTH))

    assert plant.readings(taken) == []
    assert [reject.reason for reject in taken.rejects] == [RejectReason.UNKNOWN_TOPIC]
    assert sums_hold(taken)


def test_a_null_metric_is_no_reading(plant: Source) -> None:
    """A sensor that has no value says so."""
    birth = encode({"name": "co2", "alias": 3, "datatype": 10, "is_null": True}, seq=0, timestamp=T_MS)

    taken = plant.take((NODE.format("NBIRTH"), birth))

    assert (plant.readings(taken), taken.rejects) == ([], [])


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.text(max_size=8),
                "alias": st.integers(0, 2**64 - 1),
                "timestamp": st.integers(0, 2**64 - 1),
                "datatype": st.integers(0, 40),
                "long_value": st.integers(0, 2**64 - 1),
                "string_value": st.text(max_size=300),
                "double_value": st.floats(allow_nan=False),
            },
        ),
        max_size=4,
    ),
    st.one_of(st.none(), st.integers(0, 255)),
)
def test_what_protobuf_writes_we_read(metrics: list[dict[str, object]], seq: int | None) -> None:
    """Names, aliases, times and values are those that Google's encoder was given."""
    payload = read_payload(encode(*metrics, seq=seq))

    assert payload.sequence == seq
    for given_metric, read in zip(metrics, payload.metrics, strict=True):
        assert (read.name, read.alias) == (given_metric.get("name", ""), given_metric.get("alias"))
        assert (read.time_ms, read.datatype) == (given_metric.get("timestamp"), given_metric.get("datatype", 0))
        if "long_value" in given_metric:
            assert read.whole == given_metric["long_value"]
        elif "double_value" in given_metric:
            assert read.number(0) == given_metric["double_value"]


def numbers_of(data: bytes) -> list[float | None] | None:
    """Return the value of every metric of a payload, None where it is no payload."""
    try:
        return [metric.number(0) for metric in read_payload(data).metrics]
    except ValueError:
        return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_one_reject(plant: Source, data: bytes) -> None:
    """What cannot be read is rejected as a whole, once; what can be read never is, and its readings are finite."""
    taken = plant.take((NODE.format("NBIRTH"), data))

    whole = [reject.reason for reject in taken.rejects if not reject.is_part]
    assert whole == ([RejectReason.NOT_DECODABLE] if numbers_of(data) is None else [])
    assert all(math.isfinite(value) for _, _, value, _ in plant.readings(taken))
    assert sums_hold(taken)


@pytest.mark.parametrize(
    ("datatype", "whole", "number"),
    [(1, 0xFB, -5), (2, 0xFFFE, -2), (3, 2**32 - 1, -1), (4, 2**64 - 1, -1), (5, 0xFF, 255), (8, 2**64 - 1, 2**64 - 1)],
)
def test_an_integer_has_the_sign_of_its_data_type(datatype: int, whole: int, number: int) -> None:
    """Sparkplug sends signed integers as two's complement of their width."""
    field = "int_value" if datatype in {1, 2, 3, 5} else "long_value"
    (metric,) = read_payload(encode({"name": "x", "datatype": datatype, field: whole})).metrics

    assert metric.number(0) == float(number)


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([0, 1, 2, 5]), st.binary(max_size=12), st.integers(0, 300)),
        max_size=5,
    )
)
def test_any_fields_are_one_metric_or_no_payload(fields: list[tuple[int, int, bytes, int]]) -> None:
    """Whatever field has whatever wire type and length, the metric has a number or nothing, or there is no metric."""
    metric = b"".join(
        bytes([number << 3 & 0x7F | wire]) + {0: bytes([varint % 128]), 1: b"x" * 8, 5: b"x" * 4}.get(
            wire, bytes([len(body)]) + body
        )
        for number, wire, body, varint in fields
    )  # fmt: skip
    numbers = numbers_of(b"\x12" + bytes([len(metric)]) + metric)

    assert numbers is None or [type(number) for number in numbers] in ([float], [type(None)])


def test_a_birth_after_a_death_in_one_batch_speaks_again(plant: Source) -> None:
    """A session that is taken over dies and is born at once."""
    plant.take((NODE.format("NBIRTH"), BIRTH), (DEVICE.format("DBIRTH"), DEVICE_BIRTH))
    death = encode({"name": "bdSeq", "datatype": 8, "long_value": 3})

    taken = plant.take(
        (NODE.format("NDEATH"), death), (NODE.format("NBIRTH"), BIRTH), (DEVICE.format("DBIRTH"), DEVICE_BIRTH)
    )

    assert list(taken.silent) == []


def test_a_death_after_a_birth_without_a_reading_silences_nobody(tmp_path: Path) -> None:
    """An entity of which nothing is kept is forgotten at once, and its place is nobody's."""
    own = Source(tmp_path, "{topic: spBv1.0/plant, kind: room, payload: {format: sparkplug, units: {co2: /}}}")
    birth = encode({"name": "co2", "datatype": 10, "double_value": 1e305}, seq=0, timestamp=T_MS)

    taken = own.take((NODE.format("NBIRTH"), birth), (NODE.format("NDEATH"), encode()))

    assert [reject.reason for reject in taken.rejects] == [RejectReason.NOT_FINITE]
    assert (own.catalogue.live_count, list(taken.silent)) == (0, [])
    assert sums_hold(taken)


def test_devices_of_two_nodes_are_two_entities(plant: Source) -> None:
    """A device's id is unique within its node only."""
    taken = plant.take(
        ("spBv1.0/plant/NBIRTH/n1", BIRTH), ("spBv1.0/plant/DBIRTH/n1/d1", DEVICE_BIRTH),
        ("spBv1.0/plant/NBIRTH/n2", BIRTH), ("spBv1.0/plant/DBIRTH/n2/d1", DEVICE_BIRTH),
    )  # fmt: skip

    assert {entity for entity, *_ in plant.readings(taken)} == {"n1:d1", "n2:d1"}
