"""The statistics, each against another library, a published example, a hand count, or its own promise of coverage."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from adjudge import metrics

counts = st.integers(0, 400)


def ones(n: int) -> np.ndarray:
    return np.ones(n, dtype=np.int64)


# -- shares


@given(right=counts, wrong=counts, level=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys_wilson(right, wrong, level):
    n = right + wrong or 1
    right = min(right, n)
    theirs = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    ours = metrics.wilson(right / n, n, level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(right=counts, wrong=counts)
def test_a_share_of_single_orders_without_ties_is_plain_wilson(right, wrong):
    right_N = np.array([2] * right + [0] * wrong)
    estimate = metrics.share(right_N, ones(right + wrong), 0.95)
    if right + wrong == 0:
        assert estimate is None
        return
    plain = metrics.wilson(right / (right + wrong), right + wrong, 0.95)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((plain.value, plain.low, plain.high))


@given(right=counts, wrong=st.integers(1, 400))
def test_a_second_order_that_always_agrees_buys_no_precision(right, wrong):
    both = metrics.share(np.array([4] * right + [0] * wrong), 2 * ones(right + wrong), 0.95)
    one = metrics.share(np.array([2] * right + [0] * wrong), ones(right + wrong), 0.95)
    assert (both.low, both.high) == pytest.approx((one.low, one.high))


def test_independent_orders_count_nearly_as_twice_the_instances():
    right_N = np.random.default_rng(1).binomial(2, 0.7, size=2000) * 2
    estimate = metrics.share(right_N, 2 * ones(2000), 0.95)
    plain = metrics.wilson(estimate.value, 4000, 0.95)
    assert estimate.high - estimate.low == pytest.approx(plain.high - plain.low, rel=0.05)


def test_an_order_that_does_not_count_changes_nothing():
    with_idle = metrics.share(np.array([2, 0, 4, 0]), np.array([1, 1, 2, 0]), 0.95)
    assert with_idle == metrics.share(np.array([2, 0, 4]), np.array([1, 1, 2]), 0.95)


@pytest.mark.parametrize(("right", "value"), [(0, 0.0), (1, 0.5), (2, 1.0)])
def test_a_sample_without_variance_still_has_an_honest_interval(right, value):
    small, large = (metrics.share(np.full(n, right), ones(n), 0.95) for n in (10, 1000))
    for estimate in (small, large):
        assert estimate.value == value and estimate.low <= value <= estimate.high
    assert small.high - small.low > large.high - large.low > 0.001


def draw_right(rng: np.random.Generator, n: int, p: float, tie: float, agree: float) -> np.ndarray:
    """Halves over two orders (n,) with mean reward p; the second order repeats the first with chance `agree`."""
    first, second = (
        np.where(rng.random(n) < tie, 1, 2 * (rng.random(n) < (p - tie / 2) / (1 - tie))) for _ in range(2)
    )
    return first + np.where(rng.random(n) < agree, first, second)


@pytest.mark.parametrize("n", [15, 60, 300])
@pytest.mark.parametrize(("p", "tie"), [(0.5, 0.0), (0.6, 0.5), (0.9, 0.0), (0.97, 0.02)])
@pytest.mark.parametrize("agree", [0.0, 0.6, 1.0])
def test_the_interval_of_a_share_covers_the_truth_as_often_as_it_says(n, p, tie, agree):
    rng = np.random.default_rng([n, round(100 * p), round(10 * agree)])
    estimates = [metrics.share(draw_right(rng, n, p, tie, agree), 2 * ones(n), 0.95) for _ in range(500)]
    covered = np.mean([e.low <= p <= e.high for e in estimates])
    assert covered >= 0.92  # 0.95 less three standard errors of 500 draws


# -- gains


def draw_pairs(seed: int, n: int, gain: float) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Two arms with correlated rewards, one or two orders an instance."""
    rng = np.random.default_rng(seed)
    easy_N, orders_N = rng.random(n), rng.integers(1, 3, n)
    arms = [2 * rng.binomial(orders_N, np.clip(easy_N + shift, 0, 1)) for shift in (0.0, gain)]
    return (arms[0], orders_N), (arms[1], orders_N)


@pytest.mark.parametrize("seed", range(5))
def test_the_gains_interval_is_scipys_paired_bootstrap(seed):
    base, other = draw_pairs(seed, 300, 0.1)

    def statistic(x, n, y, m, axis=-1):
        return y.sum(axis=axis) / (2 * m.sum(axis=axis)) - x.sum(axis=axis) / (2 * n.sum(axis=axis))

    theirs = stats.bootstrap(
        (*base, *other), statistic, paired=True, method="percentile", n_resamples=20_000, rng=np.random.default_rng(9)
    ).confidence_interval
    ours = metrics.paired_gain(base, other, level=0.95, resamples=20_000, seed=seed)
    assert ours.value == pytest.approx(float(statistic(*base, *other)))
    # The percentiles of 300 instances are a hair further out; a resample moves in steps of 1/450.
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_gains_interval_covers_the_truth_as_often_as_it_says():
    truth = 0.1 - 0.1**2 / 2  # mean of clip(easy + 0.1, 0, 1) - easy
    gains = [metrics.paired_gain(*draw_pairs(s, 80, 0.1), level=0.95, resamples=1000, seed=s) for s in range(300)]
    assert np.mean([g.low <= truth <= g.high for g in gains]) >= 0.91


