"""What every router owes, whatever it is made of: all that the registry names are held to the same claims.

Fitted on small drawn tables (tables_drawn.py): verdicts of three arms in both orders, and ratings of four responses.
"""

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

from adjudge.errors import BudgetError, DataError
from adjudge.routing import registry
from adjudge.routing.ladder import mix
from adjudge.routing.registry import Options
from adjudge.routing.router import STOP, State, expected, play
from adjudge.routing.table import Table
from tests.tables_drawn import permuted, rated, signed

TABLES = {"signed": signed, "rated": rated}


class Row(NamedTuple):
    """`reads`: looks at features. `same`: least share of rows on which an order of arms must not matter; below 1 where
    an optimiser stops a little elsewhere. `slack`: share by which spending on the fitting rows may exceed a budget that
    was set out of fold."""

    reads: bool = True
    same: float = 0.97
    slack: float = 0.06


EXACT = Row(reads=False, same=1.0, slack=1e-9)  # nothing is fitted but a choice of sets or paths
KNOWN = {
    "always": EXACT,
    "random": EXACT,
    "self-routing": EXACT,
    "while-tied": EXACT,
    "static": EXACT._replace(slack=0.01),
    "threshold": EXACT._replace(slack=0.06),
    "knn": Row(same=1.0),
    "racer-observed": Row(reads=False),
    "network": Row(slack=0.1),
}
ROUTERS = {name: KNOWN.get(name, Row()) for name in registry.ROUTERS}

every_router = pytest.mark.parametrize("name", ROUTERS)
every_reader = pytest.mark.parametrize("name", [name for name, row in ROUTERS.items() if row.reads])
every_table = pytest.mark.parametrize("kind", TABLES)


@cache
def table_of(kind: str) -> Table:
    return TABLES[kind]()


def fit(name: str, table: Table, seed: int = 0) -> Any:
    """As the registry fits it. Where an arm has to be named it is the dearest, whatever the order of the arms; what is
    trained for each budget is trained for one."""
    cost_K = table.arm_costs().mean(axis=0)
    arm = max(zip(cost_K, table.arms, strict=True))[1]
    middle = float((cost_K.min() + cost_K.max()) / 2 / cost_K[0])
    options = Options(asking=(arm,), budgets=(middle,))
    return registry.fit(f"always:{arm}" if name == "always" else name, table, options, seed)


@cache
def fitted(name: str, kind: str) -> Any:
    return fit(name, table_of(kind))


def draws(table: Table) -> np.ndarray:
    return np.random.default_rng(5).random(len(table))


def budgets(router: Any) -> np.ndarray:
    costs = [rung.cost for rung in router.rungs]
    return np.linspace(min(costs), max(costs) * 1.1, 7)


def bought(router: Any, table: Table) -> list[np.ndarray]:
    """What each rung buys, by purchase in a common order."""
    order = sorted(range(len(table.purchases)), key=lambda u: table.purchases[u])
    return [play(router, table, k, draws(table)).bought_NU[:, order] for k in range(len(router.rungs))]


@every_table
@every_router
def test_a_budget_is_kept_out_of_fold_and_on_the_fitting_rows(name, kind):
    router, table = fitted(name, kind), table_of(kind)
    for budget in budgets(router):
        planned = sum(share * router.rungs[k].cost for k, share in mix(router.rungs, budget))
        assert planned <= budget * (1 + 1e-9)
        assert expected(router, table, budget, draws(table)).cost_N.mean() <= budget * (1 + ROUTERS[name].slack)


@every_table
@every_router
def test_shares_of_rungs_are_probabilities_that_sum_to_one(name, kind):
    for budget in budgets(fitted(name, kind)):
        shares = [share for _, share in mix(fitted(name, kind).rungs, budget)]
        assert sum(shares) == pytest.approx(1, abs=1e-12)
        assert all(0 < share <= 1 for share in shares)


@every_table
@every_router
def test_a_budget_below_the_cheapest_rung_is_refused_with_that_cost(name, kind):
    router = fitted(name, kind)
    least = min(rung.cost for rung in router.rungs)
    with pytest.raises(BudgetError, match=f"{least:.6g}"):
        expected(router, table_of(kind), least * 0.9, draws(table_of(kind)))


@every_table
@every_router
def test_rungs_rise_in_cost(name, kind):
    costs = [rung.cost for rung in fitted(name, kind).rungs]
    assert costs == sorted(costs)


@every_table
@every_router
def test_a_larger_budget_never_lowers_the_reward_that_was_measured_out_of_fold(name, kind):
    rungs = fitted(name, kind).rungs
    rewards = [sum(share * rungs[k].reward for k, share in mix(rungs, b)) for b in budgets(fitted(name, kind))]
    assert all(high >= low - 1e-12 for low, high in pairwise(rewards))


@every_table
@every_router
def test_every_choice_is_a_purchase_that_was_not_made_and_whose_turn_it_is(name, kind):
    router, table = fitted(name, kind), table_of(kind)
    for k in range(len(router.rungs)):
        bought_NU = np.zeros(table.cost_NU.shape, bool)
        for _ in range(len(table.purchases) + 1):
            next_N = router.decide(table.seen(bought_NU), k, draws(table))
            rows = np.flatnonzero(next_N != STOP)
            if not len(rows):
                break
            assert not bought_NU[rows, next_N[rows]].any()
            for i in rows:
                purchase = table.purchases[next_N[i]]
                earlier = [u for u, p in enumerate(table.purchases) if p.arm == purchase.arm]
                assert bought_NU[i, earlier].sum() == purchase.place
            bought_NU[rows, next_N[rows]] = True
        else:
            pytest.fail("it goes on buying")
        assert bought_NU.any(axis=1).all(), "a row without any purchase has no verdict"


