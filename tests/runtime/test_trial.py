"""Facts about a model that is tried: it reads the journal, takes over between two rounds, and gives way again."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin.core.catalogue import Catalogue
from attwin.core.comparison import Gates
from attwin.core.types import ReadingBatch
from attwin.ports import Judged
from attwin.runtime.drift import DriftWatch
from attwin.runtime.trial import Candidate, ModelTrial
from attwin.runtime.twin import KindModel, Twin
from support.builders import a_batch, a_kind, a_manifest
from support.fakes import FakeClock, MeanScorer

T0_MS = 1_700_000_000_000


class OddScorer(MeanScorer):
    """Scores as a test says: higher by a number, NaN for every so many-th row."""

    def __init__(self, more: float = 0.0, nan_every: int = 0) -> None:
        super().__init__()
        self.more, self.nan_every, self.rows = more, nan_every, 0

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score a row."""
        made = np.clip(super().score(inputs) * 0 + 0.4 + self.more, 0, 1).astype(np.float32)
        number = self.rows + np.arange(len(made))
        self.rows += len(made)
        if self.nan_every:
            made[number % self.nan_every == self.nan_every - 1] = np.nan
        return made


class House:
    """A twin that serves, a journal in a list, and one other model."""

    def __init__(self, other: MeanScorer, *, first: MeanScorer | None = None) -> None:
        manifest = a_manifest()
        kind = a_kind()
        self.clock, self.journal = FakeClock(), list[ReadingBatch]()
        catalogue = Catalogue([kind], most_entities=4)
        catalogue.add("e0", 0)
        models = [KindModel(manifest, scorer, [0, 1], sha256=name) for name, scorer in
                  (("old", first or OddScorer()), ("new", other))]  # fmt: skip
        self.twin = Twin(catalogue, {0: models[0]}, [], most_ahead_ms=1000)
        candidates = {
            model.sha256: Candidate(
                sha256=model.sha256,
                name="m",
                version=place + 1,
                model=model,
                kind=kind,
                rules=[],
                drift=None,
                canary_rows=np.zeros((1, len(manifest.features)), np.float32),
                canary_scores=np.full(1, 0.4, np.float32),
            )
            for place, model in enumerate(models)
        }
        self.served: list[str] = []
        self.scores: list[float] = []
        self.trial = ModelTrial(
            twin=self.twin,
            drift=DriftWatch({}),
            clock=self.clock,
            gates=Gates(pairs=20),
            kinds=["room"],
            serving={"room": candidates["old"]},
            load=lambda _kind, sha256: candidates[sha256],
            read=self._read,
            position=lambda _back_ms: 0,
            served=lambda _kind, model: self.served.append(model.sha256),
            reload=lambda: ["a new start was needed"],
        )
        self._second = 0

    def _read(self, position: int) -> Iterator[tuple[int, ReadingBatch]]:
        yield from ((number, batch) for number, batch in enumerate(self.journal, 1) if number > position)

    def measure(self, seconds: int) -> None:
        """Let readings come, a second each, and the trial read on."""
        for _ in range(seconds):
            at_ms = T0_MS + 1000 * self._second
            self._second += 1
            batch = a_batch(values=(20.0, 400.0), times_ms=(at_ms, at_ms), series=(0, 1))
            taken = self.twin.take(batch, now_ms=at_ms)
            self.trial.take(taken)
            self.scores += [score for made in taken.scores for score in made.score.tolist()]
            self.journal.append(taken.stored)
            self.clock.pass_ms(1000)
            self.trial.step()

    def judged(self) -> Judged:
        """Return what is said once the time is over."""
        return self.trial.judge_shadow(is_over=True)


def test_it_is_warm_once_it_has_read_the_journal_also_where_nothing_follows() -> None:
    """A gateway that hears nothing for a while is not behind."""
    house = House(OddScorer())
    house.measure(30)
    house.trial.begin("room", "new")
    assert house.trial.is_behind
    house.trial.step()
    assert not house.trial.is_behind
    assert house.judged().lacks == "0 of 20 pairs of scores"


def test_the_same_model_is_as_the_one_before_and_takes_over_in_a_moment() -> None:
    """No tick is lost or scored twice where they change places, and the one before goes on beside it."""
    house = House(OddScorer())
    house.measure(30)
    house.trial.begin("room", "new")
    house.measure(40)
    judged = house.judged()
    assert (judged.reasons, judged.is_enough, judged.detail["difference"]) == ([], True, 0.0)

    before = int(house.twin.scoring[0].grid.newest_ms[0])
    assert house.trial.activate("model/room", "new") == ""
    assert int(house.twin.scoring[0].grid.newest_ms[0]) == before
    assert house.twin.models[0].sha256 == "new"
    assert house.served == ["new"]
    house.measure(30)
    assert house.trial.judge_probation("room").detail["pairs"] >= 20
    assert house.trial.revert("model/room", "old")
    assert house.twin.models[0].sha256 == "old"


def test_one_score_in_a_thousand_that_is_no_number_is_found() -> None:
    """In the shadow before it serves; on probation at once, and it is left out of what is scored."""
    house = House(OddScorer(nan_every=1_000))
    house.trial.begin("room", "new")
    house.measure(60)
    assert house.trial.judge_shadow(is_over=False).reasons == []
    house.measure(1_000)
    assert house.trial.judge_shadow(is_over=False).reasons == ["1 scores were no number between 0 and 1"]

    later = House(OddScorer(nan_every=90))
    later.trial.begin("room", "new")
    later.measure(60)
    later.trial.activate("model/room", "new")
    later.measure(60)
    assert len(later.scores) == 118
    assert not np.isnan(later.scores).any()
    assert "1 scores were no number between 0 and 1" in later.trial.judge_probation("room").reasons


@pytest.mark.parametrize(("more", "said"), [(0.35, "off on average"), (0.6, "ends of the scale")])
def test_a_model_that_says_otherwise_is_found(more: float, said: str) -> None:
    """By its mean, or because it says all or nothing."""
    house = House(OddScorer(more=more))
    house.trial.begin("room", "new")
    house.measure(60)
    assert any(said in reason for reason in house.judged().reasons)


def test_a_canary_that_stops_matching_is_found_on_probation() -> None:
    """Its golden rows must give what they gave when it was made."""
    scorer = OddScorer()
    house = House(scorer)
    house.trial.begin("room", "new")
    house.measure(40)
    house.trial.activate("model/room", "new")
    house.measure(5)
    assert house.trial.judge_probation("room").reasons == []
    scorer.more = 0.15
    house.measure(5)
    assert any("canary" in reason for reason in house.trial.judge_probation("room").reasons)


def test_what_is_not_beside_needs_a_new_start() -> None:
    """And says what came of it."""
    house = House(OddScorer())
    assert house.trial.activate("model/room", "new") == "a new start was needed"
    assert not house.trial.revert("model/room", "old")
