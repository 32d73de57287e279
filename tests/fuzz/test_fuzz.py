"""Facts about the whole way of a message, from the sensor's bytes to the database, whatever it holds."""

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from support.faults import report
from support.gauntlet import SECRET, Ground, Shot
from support.hostile import ROUNDS
from support.seeds import SEEDS, shots_of

Rounds = Sequence[tuple[int, Sequence[Shot]]]
MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of one's own is made in it
ATHERIS_PAYLOADS = 955_000
FEW = settings(max_examples=45, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=1_000, suppress_health_check=list(HealthCheck), database=None)


def through(rounds: Rounds) -> int:
    """Take rounds through an agent of their own, which asserts what must hold, and return how many payloads it was."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        ground = Ground(Path(folder))
        try:
            for pause_ms, shots in rounds:
                ground.feed([*shots, *crossed(shots)], pass_ms=pause_ms)
            ground.replay()
            ground.finish()
        except BaseException:
            ground.store.close()
            raise
    return ground.fed


def crossed(shots: Sequence[Shot]) -> list[Shot]:
    """Return the payloads on the topics of their neighbours, where nobody expects their format."""
    others = [*shots[1:], *shots[:1]]
    return [
        Shot(topic=other.topic, payload=shot.payload, flags=shot.flags, packet_id=shot.packet_id)
        for shot, other in zip(shots, others, strict=True)
        if SECRET.encode() not in shot.payload
    ]


@pytest.mark.timeout(900)  # only a failure takes long, which Hypothesis makes small
@FEW
@given(rounds=ROUNDS)
def test_whatever_arrives_is_accounted_for_and_what_is_stored_is_sound(rounds: Rounds) -> None:
    """No exception, sums that hold, finite values, bits that are kept, bounded memory, and no identifier anywhere."""
    assert through(rounds) >= sum(len(shots) for _, shots in rounds)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_same_holds_for_tens_of_thousands_of_payloads() -> None:
    """As above, with other payloads in each run."""
    fed = []

    @MANY
    @given(rounds=ROUNDS)
    def many(rounds: Rounds) -> None:
        fed.append(through(rounds))

    many()

    assert sum(fed) > 45_000
    report("fuzzed payloads, hypothesis", injected=sum(fed), sent=sum(fed), lost=0)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this Python or machine")
def test_the_same_holds_for_payloads_that_the_branches_of_the_decoders_guide(tmp_path: Path) -> None:
    """Atheris mutates valid payloads towards code that was not reached before; the rest of a million of them."""
    script = Path(__file__).with_name("fuzz_payloads.py")

    run = subprocess.run(
        [sys.executable, script, "--payloads", str(ATHERIS_PAYLOADS)],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr[-5_000:]
    (count,) = re.findall(r"^inputs=\d+ payloads=(\d+)$", run.stdout, re.MULTILINE)
    assert int(count) >= ATHERIS_PAYLOADS
    report("fuzzed payloads, atheris", injected=int(count), sent=int(count), lost=0)


def test_the_seeds_of_the_fuzzer_are_readings(tmp_path: Path) -> None:
    """Every seed holds readings that are stored, so that mutations begin where decoders are at work."""
    ground = Ground(tmp_path, strict=False)
    stored = []
    for seed in SEEDS:
        ground.renew()
        pause_ms, shots = shots_of(seed)
        ground.feed(shots, pass_ms=pause_ms)
        stored.append(ground.store.total("readings_stored"))
    ground.finish()

    assert min(stored) > 0
