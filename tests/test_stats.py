import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.stats import (
    Interval,
    auc,
    calibration_curve,
    calibration_error,
    choice_coefficients,
    clopper_pearson,
    jackknife,
    mean_interval,
    paired_difference,
    paired_test,
    rank_correlation,
    rate,
    simultaneous_means,
    upper_bound_zero,
    wilson,
)
from custodes.types import InputError


def coverage(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


# ---------------------------------------------------------------- rates


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_rate_intervals_hold_their_estimate_and_never_have_width_zero(kn):
    for method in (wilson, clopper_pearson):
        found, mirrored = method(*kn), method(kn[1] - kn[0], kn[1])
        assert 0 <= found.low < found.high <= 1
        assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)
        if kn[1]:
            assert found.low <= found.estimate <= found.high


@given(st.integers(1, 40), st.floats(0.01, 0.99))
def test_clopper_pearson_covers_at_least_the_level(n, p):
    from scipy.stats import binom

    intervals = [clopper_pearson(k, n) for k in range(n + 1)]
    covered = sum(binom.pmf(k, n, p) for k, i in enumerate(intervals) if i.low <= p <= i.high)
    assert covered >= 0.95 - 1e-9


def test_wilson_covers_about_the_level_and_takes_half_events():
    rng = np.random.default_rng(0)
    assert 0.93 < coverage([wilson(k, 30) for k in rng.binomial(30, 0.2, 2000)], 0.2) < 0.975
    assert wilson(1, 4).low < wilson(1.5, 4).low < wilson(2, 4).low


def test_zero_events_give_an_upper_bound():
    assert (1 - upper_bound_zero(20)) ** 20 == pytest.approx(0.05)  # had the rate been that, 0 of 20 had 5 %
    assert upper_bound_zero(0) == 1
    assert str(wilson(0, 20)).startswith("0 (at most 0.16")


def test_clustered_rates_cover_and_never_have_width_nothing():
    rng = np.random.default_rng(1)
    for p in (0.02, 0.3):
        found = []
        for _ in range(200):
            sizes = rng.integers(1, 15, 20)
            ids = np.repeat(np.arange(20), sizes)
            found.append(rate(rng.random(len(ids)) < rng.beta(p, 1 - p, 20)[ids], ids.tolist()))
        assert coverage(found, p) > 0.92
        assert all(0 <= i.low < i.high <= 1 for i in found)
    assert rate(np.ones(50), [i // 10 for i in range(50)]).low < 0.6  # five things, however often each
    assert rate([0.5, 0.5, 1.0]).estimate == pytest.approx(2 / 3)


def test_no_trials_say_nothing():
    assert wilson(0, 0).to_dict() == {"estimate": None, "low": 0.0, "high": 1.0, "n": 0}
    assert str(wilson(0, 0)) == "no estimate (n = 0)"


# ---------------------------------------------------------------- means


def test_mean_interval_covers_at_the_level():
    rng = np.random.default_rng(1)
    assert 0.93 < coverage([mean_interval(rng.normal(3, 2, 6)) for _ in range(2000)], 3) < 0.97


def test_clustered_interval_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(2)
    ids = np.repeat(np.arange(25), 8)
    samples = [rng.normal(0, 1, 25)[ids] + rng.normal(0, 0.5, 200) for _ in range(200)]
    assert coverage([mean_interval(x, ids.tolist()) for x in samples], 0) > 0.91
    assert coverage([mean_interval(x) for x in samples], 0) < 0.75
    assert mean_interval(samples[0], ids.tolist()).n == 25


def test_clusters_of_one_are_the_plain_interval():
    x = np.random.default_rng(3).normal(size=40)
    ids = [f"item {i}" for i in range(40)]
    plain, clustered = mean_interval(x), mean_interval(x, ids)
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high))
    for k in (0, 1, 20, 40):
        outcomes = np.arange(40) < k
        plain, clustered = rate(outcomes), rate(outcomes, ids)
        assert plain.low - clustered.low == pytest.approx(0, abs=0.02)
        assert clustered.high - plain.high == pytest.approx(0, abs=0.02)


def test_paired_difference_sees_through_what_pairs_share():
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 10, 100)
    found = paired_difference(shared + rng.normal(1, 0.5, 100), shared + rng.normal(0, 0.5, 100))
    assert 0 < found.low < 1 < found.high < 1.5


def test_differences_that_are_all_equal_are_not_certain():
    alike = paired_difference([1.5, 2.5, 7.0], [1.5, 2.5, 7.0])
    assert alike.estimate == 0
    assert alike.low == pytest.approx(-alike.high)
    assert alike.high > 1
    assert paired_difference([2, 2], [0, 0]).low < 0
    assert mean_interval([4.0] * 20).to_dict() == {"estimate": 4.0, "low": None, "high": None, "n": 20}
    assert str(mean_interval([4.0] * 20)) == "4 (no interval, n = 20)"