@every_table
@every_router
def test_weights_are_positive_so_that_no_verdict_is_inverted_or_mute(name, kind):
    router = fitted(name, kind)
    for k in range(len(router.rungs)):
        weight_U = router.weights(k)
        assert weight_U.shape == (len(router.purchases),)
        used = play(router, table_of(kind), k, draws(table_of(kind))).bought_NU.any(axis=0)
        assert (weight_U[used] > 0).all()


@every_table
@every_router
def test_a_restored_router_decides_as_before(name, kind):
    router, table = fitted(name, kind), table_of(kind)
    card, arrays = router.state()
    kept = State(json.loads(json.dumps(card)), {key: array.copy() for key, array in arrays.items()})
    again = registry.restore(name, kept)
    assert again.purchases == router.purchases
    assert again.rungs == router.rungs
    for k in range(len(router.rungs)):
        ours, theirs = (play(r, table, k, draws(table)) for r in (router, again))
        assert (ours.bought_NU == theirs.bought_NU).all()
        assert (ours.reward_N == theirs.reward_N).all()


@every_router
def test_the_same_seed_gives_the_same_router(name):
    first, second = (fit(name, table_of("signed"), 3) for _ in range(2))
    assert first.rungs == second.rungs
    for ours, theirs in zip(bought(first, table_of("signed")), bought(second, table_of("signed")), strict=True):
        assert (ours == theirs).all()


@every_table
@every_router
def test_the_order_of_the_arms_changes_nothing_but_their_places(name, kind):
    table = table_of(kind)
    turned = permuted(table, tuple(reversed(range(len(table.arms)))))
    router, other = fitted(name, kind), fit(name, turned)
    middle = float(np.mean([rung.cost for rung in router.rungs]))
    least = max(min(rung.cost for rung in r.rungs) for r in (router, other))
    for budget in (max(middle, least), max(rung.cost for rung in router.rungs)):
        ours = expected(router, table, budget, draws(table)).bought_NU
        theirs = expected(other, turned, budget, draws(table)).bought_NU
        place = [turned.purchases.index(purchase) for purchase in table.purchases]
        agree = np.isclose(ours, theirs[:, place], atol=1e-6).all(axis=1).mean()
        if ROUTERS[name].same == 1:
            assert agree == 1
        else:  # where rungs are a hair apart, so are the shares of their mixture
            assert np.abs(ours - theirs[:, place]).max(axis=1).mean() <= 1 - ROUTERS[name].same


@every_table
@every_router
def test_without_features_it_still_decides(name, kind):
    table = table_of(kind)
    bare = replace(table, x_ND=np.empty((len(table), 0)), features=())
    router = fit(name, bare)
    budget = max(rung.cost for rung in router.rungs)
    assert expected(router, bare, budget, draws(bare)).reward_N.mean() > 0.4


@every_router
def test_a_domain_that_was_never_seen_is_judged_like_any_other(name):
    table = table_of("signed")
    router = fit(name, table.at(np.flatnonzero(table.domain_N == "easy")))
    strange = table.at(np.flatnonzero(table.domain_N == "hard"))
    renamed = replace(strange, domain_N=np.full(len(strange), "never heard of"))
    for k in range(len(router.rungs)):
        ours, theirs = (play(router, t, k, draws(strange)) for t in (strange, renamed))
        assert ours.bought_NU.any(axis=1).all()
        assert (ours.bought_NU == theirs.bought_NU).all()


@every_reader
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_no_number_is_refused_by_name_at_fit_and_at_decision(name, bad):
    table = table_of("signed")
    x_ND = table.x_ND.copy()
    x_ND[7, 1] = bad
    broken = replace(table, x_ND=x_ND)
    with pytest.raises(DataError, match="length"):
        fit(name, broken)
    with pytest.raises(DataError, match="length"):
        fitted(name, "signed").decide(broken.seen(np.zeros(table.cost_NU.shape, bool)), 0, draws(table))


@every_reader
def test_rows_with_other_features_than_those_of_the_fit_are_refused(name):
    table = table_of("signed")
    narrow = replace(table, x_ND=table.x_ND[:, :2])
    with pytest.raises(DataError, match="2 features"):
        fitted(name, "signed").decide(narrow.seen(np.zeros(table.cost_NU.shape, bool)), 0, draws(table))


@every_router
def test_decisions_do_not_depend_on_what_was_not_bought_or_on_the_gold(name):
    table, router = table_of("signed"), fitted(name, "signed")
    rng = np.random.default_rng(0)
    for k in range(len(router.rungs)):
        before = play(router, table, k, draws(table)).bought_NU
        hidden = replace(
            table,
            said_NU=np.where(before, table.said_NU, rng.choice([-1.0, 1.0], table.said_NU.shape)),
            gold_N=-table.gold_N,
        )
        assert (play(router, hidden, k, draws(table)).bought_NU == before).all()