@pytest.mark.parametrize("count", [3, 5, 7, 12])
def test_the_gains_interval_is_not_too_narrow_for_few_instances(count):
    truth = 0.1 - 0.1**2 / 2  # mean of clip(easy + 0.1, 0, 1) - easy
    gains = [metrics.paired_gain(*draw_pairs(s, count, 0.1), level=0.95, resamples=1000, seed=s) for s in range(300)]
    assert np.mean([g.low <= truth <= g.high for g in gains]) >= 0.92


def test_exchanging_the_arms_negates_the_gain():
    base, other = draw_pairs(3, 200, 0.1)
    there = metrics.paired_gain(base, other, level=0.95, resamples=20_000, seed=0)
    back = metrics.paired_gain(other, base, level=0.95, resamples=20_000, seed=0)
    assert back.value == pytest.approx(-there.value)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.005)


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_instances():
    base, other = draw_pairs(4, 200, 0.1)
    shuffled = np.random.default_rng(0).permutation(200)
    again = [(right[shuffled], orders[shuffled]) for right, orders in (base, other)]
    first = metrics.paired_gain(base, other, level=0.95, resamples=2000, seed=7)
    assert metrics.paired_gain(*again, level=0.95, resamples=2000, seed=7) == first


def test_arms_that_never_differ_get_the_bound_of_what_could_be_unseen():
    same = (np.array([2] * 30 + [0] * 24), ones(54))
    gain = metrics.paired_gain(same, same, level=0.95, resamples=2000, seed=0)
    unseen = 1 - 0.025 ** (1 / 54)  # Clopper-Pearson's upper end of 0 in 54
    assert unseen == pytest.approx(stats.binomtest(0, 54).proportion_ci(0.95, method="exact").high)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.0, -unseen, unseen))


def test_two_instances_prove_nothing():
    gain = metrics.paired_gain((0 * ones(2), ones(2)), (2 * ones(2), ones(2)), level=0.95, resamples=2000, seed=0)
    assert gain.value == 1.0 and gain.high == 1.0 and gain.low < 0


def test_a_gain_needs_an_order_of_each_arm():
    idle = (0 * ones(3), 0 * ones(3))
    assert metrics.paired_gain(idle, (ones(3), ones(3)), level=0.95, resamples=100, seed=0) is None
    assert metrics.paired_gain(idle, idle, level=0.95, resamples=100, seed=0) is None


# -- tests and agreements


@given(only_base=st.integers(0, 3000), only_other=st.integers(0, 3000))
def test_mcnemar_is_scipys_exact_binomial_test(only_base, only_other):
    total = only_base + only_other
    theirs = stats.binomtest(only_base, total).pvalue if total else 1.0
    assert metrics.mcnemar(only_base, only_other) == pytest.approx(theirs, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_kappa_is_sklearns(pairs):
    x, y = np.array(pairs).T
    ours = metrics.kappa(x, y)
    if len({*x, *y}) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(cohen_kappa_score(x, y), abs=1e-12)


def test_alpha_of_krippendorffs_own_example_is_the_published_one():
    # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: four observers, twelve units, 0.743.
    ratings_KN = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, -1, -1, -1],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, -1, 3],
            [-1, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, -1],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, -1],
        ]
    )
    assert round(metrics.alpha(ratings_KN), 3) == 0.743


def test_alpha_is_not_made_up_where_it_has_no_meaning():
    assert metrics.alpha(np.full((3, 5), -1)) is None
    assert metrics.alpha(np.zeros((3, 0), dtype=int)) is None
    assert metrics.alpha(np.ones((2, 4), dtype=int)) is None
    assert metrics.alpha(np.array([[0, 1, -1], [-1, -1, 0]])) is None


def test_a_mean_leaves_out_what_is_not_known():
    assert metrics.mean(np.array([1.0, np.nan, 3.0])) == 2.0
    assert metrics.mean(np.array([np.nan])) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40))
def test_interval_alpha_is_krippendorffs(ratings):
    x_N, y_N = np.array(ratings, dtype=float).T
    ours = metrics.interval_alpha(x_N, y_N)
    if len({*x_N, *y_N}) < 2:
        assert ours is None
    else:
        theirs = krippendorff.alpha(reliability_data=np.stack([x_N, y_N]), level_of_measurement="interval")
        assert ours == pytest.approx(theirs, abs=1e-9)
