"""The sums of a database.

The counters move in the same transaction as what they count. Two sums are checked against the tables themselves: the
readings that the journal holds, and the messages that wait in the outbox.
"""

from pathlib import Path

from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_salvage import read_sums
from attwin.core.audit import Sum


def audit_of(database: Path) -> list[Sum]:
    """Return all sums, of one moment.

    Raises:
        StoreError: There is no database that can be read.
    """
    with reader(database) as connection:
        connection.execute("begin")
        return read_sums(connection)
