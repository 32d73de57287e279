"""Prints the table of ``make faults`` from what the tests have reported.

usage: python tests/support/faults_table.py FILE
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print the table."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    print("| fault | injected | messages | lost | recovered in |\n|---|---|---|---|---|")  # noqa: T201 -- a table is what this is for
    for row in sorted((json.loads(line) for line in lines), key=lambda row: str(row["fault"])):
        recovered = "-" if row["recovered_s"] is None else f"{row['recovered_s']:.1f} s"
        print(f"| {row['fault']} | {row['injected']} | {row['sent']} | {row['lost']} | {recovered} |")  # noqa: T201 -- the same


if __name__ == "__main__":
    main()
