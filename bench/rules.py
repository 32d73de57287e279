"""What the rules of a large gateway cost: 10,000 entities, 20 rules, one value of each entity a round.

    python bench/rules.py [--json]

Printed is the median of a round in three states, beside a bare numpy comparison of the same values with one level for
each rule, which is the least that any rule can cost. The target is 20 ms a round.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from attwin.core.rules import Basis, Flapping, Level, Rule, RuleStates, Subject

ENTITIES, RULES, ROUNDS = 10_000, 20, 60
SECOND_MS = 1000


def rules() -> list[Rule]:
    """Return rules that use all there is: durations, counts, gaps, cool-downs, flapping, levels."""
    return [
        Rule(
            name=f"r{number}",
            kind=0,
            subject=Subject(basis=Basis.METRIC, name="m", column=0),
            above=True,
            threshold=10.0,
            clear=8.0,
            severity="warning",
            for_ms=SECOND_MS * (number % 4),
            count=1 + number % 3,
            gap_ms=10 * SECOND_MS,
            clear_for_ms=SECOND_MS * (number % 2),
            cooldown_ms=5 * SECOND_MS,
            flapping=Flapping(changes=4, within_ms=60 * SECOND_MS),
            levels=(Level(threshold=20.0, severity="critical"),),
        )
        for number in range(RULES)
    ]


def measure(values: Callable[[int], NDArray[np.float64]]) -> tuple[float, float, int]:
    """Return the median time of a round [ms], that of the bare comparison [ms], and how many alerts changed a round."""
    states = [RuleStates(index, rule) for index, rule in enumerate(rules())]
    entity = np.arange(ENTITIES, dtype=np.int32)
    took, bare, changes = [], [], 0
    for number in range(ROUNDS):
        value, time_ms = values(number), np.full(ENTITIES, 10**12 + SECOND_MS * number)
        began = time.perf_counter()
        for own in states:
            changes += len(own.evaluate(entity, time_ms, value))
        between = time.perf_counter()
        for own in states:
            np.flatnonzero(value > own.rule.threshold)
        ended = time.perf_counter()
        took.append(between - began)
        bare.append(ended - between)
    return 1e3 * statistics.median(took), 1e3 * statistics.median(bare), changes // ROUNDS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)

    def busy(share: float) -> Callable[[int], NDArray[np.float64]]:
        """Return values of which so many are over the level, others in each round."""
        return lambda _number: np.where(rng.random(ENTITIES) < share, 15.0, rng.uniform(0, 7, ENTITIES))

    cases = {
        "quiet": lambda _number: rng.uniform(0, 9.9, ENTITIES),
        "all active": lambda _number: np.full(ENTITIES, 15.0),
        "one in a hundred over the level, others each round": busy(0.01),
        "one in ten": busy(0.1),
    }
    for name, values in cases.items():
        took, bare, changes = measure(values)
        if arguments.json:
            print(json.dumps({"case": name, "round_ms": took, "bare_ms": bare, "changes": changes}))
        else:
            print(f"{name:52} {took:6.1f} ms a round, {took / bare:5.1f} x bare ({bare:.2f} ms), {changes} changes")


if __name__ == "__main__":
    main()
