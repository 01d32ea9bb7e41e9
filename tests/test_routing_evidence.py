"""What was bought makes one verdict: hand counts, and laws that hold for any verdicts and weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from adjudge.routing.evidence import SHRINK, fit_weights, following, weigh
from adjudge.routing.table import Purchase, Seen, Table
from tests.tables_drawn import permuted, rated, signed, swapped

SIGNED, RATED = signed(), rated()
NAN = np.nan


def seen(said: list[list[float]]) -> Seen:
    said_NU = np.array(said, float)
    return Seen(np.empty((len(said_NU), 0)), np.ones(said_NU.shape, bool), said_NU, None, np.ones(said_NU.shape))


def rated_seen(*rating: list[list[float]]) -> Seen:
    """Of each row, of each purchase, the ratings of the responses."""
    rating_NUR = np.array(rating, float)
    bought_NU = np.ones(rating_NUR.shape[:2], bool)
    return Seen(
        np.empty((len(rating), 0)), bought_NU, np.full(bought_NU.shape, NAN), rating_NUR, np.ones(bought_NU.shape)
    )


def test_verdicts_are_added_up_by_weight_and_strength():
    found = weigh(seen([[1, -1, -0.5], [1, -1, -1], [NAN, NAN, NAN], [0, NAN, NAN]]), np.array([2.0, 1.0, 1.0]))
    assert found.lead_N.tolist() == [0.5, 0, 0, 0]
    assert found.wins_NR.tolist() == [[True, False], [True, True], [False, False], [True, True]]
    assert found.against_N.tolist() == [1.5, 2, 0, 0]
    assert found.silent_N.tolist() == [0, 0, 3, 2]


def test_the_highest_weighted_mean_of_ratings_wins():
    found = weigh(
        rated_seen([[7, 5, 5], [4, 8, 5]], [[7, 7, 1], [NAN] * 3], [[NAN] * 3, [NAN] * 3]), np.array([1.0, 2.0])
    )
    assert found.wins_NR.tolist() == [[False, True, False], [True, True, False], [False, False, False]]
    assert found.lead_N.tolist() == [pytest.approx((7 - 5) * 3), 0, 0]
    assert found.silent_N.tolist() == [0, 1, 2]


def test_a_response_that_one_purchase_did_not_rate_is_judged_by_the_other():
    found = weigh(rated_seen([[6, NAN], [2, 5]]), np.ones(2))
    assert found.wins_NR.tolist() == [[False, True]]


@given(
    st.lists(st.lists(st.sampled_from([1, 0.5, 0, -0.5, -1, NAN]), min_size=3, max_size=3), min_size=1, max_size=6),
    st.lists(st.floats(0.01, 5), min_size=3, max_size=3),
)
def test_exchanging_the_sides_exchanges_the_winners_and_keeps_the_lead(said, weights):
    ours, theirs = (weigh(seen([[s * x for x in row] for row in said]), np.array(weights)) for s in (1, -1))
    assert (ours.wins_NR == theirs.wins_NR[:, ::-1]).all()
    np.testing.assert_allclose(ours.lead_N, theirs.lead_N)
    np.testing.assert_allclose(ours.against_N, theirs.against_N)


@given(st.lists(st.sampled_from([1, 0.5, -0.5, -1]), min_size=2, max_size=5), st.data())
def test_one_more_verdict_for_a_side_never_lowers_its_lead(said, data):
    weights = np.array(data.draw(st.lists(st.floats(0.01, 5), min_size=len(said) + 1, max_size=len(said) + 1)))
    before = weigh(seen([said]), weights[:-1])
    after = weigh(seen([[*said, 1]]), weights)
    if before.wins_NR[0].tolist() == [True, False]:
        assert after.wins_NR[0].tolist() == [True, False]
        assert after.lead_N[0] >= before.lead_N[0] - 1e-9


def test_the_reward_of_a_shared_first_place_is_shared():
    table = SIGNED.at(np.arange(4))
    found = weigh(seen([[1, 1], [1, -1], [NAN, NAN], [0, 0]]), np.ones(2))
    right = np.array([1.0, 0.5, 0.0, 0.5])
    assert found.reward(table).tolist() == np.where((table.gold_N > 0) | (right < 1), right, 1 - right).tolist()


@pytest.mark.parametrize("table", [SIGNED, RATED], ids=["signed", "rated"])
def test_weights_are_never_negative_and_the_same_for_all_purchases_of_an_arm(table):
    weight_U = fit_weights(table, range(len(table.purchases)))
    assert (weight_U >= 0).all()
    for arm in {p.arm for p in table.purchases}:
        assert len({w for w, p in zip(weight_U, table.purchases, strict=True) if p.arm == arm}) == 1


def test_a_judge_that_is_wrong_more_often_than_right_is_muted_and_never_inverted():
    said_NU = SIGNED.said_NU.copy()
    said_NU[:, :2] *= np.where(np.sign(said_NU[:, :2]) == SIGNED.gold_N[:, None], -1, 1)
    weight_U = fit_weights(Table(**{**fields(SIGNED), "said_NU": said_NU}), range(6))
    assert 0 <= weight_U[0] < 0.1
    assert weight_U[4] > 0.5


def fields(table: Table) -> dict:
    return {name: getattr(table, name) for name in Table.__dataclass_fields__}


def test_weights_are_the_optimum_that_another_solver_finds():
    among = [0, 2, 3, 4]
    arms = ["cheap", "middling", "middling", "dear"]

    def loss(w_K: np.ndarray) -> float:
        of = dict(zip(("cheap", "middling", "dear"), w_K, strict=True))
        margin_N = sum(
            of[arm] * np.nan_to_num(SIGNED.said_NU[:, u]) for arm, u in zip(arms, among, strict=True)
        ) * np.asarray(SIGNED.gold_N)
        return float(-np.log(expit(margin_N)).sum() + SHRINK * ((w_K - 1) ** 2).sum())

    best = minimize(loss, [0.5, 0.5, 0.5], method="SLSQP", bounds=[(0, None)] * 3, options={"ftol": 1e-12}).x
    np.testing.assert_allclose(fit_weights(SIGNED, among)[[0, 2, 4]], best, atol=1e-3)


def test_little_data_keeps_weights_equal():
    few = fit_weights(SIGNED.at(np.arange(2)), range(6))
    many = fit_weights(SIGNED, range(6))
    assert np.ptp(few) < 0.5 * np.ptp(many)


@pytest.mark.parametrize("table", [SIGNED, RATED], ids=["signed", "rated"])
def test_weights_do_not_depend_on_names_of_sides_or_the_order_of_arms(table):
    weight_U = fit_weights(table, range(len(table.purchases)))
    np.testing.assert_allclose(fit_weights(swapped(table), range(len(table.purchases))), weight_U, atol=1e-4)
    other = permuted(table, tuple(reversed(range(len(table.arms)))))
    turned_U = fit_weights(other, range(len(table.purchases)))
    place = [other.purchases.index(p) for p in table.purchases]
    np.testing.assert_allclose(turned_U[place], weight_U, atol=1e-4)


def test_of_each_arm_the_next_order_or_draw_follows():
    two = (Purchase("a"), Purchase("a", 1), Purchase("b"), Purchase("b", 1))
    assert following(two, []) == [0, 2]
    assert following(two, [0]) == [1, 2]
    assert following(two, [0, 1, 2, 3]) == []
    draws = tuple(Purchase("a", 0, j) for j in range(3))
    assert following(draws, [0, 1]) == [2]
