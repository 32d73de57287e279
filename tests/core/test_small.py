"""Facts about journal segments, quantisation, topics and routes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.journal import Segment, decode, encode
from attwin.core.quantise import Quantisation
from attwin.core.routes import SOURCE_SHIFT, NoRoute, Routes, Source
from attwin.core.topics import compile_template, is_id, quote_id, unquote_id
from attwin.core.types import RejectReason
from support.builders import a_catalogue, a_kind

ROWS = st.lists(
    st.tuples(
        st.integers(1, 2**31 - 1),
        st.integers(0, 2**43),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 2),
        st.integers(0, 65_535),
    )
)


@given(rows=ROWS)
def test_a_segment_comes_back_bit_for_bit(rows: list[tuple[int, int, float, int, int]]) -> None:
    """Compression loses nothing."""
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    kinds = (np.int64, np.int64, np.float64, np.uint8, np.uint16)
    names = ("series_key", "time_ms", "value", "quality", "reason")
    segment = Segment(**{n: np.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})

    restored = decode(encode(segment))

    for name in names:
        np.testing.assert_array_equal(getattr(restored, name), getattr(segment, name))


@pytest.mark.parametrize("body", [b"", b"x" * 40, b"\x02" + b"\0" * 14])
def test_what_is_no_segment_is_refused(body: bytes) -> None:
    """A damaged segment is a ValueError, not garbage."""
    with pytest.raises(ValueError, match="journal segment"):
        decode(body)


@given(st.lists(st.floats(-10, 10, width=32), min_size=1), st.floats(0.001, 1), st.integers(-128, 127))
def test_quantising_is_off_by_half_a_quantum_at_most(real: list[float], scale: float, zero_point: int) -> None:
    """Inside the range, a number comes back within half a quantum; outside, it saturates."""
    quantisation = Quantisation(scale=scale, zero_point=zero_point)
    low, high = quantisation.restore(np.array([-128, 127], np.int8)).tolist()
    array = np.array(real, np.float32)

    restored = quantisation.restore(quantisation.quantise(array))

    assert np.abs(restored - np.clip(array, low, high)).max() <= scale * 0.5 + 1e-5


@pytest.mark.parametrize(
    ("text", "topic_filter"),
    [
        pytest.param("sensors/{entity}/{metric}", "sensors/+/+", id="both"),
        pytest.param("{metric}/of/{entity}", "+/of/+", id="any order"),
        pytest.param("home/door", "home/door", id="fixed"),
        pytest.param("te/device/{entity}///m/+", "te/device/+///m/+", id="any level, and empty ones"),
        pytest.param("{site}/{entity}", "+/+", id="a field of another name"),
    ],
)
def test_a_template_becomes_a_topic_filter(text: str, topic_filter: str) -> None:
    """Fields become single-level wildcards."""
    assert compile_template(text).topic_filter == topic_filter


@pytest.mark.parametrize("text", ["", "$SYS/{entity}", "a/#", "a/x{entity}", "a/x+", "a/{Device}", "{entity}/{entity}"])
def test_a_wrong_template_is_refused(text: str) -> None:
    """A template says what is wrong with it."""
    with pytest.raises(ValueError, match=r"."):
        compile_template(text)


@given(st.text(max_size=70))
def test_an_id_survives_the_wire(text: str) -> None:
    """Quoting gives one ASCII level that reads back as the same id."""
    quoted = quote_id(text) if text.isprintable() else "x"

    assert quoted.isascii()
    assert not set("/+#") & set(quoted)
    if text.isprintable():
        assert unquote_id(quoted) == text


@pytest.mark.parametrize("text", ["", " ", "a/b", "a+", "#", "x" * 65, "a\n", "a\0", "ends "])
def test_what_cannot_be_an_id(text: str) -> None:
    """Wildcards, separators, control characters and endless names are no ids."""
    assert not is_id(text)


def routes(*, learn: bool = True) -> Routes:
    """Return routes of one source over a room with temperature and co2."""
    catalogue = a_catalogue(a_kind(), entities=1, most=2)
    source = Source(templates=(compile_template("sensors/{entity}/{metric}"),), kind=0)
    return Routes([source], catalogue, learn=learn, own_base="attwin/g/")


def test_a_topic_is_resolved_once() -> None:
    """The route of a topic is remembered by its bytes; a new entity is learned."""
    found = routes()

    assert found.find(b"sensors/e0/co2") == 0 << SOURCE_SHIFT | 1
    assert found.find(b"sensors/new/temperature") == 2
    assert found.known == {b"sensors/e0/co2": 1, b"sensors/new/temperature": 2}


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        pytest.param(b"other/e0/co2", RejectReason.UNKNOWN_TOPIC, id="no source"),
        pytest.param(b"attwin/g/twin/e0", RejectReason.UNKNOWN_TOPIC, id="our own base"),
        pytest.param(b"sensors/e0/noise", RejectReason.UNKNOWN_METRIC, id="metric"),
        pytest.param(b"sensors/\xff/co2", RejectReason.BAD_TOPIC, id="not UTF-8"),
        pytest.param(b"sensors/" + b"x" * 65 + b"/co2", RejectReason.BAD_TOPIC, id="too long an id"),
    ],
)
def test_a_topic_that_leads_nowhere_says_why(topic: bytes, reason: RejectReason) -> None:
    """The reason is a counter's name, and nothing is remembered."""
    found = routes()

    answer = found.find(topic)

    assert isinstance(answer, NoRoute)
    assert answer.reason is reason
    assert found.known == {}


def test_learning_stops_at_the_limit_and_where_it_is_off() -> None:
    """An unknown entity is refused with the setting that refuses it."""
    full, strict = routes(), routes(learn=False)
    full.find(b"sensors/second/co2")

    for found, reason in ((full, RejectReason.ENTITY_LIMIT), (strict, RejectReason.UNKNOWN_ENTITY)):
        answer = found.find(b"sensors/third/co2")
        assert isinstance(answer, NoRoute)
        assert answer.reason is reason
