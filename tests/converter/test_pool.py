"""Facts about the features of candidates: they are those that the agent computes."""

from dataclasses import replace

import numpy as np
import pytest

from attwin.core.errors import DataError
from attwin.core.manifest import InputBuilder, Manifest
from attwin.wiring.offline import NoScorer, score_rows
from attwin_converter.candidates import Candidate, candidates
from attwin_converter.dataset import ColumnSettings
from attwin_converter.pool import Pool, dropped, inputs_of
from support.datasets import INDEPENDENT, SETTINGS, a_part

PART = a_part()
TRIED = candidates(is_independent=False)
NEWEST = Candidate(family="logistic", given="newest", penalty=1e-3)


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Return the pool of all candidates."""
    return Pool(SETTINGS, TRIED, PART.wide)


def of_agent(manifest: Manifest, *, is_raw: bool = False) -> "np.typing.NDArray[np.float32]":
    """Return what the agent computes for a manifest."""
    found = score_rows(PART.wide, manifest, NoScorer())
    return found.raw if is_raw else found.features


def test_the_share_of_every_candidate_is_what_the_agent_computes(pool: Pool) -> None:
    """Newest values, windows and buckets; with the clock; against baselines and before them."""
    everything = pool.features(PART.wide)

    for candidate in TRIED:
        share = pool.share(candidate, everything)
        manifest = pool.manifest(candidate, share)
        np.testing.assert_allclose(share, of_agent(manifest), rtol=1e-5, atol=1e-5, err_msg=candidate.name)
        raw = pool.share(candidate, everything, is_raw=True)
        assert raw.shape == share.shape
        np.testing.assert_allclose(raw, of_agent(manifest, is_raw=True), rtol=1e-5, atol=1e-5)


def test_inputs_are_standardised_by_the_rows_that_the_manifest_was_fitted_to(pool: Pool) -> None:
    """Mean 0 and deviation 1 of what is known; the rest takes the mean, and its flag is 1."""
    candidate = NEWEST
    share = pool.share(candidate, pool.features(PART.wide))
    manifest = pool.manifest(candidate, share)

    inputs = inputs_of(manifest, share)

    is_known = ~np.isnan(share[:, 1])
    assert inputs[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert inputs[is_known, 1].std() == pytest.approx(1, abs=1e-5)
    assert (inputs[~is_known, 1] == 0).all()
    assert (inputs[:, 3] == ~is_known).all()
    assert 0 < is_known.sum() < len(is_known)


def test_the_weekday_is_given_where_weeks_are_known(pool: Pool) -> None:
    """Of four hours the day of the week would say which of them it is, and nothing of other weeks."""
    candidate = replace(NEWEST, clock=True)
    long = replace(PART.wide, time_ms=PART.wide.time_ms * 200)
    later = Pool(SETTINGS, [candidate], long)

    few = pool.manifest(candidate, pool.share(candidate, pool.features(PART.wide))).clock
    many = later.manifest(candidate, later.share(candidate, later.features(long))).clock

    assert "hour_sin_3" in few
    assert sorted(set(many) - set(few)) == ["weekday_cos", "weekday_sin"]


def test_a_value_far_above_the_usual_ones_is_bent(pool: Pool) -> None:
    """Log where it makes a metric less skewed; what has no such tail stays as it is."""
    candidate = NEWEST
    wide = replace(PART.wide, values=np.exp(PART.wide.values / [100, 1000]))
    other = Pool(SETTINGS, [candidate], wide)
    share = other.share(candidate, other.features(wide))

    bent = other.manifest(candidate, share)

    assert [spec.transform for spec in bent.features] == ["log", None]
    known = InputBuilder(bent).build(share)[0][:, 0]
    assert known.std() == pytest.approx(1, abs=0.05)
    assert pool.manifest(candidate, pool.share(candidate, pool.features(PART.wide))).features[0].transform is None


def test_a_dropped_metric_is_one_that_never_came(pool: Pool) -> None:
    """Every feature of it is missing, in the rows that lost it, as the agent would have it."""
    candidate = Candidate(family="dense", given="windows", penalty=1e-4)
    share = pool.share(candidate, pool.features(PART.wide))
    manifest = pool.manifest(candidate, share)
    lost = np.zeros((len(share), 2), np.bool_)
    lost[:, 0] = True
    blind = replace(PART.wide, values=np.where([True, False], np.nan, PART.wide.values))

    found = dropped(manifest, share, lost)

    # a row without any reading is no row to the agent
    some = ~np.isnan(blind.values[:, 1])
    np.testing.assert_allclose(found[some], score_rows(blind, manifest, NoScorer()).features[some], rtol=1e-5)


def test_sequences_are_as_long_as_their_buckets_have_readings() -> None:
    """Readings an hour apart would leave the buckets of ten minutes empty; then two fit a bucket."""
    candidate = Candidate(family="gru", given="buckets")
    wide = replace(PART.wide, time_ms=PART.wide.time_ms * 60)

    found = Pool(SETTINGS, [candidate], wide)

    # two rooms in turn: each is read every two hours
    assert found.look_back_ms == 12 * 2 * 2 * 3_600_000 + SETTINGS.lateness
    assert found.shape(candidate) == {"width": 26, "steps": 12, "channels": 2}


def test_a_metric_without_any_reading_is_refused() -> None:
    """It names the metric."""
    dead = replace(PART.wide, values=np.where([False, True], np.nan, PART.wide.values))

    with pytest.raises(DataError, match="metric noise has no reading in any training row"):
        Pool(SETTINGS, TRIED, dead)


def test_a_category_that_hardly_ever_comes_has_no_input() -> None:
    """One row in a thousand is learned by heart."""
    settings = replace(
        INDEPENDENT, metrics={"co2": ColumnSettings(), "noise": ColumnSettings(categories=["low", "high", "odd"])}
    )
    part = a_part(1000, entities=1000)
    code = np.arange(1000) % 2.0
    code[7] = 2
    wide = replace(part.wide, values=np.stack([part.wide.values[:, 0], code], axis=1))
    candidate = Candidate(family="logistic", given="newest")

    found = Pool(settings, [candidate], wide)

    manifest = found.manifest(candidate, found.share(candidate, found.features(wide)))
    assert [spec.categories for spec in manifest.features] == [None, ["low"], ["high"]]