def test_paired_difference_turns_its_sign_with_its_arguments():
    a, b = np.random.default_rng(5).normal(size=(2, 30))
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_one_value_has_no_bounds_and_stays_valid_json():
    assert mean_interval([2.0]).to_dict() == {"estimate": 2.0, "low": None, "high": None, "n": 1}
    assert mean_interval([1.0, 2.0], ["a", "a"]).to_dict()["low"] is None


def test_paired_rates_cover_the_true_difference_and_never_have_width_nothing():
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(2000):
        a = rng.random(60) < 0.3
        b = np.where(rng.random(60) < 0.8, a, rng.random(60) < 0.1)  # the rate is 0.26
        found = paired_difference(a, b)
        covered.append(found.low <= 0.04 <= found.high)
    assert np.mean(covered) > 0.93
    nothing = paired_difference(np.zeros(40), np.zeros(40))
    assert nothing.estimate == 0
    assert nothing.low == pytest.approx(-nothing.high)
    assert 0.05 < nothing.high < 0.1
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_paired_test_names_itself_and_rejects_at_its_level():
    rng = np.random.default_rng(6)
    p = np.array([paired_test(*rng.normal(size=(2, 12))).p for _ in range(1000)])
    assert 0.03 < np.mean(p < 0.05) < 0.07
    assert paired_test(rng.normal(size=9), rng.normal(size=9)).test == "exact sign-flip"
    assert paired_test(rng.normal(size=90), rng.normal(size=90)).test == "paired t"
    ones, zeros = np.ones(9), np.zeros(9)
    assert paired_test(ones, zeros).test == "exact McNemar"
    assert paired_test(ones, zeros).p == pytest.approx(2 * 0.5**9)
    assert paired_test(ones, ones).p == 1


def test_the_exact_test_goes_through_every_sign():
    a, b = np.array([3.1, 0.4, 2.2, 5.0, 1.9]), np.array([2.0, 1.0, 0.1, 1.0, 1.0])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    as_far = np.abs((a - b) @ signs) >= abs((a - b).sum()) - 1e-9
    assert paired_test(a, b).p == pytest.approx(as_far.mean())
    whole = paired_test(np.round(10 * a), np.round(10 * b)).p  # counted, not gone through
    assert whole == pytest.approx(paired_test(np.round(10 * a) / 10, np.round(10 * b) / 10).p)


def test_few_pairs_can_not_be_beyond_chance_and_say_so():
    found = paired_test([2, 2], [0, 0])
    assert (found.test, found.p, found.too_few) == ("exact sign-flip", 0.5, True)
    assert found.note == "2 pairs are too few for a test: the smallest possible p is 0.5."
    assert paired_test([2.0] * 9, [0.0] * 9).note is None
    assert paired_test([2.0] * 30, [0.5] * 30).p == pytest.approx(2 * 0.5**30)
    assert paired_test([], []).p == 1


def test_a_test_on_clusters_rejects_at_its_level_where_the_plain_one_does_not():
    """Two treatments that differ on each of 20 things by luck, each thing seen ten times."""
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(20), 10)
    plain, clustered = [], []
    for _ in range(200):
        a, b = (rng.random(200) < rng.beta(0.4, 0.6, 20)[ids] for _ in range(2))
        plain.append(paired_test(a, b).p < 0.05)
        clustered.append(paired_test(a, b, ids.tolist()).p < 0.05)
    assert np.mean(plain) > 0.25
    assert np.mean(clustered) < 0.09


# ---------------------------------------------------------------- any statistic


def test_jackknife_of_a_mean_is_the_interval_of_the_mean():
    x = np.random.default_rng(7).exponential(size=40)
    found, mean = jackknife(np.mean, x), mean_interval(x)
    assert (found.low, found.high) == pytest.approx((mean.low, mean.high))


def test_jackknife_keeps_the_rows_of_several_arrays_together_and_covers():
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 40).T
        covered.append(jackknife(lambda a, b: float(np.corrcoef(a, b)[0, 1]), x, y, bounds=(-1, 1)))
    assert coverage(covered, 0.5) > 0.9


def test_what_was_not_seen_but_may_happen_gives_the_jackknife_a_width():
    assert jackknife(np.mean, np.ones(20), bounds=(0, 1)).low == 0
    found = jackknife(np.mean, np.ones(20), imaginary=[0.0], bounds=(0, 1))
    assert 0.5 < found.low < 0.95
    assert found.high == 1


# ---------------------------------------------------------------- correlation


