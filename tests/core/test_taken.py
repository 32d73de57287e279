"""Facts about what is remembered of a message that was taken in part."""

from attwin.core.taken import found_again, reading_checksum

CO2, NOISE = reading_checksum("lab", "co2", 7, 500.0), reading_checksum("lab", "noise", 7, 500.0)


def test_each_part_of_a_reading_tells_it_from_others() -> None:
    """Entity, metric, time and value; the same ones are the same reading."""
    others = [
        reading_checksum("hall", "co2", 7, 500.0),
        reading_checksum("lab", "co2", 8, 500.0),
        reading_checksum("lab", "co2", 7, 500.5),
    ]

    assert len({CO2, NOISE, *others}) == 5
    assert reading_checksum("lab", "co2", 7, 500.0) == CO2


def test_a_reading_is_found_as_often_as_it_was_taken() -> None:
    """The rest is new."""
    assert found_again(CO2, [NOISE, CO2, CO2]) == [False, True, False]
    assert found_again(CO2 + CO2, [CO2, NOISE, CO2]) == [True, False, True]
    assert found_again(b"", [CO2]) == [False]


def test_a_reading_that_is_not_found_leaves_nothing_sure() -> None:
    """It may be there by another name; so may be a damaged one."""
    assert found_again(CO2, [NOISE]) is None
    assert found_again(CO2 + CO2, [CO2]) is None
    assert found_again(CO2[:5], [CO2]) is None
