"""What the fault tests found out, for the table of ``make faults``."""

import json
import os
from pathlib import Path


def report(fault: str, *, injected: int, sent: int, lost: int, recovered_s: float | None = None) -> None:
    """Note a fault that was injected, how often, among how many messages, and what it cost.

    Args:
        fault: What was done.
        injected: How often.
        sent: How many messages were acknowledged to their sensors.
        lost: How many of them are not accounted for.
        recovered_s: The longest time until all was well again, None where that was not measured.
    """
    file = os.environ.get("ATTWIN_FAULTS")
    if file:
        row = {"fault": fault, "injected": injected, "sent": sent, "lost": lost, "recovered_s": recovered_s}
        with Path(file).open("a", encoding="utf-8") as table:
            table.write(json.dumps(row) + "\n")