def test_rank_correlation_covers_at_the_level():
    rng = np.random.default_rng(10)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's rho of a bivariate normal
    pairs = [rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 40) for _ in range(1000)]
    assert 0.92 < coverage([rank_correlation(p[:, 0], p[:, 1]) for p in pairs], truth) < 0.98


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=30))
def test_rank_correlation_sees_only_ranks_and_stays_in_range(pairs):
    a, b = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], float)
    found, stretched = rank_correlation(a, b), rank_correlation(np.exp(a / 3), b)
    assert found.to_dict() == pytest.approx(stretched.to_dict())
    assert -1 <= found.low < found.high <= 1
    if not np.isnan(found.estimate):
        assert found.low <= found.estimate <= found.high


def test_a_perfect_short_ranking_is_not_certain():
    five, fifty = rank_correlation(range(5), range(5)), rank_correlation(range(50), range(50))
    assert five.estimate == five.high == pytest.approx(1)
    assert 0 < five.low < fifty.low < 1


# ---------------------------------------------------------------- calibration


def test_calibration_error_covers_a_known_miscalibration():
    rng = np.random.default_rng(11)
    found = []
    for _ in range(25):
        p = rng.uniform(0.2, 0.8, 400)
        found.append(calibration_error(p, rng.random(400) < p - 0.15))
    assert coverage(found, 0.15) > 0.83


def test_calibrated_predictions_are_not_called_miscalibrated():
    rng = np.random.default_rng(12)
    p = rng.random(500)
    found = calibration_error(p, rng.random(500) < p)
    assert found.low < 0.02
    assert found.estimate < 0.1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(1, 12))
def test_calibration_curve_holds_every_item_once_and_in_order(pairs, bins):
    p, y = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    curve = calibration_curve(p, y, bins)
    assert sum(c.observed.n for c in curve) == len(pairs)
    assert len(curve) <= bins
    assert [c.predicted for c in curve] == sorted(c.predicted for c in curve)
    assert sum(c.observed.estimate * c.observed.n for c in curve) == pytest.approx(y.sum())


def test_equal_predictions_share_a_bin():
    assert calibration_error([0.5] * 10, [0, 1] * 5).estimate == 0
    assert len(calibration_curve([0.5] * 10, [0] * 5 + [1] * 5)) == 1


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "bad",
    [
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: clopper_pearson(1, 2, level=95),
        lambda: upper_bound_zero(-1),
        lambda: mean_interval([1.0, float("nan")]),
        lambda: mean_interval([[1.0], [2.0]]),
        lambda: mean_interval([1.0, 2.0], ["a"]),
        lambda: paired_difference([1.0, 2.0], [1.0]),
        lambda: paired_difference([1.0, 0.0], [1.0, 0.0], ["a"]),
        lambda: paired_test([1.0, 2.0], [1.0, 3.0], ["a"]),
        lambda: rate([0.0, 1.5]),
        lambda: rate([0.0, 1.0], ["a"]),
        lambda: paired_test([1.0], [1.0, 2.0]),
        lambda: jackknife(np.mean),
        lambda: jackknife(lambda a, b: 0.0, [1, 2], [1]),
        lambda: rank_correlation([1, 2, 3], [1, 2]),
        lambda: calibration_error([1.2, 0.3], [1, 0]),
        lambda: calibration_error([0.2, 0.3], [1, 0], bins=0),
        lambda: calibration_curve([0.2, 0.3], [1, 2]),
    ],
)
def test_wrong_input_is_named_in_one_sentence(bad):
    with pytest.raises(InputError) as error:
        bad()
    assert "\n" not in str(error.value)


def test_auc_is_the_chance_of_being_above_and_ties_count_half():
    assert auc([1, 2, 3, 4], [0, 0, 1, 1]).estimate == 1
    assert auc([1, 1, 1, 1], [0, 1, 0, 1]).estimate == 0.5
    rng = np.random.default_rng(0)
    score, truth = rng.integers(0, 5, 60), rng.random(60) < 0.4
    above = score[truth][:, None] - score[~truth][None]
    assert auc(score, truth).estimate == pytest.approx(np.mean((above > 0) + 0.5 * (above == 0)))
    assert auc(-score, truth).estimate == pytest.approx(1 - auc(score, truth).estimate)
    assert math.isnan(auc([1, 2], [1, 1]).estimate)


@pytest.mark.parametrize(("a", "b"), [(4, 4), (4, 50), (20, 20), (50, 50)])
def test_perfect_separation_of_few_is_not_certain(a, b):
    truth = np.arange(a + b) < a
    up, down = auc(truth.astype(float), truth), auc(-truth.astype(float), truth)
    assert up.estimate == up.high == 1
    assert 1 - 4 / min(a, b) ** 0.9 < up.low < 1 - 1 / (a + b)
    assert down.high == pytest.approx(1 - up.low)


