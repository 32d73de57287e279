"""Data sets for tests of the converter, without files."""

from dataclasses import replace

import numpy as np

from attwin.wiring.offline import Wide
from attwin_converter.dataset import (
    ColumnSettings,
    DatasetSettings,
    FeatureSettings,
    LabelSettings,
    Part,
    SplitSettings,
    TrainingSettings,
)

SETTINGS = DatasetSettings(
    version=1,
    name="rooms",
    kind="room",
    metrics={"co2": ColumnSettings(unit="ppm"), "noise": ColumnSettings(unit="dB")},
    label=LabelSettings(column="busy", meaning="busy"),
    split=SplitSettings(by="file", embargo=0),
    features=FeatureSettings(windows=[120_000, 600_000]),
    training=TrainingSettings(folds=3),
)
INDEPENDENT = replace(SETTINGS, rows="independent", features=FeatureSettings(windows=[12_000], statistics=["last"]))


def a_part(rows: int = 240, *, entities: int = 2, seed: int = 1) -> Part:
    """Return rows a minute apart, of rooms in turn; a room is busy in blocks of 20 rows, when its CO2 is high.

    Every room has a level of CO2 of its own; noise says nothing, and is missing now and then.
    """
    rng = np.random.default_rng(seed)
    row = np.arange(rows)
    entity = (row % entities).astype(np.int32)
    busy = (row // 20) % 2
    co2 = 400 + 300 * entity + 200 * busy + rng.normal(0, 60, rows)
    noise = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(40, 5, rows))
    wide = Wide(
        entities=[f"room-{number}" for number in range(entities)],
        entity=entity,
        time_ms=row.astype(np.int64) * 60_000,
        values=np.stack([co2, noise], axis=1),
        order=row,
    )
    return Part(wide=wide, label=busy.astype(np.float32))
