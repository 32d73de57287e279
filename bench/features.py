"""Time of the features of many entities in one round, with and without what a model may ask for beyond statistics.

Every entity has five metrics and gets one reading of each a minute; a round closes one tick of all of them: windows,
features, inputs. The scorer is none, so the figures are those of everything around the runtime.

usage: python bench/features.py [--entities 10000] [--rounds 20]
"""

import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from attwin.core.features import Statistic
from attwin.core.manifest import FeatureSpec, Manifest, MetricSpec
from attwin.core.types import readings
from attwin.runtime.selftest import twin_of
from attwin.wiring.models import bundle_path, read_bundle
from attwin.wiring.offline import NoScorer

START_MS = 1_780_000_000_000 // 60_000 * 60_000
METRICS = 5


def manifests() -> dict[str, Manifest]:
    """Return the built-in model's manifest, and what it is with more features."""
    plain = read_bundle(bundle_path("builtin:occupancy")).manifest
    window = plain.windows_ms[0]
    numbers = [dataclasses.replace(m, mean=20.0, scale=5.0) for m in plain.metrics]
    coded = [*plain.metrics[:4], MetricSpec(name=plain.metrics[4].name, unit="1", categories=list("abcdefgh"))]

    def spec(metric: str, statistic: Statistic, **more: object) -> FeatureSpec:
        return FeatureSpec(metric=metric, window_ms=window, statistic=statistic, mean=0.0, scale=1.0, **more)  # type: ignore[arg-type]  # one of three

    buckets = [spec(m.name, Statistic.MEAN, bucket=k) for m in plain.metrics for k in range(12)]
    categories = [spec(plain.metrics[4].name, Statistic.LAST, categories=[c]) for c in "abcdefgh"]
    relative = [dataclasses.replace(f, baseline="running") for f in plain.features]
    clock = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "weekend"]
    return {
        "built-in": plain,
        "and the clock": dataclasses.replace(plain, clock=clock, zone="Europe/Brussels"),
        "and 8 categories": dataclasses.replace(plain, metrics=coded, features=[*plain.features, *categories]),
        "with baselines": dataclasses.replace(plain, metrics=numbers, features=relative),
        "60 bucket means": dataclasses.replace(plain, features=buckets),
        "60 with baselines": dataclasses.replace(
            plain, metrics=numbers, features=[dataclasses.replace(f, baseline="running") for f in buckets]
        ),
    }


def us_an_entity(manifest: Manifest, entities: int, rounds: int) -> float:
    """Return the median time of a round by entity [us]."""
    twin = twin_of(manifest, NoScorer())
    for number in range(entities):
        twin.catalogue.add(f"e{number}", 0)
    rng = np.random.default_rng(0)
    series = np.arange(entities * METRICS, dtype=np.int32)
    took = []
    for number in range(rounds + 3):
        value = rng.integers(0, 8, len(series)).astype(np.float64)
        batch = readings(series, np.full(len(series), START_MS + 60_000 * number), value)
        before = time.perf_counter()
        twin.replay(batch)
        took.append((time.perf_counter() - before) / entities * 1e6)
    return statistics.median(took[3:])


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"{options.entities} entities x {METRICS} metrics, {Path(sys.executable).name} {sys.version.split()[0]}")
    for name, manifest in manifests().items():
        taken = us_an_entity(manifest, options.entities, options.rounds)
        print(f"{name:<20} {len(manifest.features) + len(manifest.clock):>3} features {taken:6.2f} us an entity")


if __name__ == "__main__":
    main()
