"""Evaluation: what is counted against hand counts, what is fitted never sees what is tested, intervals against
formulas, and the registry's names."""

from dataclasses import replace

import numpy as np
import pytest

from adjudge.errors import ConfigError, DataError
from adjudge.routing import registry
from adjudge.routing.evaluate import Cell, evaluate, measure, reference_cost, shares
from adjudge.routing.registry import Known, Options
from adjudge.routing.scores import _first_reach, best_arm, scored
from adjudge.routing.splits import splits
from adjudge.routing.table import Purchase
from tests.tables import drawn_table

TABLE = drawn_table(160, arms=("cheap", "middling", "dear"))
RANDOM = list(splits(TABLE, "random", (0,)))
NAMES = ["static", "random", "threshold", "static+pacing", "always:dear", "oracle"]
KEYS = ["router", "budget", "split", "fold", "seed", "n", "accuracy", "cost_rel", "overrun", "share"]
SUMMARY = ["router", "budget", "split", "accuracy", "accuracy_low", "accuracy_high", "cost_rel", "overrun"]


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return evaluate(TABLE, NAMES, [1.5, 3.0], RANDOM)


@pytest.fixture(scope="module")
def found(cells):
    return scored(TABLE, cells)


def of(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def right(table, arm: str):
    """Whether each row's first verdict of an arm names the gold side."""
    return np.sign(table.said_NU[:, table.purchases.index(Purchase(arm))]) == table.gold_N


# -- what is counted


def test_rows_and_summary_hold_the_keys_of_the_design_first_and_in_its_order(found):
    assert [list(row)[: len(KEYS)] for row in found["rows"]] == [KEYS] * len(found["rows"])
    assert [list(row)[: len(SUMMARY)] for row in found["summary"]] == [SUMMARY] * len(found["summary"])
    assert len(found["rows"]) == len(NAMES) * 2 * len(RANDOM) and len(found["summary"]) == len(NAMES) * 2


def test_an_arm_alone_is_as_right_and_as_dear_as_a_hand_count_says(found):
    part = RANDOM[0]
    test, fitting = TABLE.at(part.test_N), TABLE.at(part.fit_N)
    row = of(found["rows"], router="always:dear", budget=3.0, fold=0, seed=0)[0]
    unit = fitting.cost_NU[:, 0].mean()
    assert row["n"] == len(np.unique(test.instance_N)) == 32
    assert row["accuracy"] == pytest.approx(right(test, "dear").mean(), abs=1e-6)
    assert row["cost_rel"] == pytest.approx(test.cost_NU[:, 4].mean() / unit, abs=1e-5)
    assert row["overrun"] == pytest.approx(row["cost_rel"] / 3 - 1, abs=1e-5)
    assert row["share"] == {"cheap": 0, "middling": 0, "dear": 1} and row["draws"] == {"dear": 1}
    assert row["note"] == "below the cheapest policy"
    summary = of(found["summary"], router="always:dear", budget=3.0)[0]
    assert summary["accuracy"] == pytest.approx(right(TABLE, "dear").mean(), abs=1e-6)
    assert summary["accuracy"] == of(found["summary"], router="always:dear", budget=1.5)[0]["accuracy"]


def test_a_random_mixture_costs_its_budget_and_is_as_right_as_its_arms(found):
    for budget in (1.5, 3.0):
        summary = of(found["summary"], router="random", budget=budget)[0]
        assert summary["cost_rel"] == pytest.approx(budget, rel=0.03)
        arms = [right(TABLE, arm).mean() for arm in TABLE.arms]
        assert min(arms) <= summary["accuracy"] <= max(arms)


def test_no_router_of_one_arm_beats_the_oracle_and_regret_is_what_is_missing(found):
    for row in of(found["rows"], router="random") + of(found["rows"], router="always:dear"):
        assert row["regret"] is None or row["regret"] >= -1e-9
    for row in of(found["rows"], router="oracle"):
        assert abs(row["regret"]) < 5e-3  # regret is read off a curve of forty points


def test_shares_count_a_larger_bundle_in_place_of_the_smaller_one_in_it():
    table = replace(TABLE, bundles=((0,), (0, 1, 2), (4,)))
    bought = np.zeros((4, 6))
    bought[0, 0] = bought[1, :3] = bought[2, 4] = 1  # one alone, the larger whole, the third
    bought[3, :2] = 1  # more than the first, less than the second
    assert shares(table, bought).tolist() == [0.5, 0.25, 0.25]


def test_costs_relative_to_an_arm_that_costs_nothing_are_refused():
    table = replace(TABLE, cost_NU=np.where(np.arange(6) < 2, 0.0, TABLE.cost_NU))
    with pytest.raises(
        DataError, match=r"cheap costs nothing in output_tokens.*name an arm that costs something first"
    ):
        reference_cost(table)


# -- what is fitted never sees what is tested


@pytest.mark.parametrize("name", ["static", "threshold", "while-tied", "random"])
def test_the_gold_of_the_test_rows_changes_nothing_that_is_bought(name):
    part = RANDOM[0]
    gold_N = TABLE.gold_N.copy()
    gold_N[part.test_N] *= -1
    plain, turned = (measure(t, part, [name], [1.5, 3.0], Options()) for t in (TABLE, replace(TABLE, gold_N=gold_N)))
    for one, two in zip(plain, turned, strict=True):
        assert (one.cost_I == two.cost_I).all() and (one.share_K == two.share_K).all()
        assert one.reward_I.mean() != two.reward_I.mean()


def test_processes_change_nothing(cells):
    again = evaluate(TABLE, NAMES, [1.5, 3.0], RANDOM[:1], jobs=2)
    alone = [cell for cell in cells if cell.fold == 0]
    assert [c[:5] for c in again] == [c[:5] for c in alone]
    for one, two in zip(again, alone, strict=True):
        assert (one.reward_I == two.reward_I).all() and (one.cost_I == two.cost_I).all()


def test_progress_is_told_once_a_fit_and_paced_routers_share_theirs():
    told = []
    evaluate(TABLE, ["random", "random+pacing", "always:dear"], [2.0], RANDOM[:2], done=lambda *n: told.append(n))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_paced_router_keeps_the_budget_where_the_test_is_dearer():
    parts = [part for part in splits(TABLE, "shift", range(2)) if part.name == "shift-dearer"]
    summary = scored(TABLE, evaluate(TABLE, ["random", "random+pacing"], [2.5], parts))["summary"]
    plain, paced = (of(summary, router=name)[0]["overrun"] for name in ("random", "random+pacing"))
    assert plain > 0.1 and paced <= 0.01


# -- intervals


def test_the_interval_of_an_arm_is_that_of_a_mean_over_instances(found):
    """The two rows of an instance are one draw: the formula's standard error is that of the instances' means."""
    summary = of(found["summary"], router="always:dear", budget=3.0)[0]
    right_I = right(TABLE, "dear").reshape(-1, 2).mean(axis=1)
    half = 1.96 * right_I.std() / len(right_I) ** 0.5
    assert summary["accuracy_low"] == pytest.approx(right_I.mean() - half, abs=0.012)
    assert summary["accuracy_high"] == pytest.approx(right_I.mean() + half, abs=0.012)


def test_differences_are_paired_and_a_router_differs_from_its_like_by_nothing():
    parts = RANDOM[:5]
    found = scored(TABLE, evaluate(TABLE, ["always:dear", "always:cheap", "always:middling"], [9.0], parts))
    first = of(found["differences"], router="always:dear", against="always:cheap")[0]
    difference_I = (right(TABLE, "dear") * 1.0 - right(TABLE, "cheap")).reshape(-1, 2).mean(axis=1)
    assert first["gain"] == pytest.approx(difference_I.mean(), abs=1e-6)
    half = 1.96 * difference_I.std() / len(difference_I) ** 0.5
    assert first["gain_high"] - first["gain_low"] == pytest.approx(2 * half, rel=0.15)
    assert len(found["differences"]) == 3


def test_an_instance_tested_under_many_seeds_is_still_one_instance():
    once, often = (
        scored(TABLE, evaluate(TABLE, ["always:dear"], [9.0], list(splits(TABLE, "random", range(seeds)))))["summary"][
            0
        ]
        for seeds in (1, 4)
    )
    assert once["accuracy"] == often["accuracy"] and once["n"] == often["n"] == 160
    assert (once["accuracy_low"], once["accuracy_high"]) == (often["accuracy_low"], often["accuracy_high"])


def test_the_worst_domain_is_named_with_its_overrun(found):
    summary = of(found["summary"], router="always:dear", budget=3.0)[0]
    costs = {d: TABLE.cost_NU[TABLE.domain_N == d, 4].mean() for d in "xyz"}
    assert summary["worst_domain"] == max(costs, key=costs.get) == "z"
    unit = TABLE.cost_NU[:, 0].mean()
    assert summary["overrun_worst"] == pytest.approx(costs["z"] / unit / 3 - 1, rel=0.02)


def test_the_area_is_the_mean_height_between_the_budgets(found):
    for area in found["areas"]:
        two = [cell["accuracy"] for cell in of(found["summary"], router=area["router"])]
        assert area["area"] == pytest.approx(sum(two) / 2, abs=1e-6)
        assert area["area_low"] <= area["area"] <= area["area_high"]


def test_the_best_arm_is_the_most_accurate_one_with_its_cost():
    best = best_arm(TABLE)
    accuracies = {arm: right(TABLE, arm).mean() for arm in TABLE.arms}
    assert best.arm == max(accuracies, key=accuracies.get)
    assert best.accuracy == pytest.approx(accuracies[best.arm])


def test_a_goal_is_reached_where_the_curve_crosses_it():
    reward = np.array([[0.6, 0.8, 0.7], [0.6, 0.65, 0.7], [0.9, 0.9, 0.9]])
    cost = np.array([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert _first_reach(reward, cost, np.array([0.75, 0.75, 0.75])).tolist() == [2.5, np.inf, 1.0]


def test_everything_is_plain_json_with_numbers_that_can_be_written(found):
    import json

    assert json.loads(json.dumps(found, allow_nan=False)) == found


# -- names


def test_names_are_taken_apart_and_an_arm_may_be_called_anything():
    assert registry.parse("always:a+pacing", ["a"]) == Known("always", "a", True)
    assert registry.parse("always:a+pacing", ["a+pacing"]) == Known("always", "a+pacing", False)
    assert registry.parse("oracle", ["a"]) == Known("oracle", "", False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sttic", "no router 'sttic'; did you mean 'static'"),
        ("always:daer", "did you mean 'always:dear'"),
        ("oracle+pacing", "no router 'oracle.pacing'; known: "),
        ("static+pace", "did you mean 'static'"),
        ("", "no router ''; known: "),
    ],
)
def test_an_unknown_router_is_refused_with_the_nearest_name(name, says):
    with pytest.raises(ConfigError, match=says):
        evaluate(TABLE, [name], [2.0], RANDOM)


def test_all_is_every_router_that_the_records_allow_once():
    names = registry.expand(["static", "all"], TABLE, Options())
    assert names[0] == "static" and len(set(names)) == len(names)
    assert {"oracle", "random", "knn", "mf", "m-irt", "acer", "racer-r", "racer-c", "always:cheap"} <= set(names)
    assert any(name.endswith("+pacing") for name in names)
    assert "self-routing" not in names
    assert "self-routing" in registry.expand(["all"], TABLE, Options(asking=("cheap",)))


def test_all_leaves_out_what_no_text_tells_apart():
    texts = replace(TABLE, x_ND=np.arange(len(TABLE.instance_N), dtype=float)[:, None], features=("log_chars",))
    alike = replace(texts, x_ND=np.ones_like(texts.x_ND))
    assert "racer-observed" in registry.expand(["all"], texts, Options())
    assert "racer-observed" not in registry.expand(["all"], alike, Options())


def test_options_reach_the_routers_that_they_concern():
    seen = registry.fit("threshold", TABLE, Options(observe="middling"), 0)
    first = {plan.first for plan in seen.plans}
    assert first == {TABLE.bundles[1]}
    asked = registry.fit("self-routing", TABLE, Options(asking=("dear",)), 0)
    assert asked.bundles == (TABLE.bundles[2],)


@pytest.mark.parametrize("budget", [0.0, -1.0, np.inf, np.nan])
def test_a_budget_that_cannot_be_is_refused(budget):
    with pytest.raises(ConfigError, match="must be above 0, in mean costs of cheap"):
        evaluate(TABLE, ["static"], [budget], RANDOM)
