"""Payloads that atheris makes, guided by the branches of the decoders, through the whole agent.

usage: python tests/fuzz/fuzz_payloads.py [--payloads N] [--seconds S] [OPTION OF LIBFUZZER ...]

``-runs=1000000`` makes a million inputs, of several payloads each; ``--payloads`` ends after so many payloads, however
many inputs that takes. The last line says how many there were. What broke the agent stands in the folder where this
was started, as libFuzzer's ``crash-...``; giving that file as an argument plays it again.
"""

import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

# atheris takes packages whole: what is to be seen is imported first, and the rest, which would only be slow, after it
with atheris.instrument_imports(include=["attwin"]):
    from attwin.adapters import csv_payload, json_objects, json_payload, senml_payload, sparkplug_payload
    from attwin.runtime import ingest

from support.gauntlet import Ground
from support.seeds import SEEDS, SEPARATOR, shots_of

SEEN = (csv_payload, json_objects, json_payload, senml_payload, sparkplug_payload, ingest)
"""The modules whose branches guide atheris, beside those that they import."""
_RENEW_EVERY = 200
"""After so many inputs all begins anew, so that what breaks the agent can be found among few."""


class Target:
    """What libFuzzer calls."""

    def __init__(self, folder: Path, payloads: int, seconds: float) -> None:
        """Make an agent in a folder; end after so many payloads, or seconds where those are not 0."""
        self._ground = Ground(folder, strict=False)
        self._inputs = 0
        self._payloads = payloads
        self._end_s = time.monotonic() + seconds if seconds else float("inf")

    def __call__(self, data: bytes) -> None:
        """Feed what one input holds."""
        if self._inputs % _RENEW_EVERY == 0:
            self._ground.renew()
        self._inputs += 1
        pause_ms, shots = shots_of(data)
        if shots:
            self._ground.feed(shots, pass_ms=pause_ms)
        if self._inputs % _RENEW_EVERY == _RENEW_EVERY // 2:
            self._ground.replay()
        if self._ground.fed >= self._payloads or time.monotonic() > self._end_s:
            self._ground.finish()
            self.tell()
            # libFuzzer knows no other way to end early and well
            os._exit(0)

    def tell(self) -> None:
        """Say how much it was."""
        print(f"inputs={self._inputs} payloads={self._ground.fed}", flush=True)  # noqa: T201 -- what the caller reads


def main() -> None:
    """Fuzz until the end that the arguments set, or until something breaks."""
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    options = [sys.argv[0]]
    limits = {"--payloads": float("inf"), "--seconds": 0.0}
    rest = iter(sys.argv[1:])
    for argument in rest:
        if argument in limits:
            limits[argument] = float(next(rest))
        else:
            options.append(argument)
    memory = Path("/dev/shm")  # noqa: S108 -- a folder of one's own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(SEEDS):
            Path(corpus, f"{number:03}").write_bytes(seed)
        dictionary = Path(folder, "words")
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in (SEPARATOR, *_WORDS)), encoding="ascii")
        target = Target(Path(folder), limits["--payloads"], limits["--seconds"])
        plays_again = any(Path(option).is_file() for option in options[1:])
        own = [] if plays_again else [str(corpus), f"-dict={dictionary}", "-max_len=4096", "-timeout=60"]
        atheris.Setup([*options, *own], target)
        atheris.Fuzz()


_WORDS = tuple(
    word.encode()
    for word in (
        *(
            '"value":',
            '"time":',
            '"id":',
            '"n":',
            '"v":',
            '"t":',
            '"bn":',
            '"bt":',
            '"u":',
            '"vb":',
            '"mac":',
            '"device":',
        ),
        *("null", "true", "1e308", "-1e308", "NaN", "1e999", "9223372036854775808", "1790000000", "co2", "temperature"),
        *("unavailable", "2026-09-21T14:13:20Z", "Cel", "ppm", "[[[[[[[[", '{"a":{"a":', "\\ud800", "wilhelmina"),
    )
)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
