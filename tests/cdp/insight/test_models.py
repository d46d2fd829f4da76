"""Fitted models against published figures: CDNOW, the donations of sBG, the flies of Walton, and worked examples."""

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.insight.bgnbd import fit_bgnbd
from cdp.insight.gammagamma import fit_gammagamma
from cdp.insight.markov import forecast, removal_effects, stationary, transitions, value
from cdp.insight.paretonbd import fit_paretonbd
from cdp.insight.sbg import fit_sbg
from cdp.insight.surveys import csat, nps
from cdp.insight.survival import kaplan_meier, log_rank
from tests.cdp.insight.walton import FLIES

END, HOLDOUT = date(1997, 9, 30), date(1998, 6, 30)


@pytest.fixture(scope="module")
def cdnow(reference):
    """Repeat days, weeks to the last, weeks of age, mean spend of repeats, repeats of the holdout: shapes (2357,)."""
    days: dict[str, dict[date, float]] = {}
    for line in reference.joinpath("cdnow_sample.txt").read_text().splitlines():
        who, _, day, _, dollars = line.split()
        at = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        days.setdefault(who, {}).setdefault(at, 0.0)
        days[who][at] += float(dollars)
    rows = []
    for bought in days.values():
        first, seen = min(bought), sorted(d for d in bought if d <= END)
        spent = [bought[d] for d in seen[1:]]
        later = sum(1 for d in bought if END < d <= HOLDOUT)
        rows.append(
            (
                len(seen) - 1,
                (seen[-1] - first).days / 7,
                (END - first).days / 7,
                np.mean(spent) if spent else 0.0,
                later,
            )
        )
    return np.array(rows, dtype=float).T


def test_customer_lifetime_value_bgnbd_reproduces_cdnow(cdnow):
    x, t_x, age, _, later = cdnow
    model = fit_bgnbd(x, t_x, age)
    assert len(x) == 2357
    assert (model.r, model.alpha, model.a, model.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=0.0006)
    assert model.fit.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    assert (model.fit.converged, model.fit.at_bound) == (True, False)
    one = (np.array([2.0]), np.array([30.43]), np.array([38.86]))
    assert model.expected(*one, 39.0)[0] == pytest.approx(1.226, abs=0.001)
    assert model.alive(*one)[0] == pytest.approx(0.7266, abs=0.0001)
    assert model.new(39) == pytest.approx(1.195, abs=0.001)
    assert model.new(78) == pytest.approx(1.858, abs=0.001)
    predicted = model.expected(x, t_x, age, 39.0)
    assert np.corrcoef(predicted, later)[0, 1] == pytest.approx(0.626, abs=0.001)
    assert later.sum() == 1882
    assert predicted.sum() == pytest.approx(1653, abs=1)
    by_count = [predicted[np.minimum(x, 7) == n].mean() for n in range(8)]
    assert by_count == pytest.approx([0.225, 0.523, 1.044, 1.520, 2.164, 2.654, 3.504, 6.157], abs=0.002)


def test_a_fit_on_groups_of_equal_customers_is_the_fit_on_all(cdnow):
    x, t_x, age, _, _ = cdnow
    groups, weights = np.unique(np.stack([x, t_x, age]), axis=1, return_counts=True)
    whole, grouped = fit_bgnbd(x, t_x, age), fit_bgnbd(*groups, weights=weights)
    assert (grouped.r, grouped.alpha, grouped.a, grouped.b) == pytest.approx(
        (whole.r, whole.alpha, whole.a, whole.b), rel=1e-3
    )


def test_churn_is_silence_over_a_horizon_not_the_chance_to_be_gone(cdnow):
    """Who never bought again is alive for sure under BG/NBD; that says nothing about the next weeks."""
    x, t_x, age, _, later = cdnow
    model = fit_bgnbd(x, t_x, age)
    silent = model.silent(x, t_x, age, 39.0)
    assert silent.mean() == pytest.approx(np.mean(later == 0), abs=0.05)
    assert (silent >= 1 - model.alive(x, t_x, age) - 1e-12).all()
    assert (model.silent(x, t_x, age, 78.0) <= silent + 1e-12).all()


def test_customer_lifetime_value_paretonbd_reproduces_cdnow(cdnow):
    x, t_x, age, _, _ = cdnow
    model = fit_paretonbd(x, t_x, age)
    assert (model.r, model.alpha, model.s, model.beta) == pytest.approx((0.553, 10.578, 0.606, 11.669), rel=0.002)
    one = model.expected(np.array([26.0]), np.array([30.86]), np.array([31.0]), 52.0)
    assert one[0] == pytest.approx(25.46, abs=0.01)


def test_customer_lifetime_value_gammagamma_reproduces_cdnow(cdnow):
    x, _, _, mean, _ = cdnow
    model = fit_gammagamma(x, mean)
    assert (x > 0).sum() == 946
    assert (model.p, model.q, model.v) == pytest.approx((6.25, 3.74, 15.44), abs=0.02)
    assert model.average == pytest.approx(35.1, abs=0.2)
    expected = model.expected(x, mean)[:10]
    assert expected == pytest.approx([24.65, 18.91, 35.17, 35.17, 35.17, 71.46, 18.91, 35.17, 27.28, 35.17], abs=0.06)
    yen = fit_gammagamma(x, mean * 150)
    assert (yen.p, yen.q, yen.v / 150) == pytest.approx((model.p, model.q, model.v), rel=1e-4)


