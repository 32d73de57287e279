"""The common work as a Pathway pipeline: read, store, one rule, publish; acknowledged after a checkpoint.

usage: pathway_pipeline.py PORT FOLDER
"""

import contextlib
import sqlite3
import sys

import pathway as pw

COMMIT_MS = 1_500
"""What Pathway takes when nothing is said; with 100 ms a message costs about the same CPU."""


class Reading(pw.Schema):
    """One message; ``time`` is a column that the sink adds, so the reading's own has another name."""

    seq: int
    entity: str
    metric: str
    measured: float
    value: float


port, folder = sys.argv[1:]
# with a write-ahead log, one who counts in the database does not hold up the sink
with contextlib.closing(sqlite3.connect(f"{folder}/readings.db")) as database:
    database.execute("pragma journal_mode = wal")
readings = pw.io.mqtt.read(
    f"mqtt://127.0.0.1:{port}?client_id=pathway",
    "sensors/#",
    qos=1,
    schema=Reading,
    format="json",
    json_field_paths={"measured": "/time"},
    autocommit_duration_ms=COMMIT_MS,
    name="readings",
)
pw.io.sqlite.write(readings, f"{folder}/readings.db", "readings", init_mode="create_if_not_exists")
hot = readings.filter((pw.this.metric == "temperature") & (pw.this.value > 90))  # noqa: PLR2004 -- the rule's
pw.io.mqtt.write(hot, f"mqtt://127.0.0.1:{port}?client_id=pathway-alerts", "alerts", qos=1)
checkpoints = pw.persistence.Backend.filesystem(f"{folder}/checkpoints")
pw.run(
    persistence_config=pw.persistence.Config(checkpoints, snapshot_interval_ms=COMMIT_MS),
    monitoring_level=pw.MonitoringLevel.NONE,
)