def test_versions_of_one_thing_make_an_area_no_surer():
    rng = np.random.default_rng(4)
    score, truth = rng.normal(size=20) + (np.arange(20) < 10), np.arange(20) < 10
    once = auc(score, truth)
    again = auc(np.repeat(score, 10), np.repeat(truth, 10), np.repeat(np.arange(20), 10).tolist())
    assert again.estimate == pytest.approx(once.estimate)
    assert again.high - again.low > 0.85 * (once.high - once.low)
    blind = auc(np.repeat(score, 10), np.repeat(truth, 10))
    assert blind.high - blind.low < 0.5 * (once.high - once.low)


def test_calibrated_predictions_have_an_error_of_0_in_the_interval_however_few():
    rng = np.random.default_rng(5)
    for n in (30, 100, 400):
        found = []
        for _ in range(40):
            p = rng.uniform(0.5, 1, n)
            found.append(calibration_error(p, rng.random(n) < p))
        assert coverage(found, 0) > 0.85
        assert all(i.high > 0 for i in found)
        assert np.mean([i.estimate for i in found]) < 0.4 / math.sqrt(n)  # the noise of the bins is off


def test_the_interval_of_auc_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    true = float(scipy.stats.norm.cdf(1 / math.sqrt(2)))  # two unit normals, one apart
    covered = []
    for _ in range(400):
        truth = np.arange(120) < 50
        found = auc(rng.normal(size=120) + truth, truth)
        covered.append(found.low < true < found.high)
    assert 0.91 < np.mean(covered) < 0.985


def test_choice_coefficients_turn_with_the_sides_and_count_clusters() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = rng.random(200) < 1 / (1 + np.exp(-x @ [1.0, -2.0]))
    there, back = choice_coefficients(x, y), choice_coefficients(-x, ~y)
    assert [i.estimate for i in there] == pytest.approx([i.estimate for i in back], abs=1e-4)
    doubled = choice_coefficients(np.repeat(x, 2, 0), np.repeat(y, 2), np.repeat(np.arange(200), 2).tolist(), prior=50)
    once = choice_coefficients(x, y, prior=50)
    assert [i.high - i.low for i in doubled] == pytest.approx([i.high - i.low for i in once], rel=0.01)
    assert doubled[0].n == 200


def test_choice_coefficients_stay_finite_where_a_property_decides_all() -> None:
    found = choice_coefficients([[1.0]] * 40, np.ones(40))[0]
    assert 1 < found.estimate < 20
    assert np.isinf(choice_coefficients([[1.0], [2.0]], [1.0, 1.0], ["a", "a"])[0].high)  # one cluster tells nothing
    with pytest.raises(InputError, match="differences of 2 choices must be 2 rows"):
        choice_coefficients([[np.nan], [1.0]], [1.0, 0.0])


def test_intervals_of_several_means_hold_at_once_and_are_narrower_where_means_go_together():
    rng, held, p, mean = np.random.default_rng(3), [], [], np.arange(6.0)
    for _ in range(300):
        shared = rng.exponential(size=40) - 1
        found = simultaneous_means(mean[:, None] + 0.8 * shared + 0.6 * rng.normal(size=(6, 40)))
        held.append(all(i.low < m < i.high for (i, _), m in zip(found, mean, strict=True)))
        p.append(found[0][1])
    print(
        f"six means at once: coverage {np.mean(held):.3f}, false alarms of the first {np.mean(np.array(p) < 0.05):.3f}"
    )
    assert 0.91 < np.mean(held) < 0.99
    assert np.mean(np.array(p) < 0.05) < 0.05
    together, apart = (
        simultaneous_means(share * rng.normal(size=200) + math.sqrt(1 - share**2) * rng.normal(size=(20, 200)))
        for share in (0.99, 0.0)
    )
    width = [np.mean([i.high - i.low for i, _ in found]) for found in (together, apart)]
    alone = np.mean([i.high - i.low for i in [mean_interval(rng.normal(size=200)) for _ in range(20)]])
    assert alone < 1.1 * width[0] < width[1]


def test_several_means_without_spread_have_no_false_certainty():
    (zero, p), (_, q) = simultaneous_means([[0.0] * 8, [1.0] * 8])
    assert (p, q) == (1.0, 1.0)
    assert not np.isfinite(zero.low)
    (same, p), (varies, _) = simultaneous_means([[1.0] * 8, [0.0, 1.0] * 4])
    assert p == 2 / 2**8
    assert same.high - same.low == pytest.approx(varies.high - varies.low)
    assert varies.low < 0.5 < varies.high
    assert simultaneous_means([[3.0]])[0][1] == 1.0