@pytest.mark.parametrize(
    ("remaining", "alpha", "beta"),
    [((100, 63.1, 46.8, 38.2, 32.6, 28.9, 26.2, 24.1), 0.704, 1.182), ((100, 86.9, 74.3, 65.3, 59.3, 55.1, 51.7, 49.1), 0.668, 3.806)],
)  # fmt: skip
def test_survival_sbg_reproduces_the_published_cohorts(remaining, alpha, beta):
    model = fit_sbg(np.array(remaining))
    assert (model.alpha, model.beta) == pytest.approx((alpha, beta), abs=0.001)
    assert model.survival(12)[1] == pytest.approx(beta / (alpha + beta), abs=0.001)
    for wrong in ((100,), (0, 0), (100, 110)):
        with pytest.raises(ValueError, match="never rise"):
            fit_sbg(np.array(wrong))


def test_survival_kaplan_meier_and_log_rank_reproduce_waltons_flies():
    durations, happened, group = (np.array(column) for column in zip(*FLIES, strict=True))
    happened = happened.astype(bool)
    curve = kaplan_meier(durations, happened)
    assert curve.median == 56
    assert [kaplan_meier(durations[group == g], happened[group == g]).median for g in ("control", "miR-137")] == [
        58,
        26,
    ]
    statistic, p = log_rank(durations, happened, group)
    assert statistic == pytest.approx(122.249, abs=0.001)
    assert p < 1e-20
    assert (np.diff(curve.survival) <= 0).all()
    assert ((curve.low <= curve.survival) & (curve.survival <= curve.high)).all()
    with pytest.raises(ValueError, match="two groups"):
        log_rank(durations, happened, np.zeros(len(durations)))


def test_survival_counts_those_who_still_wait():
    """Freireich (1963), remission under 6-MP in weeks: the textbook's curve."""
    weeks = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35.0])
    relapsed = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]).astype(bool)
    curve = kaplan_meier(weeks, relapsed)
    assert curve.survival == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=0.0006)
    assert curve.at(5) == 1
    assert curve.at(12) == pytest.approx(0.753, abs=0.0006)
    twice = kaplan_meier(weeks, relapsed, np.full(21, 2))
    assert twice.survival == pytest.approx(curve.survival)
    placebo = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23.0])
    both = (np.concatenate([weeks, placebo]), np.concatenate([relapsed, np.ones(21, bool)]), np.repeat([0, 1], 21))
    assert log_rank(*both)[0] == pytest.approx(16.79, abs=0.01)


def test_markov_value_reproduces_pfeifer_and_carraway():
    chances = [0.3, 0.2, 0.15, 0.05]
    matrix = np.zeros((5, 5))
    for state, again in enumerate(chances):
        matrix[state, 0], matrix[state, state + 1] = again, 1 - again
    matrix[4, 4] = 1
    found = value(matrix, np.array([36.0, -4, -4, -4, 0]), 0.2)
    assert found == pytest.approx([52.320, 5.554, 1.251, -1.820, 0], abs=0.001)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_markov_states_settle_where_the_closed_form_says(stays, returns):
    matrix = np.array([[stays, 1 - stays], [returns, 1 - returns]])
    settled = stationary(matrix)
    assert settled[0] == pytest.approx(returns / (returns + 1 - stays), abs=1e-9)
    assert settled @ matrix == pytest.approx(settled, abs=1e-9)


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=4, max_size=4), min_size=4, max_size=4), st.integers(0, 12))
def test_markov_rows_sum_to_one_and_nobody_is_lost_by_a_forecast(counts, steps):
    found = np.array(counts, dtype=float)
    matrix = transitions(found)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(4))
    seen = found.sum(axis=1) > 0
    assert (matrix[seen] > 0).all(), "a move that was never seen is not impossible"
    assert (matrix[~seen] == np.eye(4)[~seen]).all(), "where nobody was, nobody moves"
    assert forecast(np.full(4, 0.25), matrix, steps).sum(axis=1) == pytest.approx(np.ones(steps + 1))


def test_channel_optimisation_removal_effect_of_a_worked_example():
    """Journeys A→B→buy, A→lost, B→buy: without A one in three is left, without B none."""
    start, a, b, bought, lost = range(5)
    counts = np.zeros((5, 5))
    counts[start, a], counts[start, b] = 2, 1
    counts[a, b], counts[a, lost], counts[b, bought] = 1, 1, 2
    effects = removal_effects(counts, start, bought, lost)
    # P = 2/3·1/2 + 1/3 = 2/3; without A 1/3 (effect 1/2), without B 0 (effect 1)
    assert effects == pytest.approx({a: 1 / 3, b: 2 / 3})
    assert removal_effects(np.zeros((5, 5)), start, bought, lost) == {a: 0.0, b: 0.0}


def test_nps_reproduces_the_worked_example():
    found = nps(18, 11, 2)
    assert found is not None
    assert (found.value, found.error) == pytest.approx((51.6, 11.1), abs=0.05)
    assert found.low < found.value < found.high
    assert nps(0, 0, 0) is None
    everybody = nps(3, 0, 0)
    assert everybody is not None
    assert everybody.high == 100


@given(st.integers(0, 500), st.integers(0, 500))
def test_csat_has_an_interval_also_for_few(satisfied, others):
    found = csat(satisfied, satisfied + others)
    if satisfied + others == 0:
        assert found is None
        return
    assert found is not None
    assert -1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 100 + 1e-9
    assert math.isfinite(found.error)


def test_a_model_that_the_data_does_not_determine_says_so():
    """Everybody buys every week and nobody stops: dropout has no estimate, and the fit ends on its bounds instead of running away."""
    x = np.full(200, 50.0)
    model = fit_bgnbd(x, np.full(200, 50.0), np.full(200, 50.5))
    assert model.fit.at_bound
    assert math.isfinite(model.fit.log_likelihood)
    with pytest.raises(ValueError, match="not finite"):
        fit_bgnbd(np.array([]), np.array([]), np.array([]))
