"""Routers measured on rows that they were not fitted on: fit on one part, play on the other, at every budget.

One router is fitted once per part (a split's fold and seed) and played at each budget: every mixture of rungs in
expectation, so that no coin blurs the comparison. A paced router is run once over the part's rows, shuffled by the
seed, with their number as its horizon. A budget below a router's cheapest policy is played with that policy, and noted.

`cost_rel` and budgets are in mean costs of one verdict of the first arm on the rows that were fitted on.
Axes: I instances tested in a part, K arms.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from adjudge.errors import BudgetError, ConfigError, DataError
from adjudge.routing import registry
from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.oracle import ceiling
from adjudge.routing.ladder import climb, mix, upper_hull
from adjudge.routing.registry import Options
from adjudge.routing.router import Played, Router, bundle_table, play
from adjudge.routing.splits import Split
from adjudge.routing.stream import prices, stream
from adjudge.routing.table import Ints, Table


class Bought(NamedTuple):
    """What was bought in one domain of a part. `rows`: judgments; `draws_K`: purchases of each arm per judgment."""

    domain: str
    rows: int
    draws_K: Array


class Cell(NamedTuple):
    """One router at one budget on one part. `reward_I`, `cost_I` (relative): of the instances `instance_I`, means over
    their rows. `share_K`: of judgments in which the arm was bought; `draws_K`: purchases of it per judgment.
    `regret`: reward that the oracle has more at this cost; None below its cheapest. `refused`: share of judgments."""

    router: str
    budget: float
    split: str
    fold: int | str
    seed: int
    instance_I: Ints
    reward_I: Array
    cost_I: Array
    share_K: Array
    draws_K: Array
    domains: tuple[Bought, ...]
    regret: float | None
    refused: float
    note: str


class _Outcome(NamedTuple):
    """What was done on the rows of a part; costs in the table's unit."""

    reward_N: Array
    cost_N: Array
    bought_NU: Array
    refused: float = 0.0
    note: str = ""


def evaluate(
    table: Table,
    routers: Sequence[str],
    budgets: Sequence[float],
    parts: Sequence[Split],
    options: Options = Options(),  # noqa: B008  frozen
    jobs: int = 1,
    done: Callable[[int, int], None] = lambda _count, _total: None,
) -> list[Cell]:
    """Every router at every budget on every part. `jobs`: processes; `done(count, total)` is called as fits end.

    Raises ConfigError for a router or a budget that cannot be, and what a router's fit raises.
    """
    check_budgets(budgets, table)
    tasks = [(part, group) for part in parts for group in _sharing(routers, table.arms)]
    cells: list[Cell] = []
    for count, found in enumerate(_run(table, tasks, budgets, options, jobs), start=1):
        cells += found
        done(count, len(tasks))
    place = {name: k for k, name in enumerate(routers)}
    return sorted(cells, key=lambda c: (place[c.router], c.budget, c.split, c.seed, str(c.fold)))


def check_budgets(budgets: Sequence[float], table: Table) -> None:
    for budget in budgets:
        if not 0 < budget < np.inf:
            raise ConfigError(f"budget {budget:g} must be above 0, in mean costs of {table.arms[0]}")


def _sharing(routers: Sequence[str], arms: Sequence[str]) -> list[tuple[str, ...]]:
    """The routers in groups that share one fit: a router alone, and paced."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in routers:
        known = registry.parse(name, arms)
        groups.setdefault((known.base, known.arm), []).append(name)
    return [tuple(group) for group in groups.values()]


def _run(
    table: Table, tasks: list[tuple[Split, tuple[str, ...]]], budgets: Sequence[float], options: Options, jobs: int
) -> Iterator[list[Cell]]:
    if jobs == 1:
        yield from (measure(table, part, names, budgets, options) for part, names in tasks)
        return
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from pool(delayed(measure)(table, part, names, budgets, options) for part, names in tasks)


def measure(table: Table, part: Split, names: Sequence[str], budgets: Sequence[float], options: Options) -> list[Cell]:
    """Routers that share one fit, on one part: a cell for each and each budget."""
    fitting, test = table.at(part.fit_N), table.at(part.test_N)
    unit = reference_cost(fitting)
    base = registry.parse(names[0], table.arms).base
    router = None if base == registry.ORACLE else registry.fit(names[0], fitting, options, part.seed)
    draw_N = np.random.default_rng([part.seed, len(test)]).random(len(test))
    played: dict[int, Played] = {}
    oracle = _oracle_curve(test)
    cells = []
    for name in names:
        for budget in budgets:
            if router is None:
                outcome = _oracle(test, budget * unit)
            elif registry.parse(name, table.arms).paced:
                outcome = _paced(router, fitting, test, budget * unit, part.seed)
            else:
                outcome = _mixed(router, test, budget * unit, draw_N, played)
            cells.append(_cell(name, budget, part, test, unit, outcome, oracle))
    return cells


def _paced(router: Router, fitting: Table, test: Table, budget: float, seed: int) -> _Outcome:
    """One run over the rows, in an order that the seed draws."""
    rng = np.random.default_rng([seed, len(test)])
    order_N = rng.permutation(len(test))
    done = stream(router, test, order_N, budget, prices(fitting), rng, horizon=len(test))
    return _Outcome(done.reward_N, done.cost_N, done.bought_NU.astype(float), float(done.refused_N.mean()))


def reference_cost(fitting: Table) -> float:
    """Mean cost of one verdict of the first arm, in the table's unit. Raises DataError where it is 0."""
    cost = float(fitting.cost_NU[:, list(fitting.bundles[0])].sum(axis=1).mean())
    if not cost > 0:
        raise DataError(
            f"{fitting.arms[0]} costs nothing in {fitting.cost_unit}, so no cost can be relative to it",
            remedy="name an arm that costs something first, or choose another --cost",
        )
    return cost


def _mixed(router: Router, test: Table, budget: float, draw_N: Array, played: dict[int, Played]) -> _Outcome:
    """The mixture that meets the budget, in expectation; rungs that were played are kept in `played`."""
    try:
        mixture, note = mix(router.rungs, budget), ""
    except BudgetError:
        cheapest = min(range(len(router.rungs)), key=lambda k: (router.rungs[k].cost, -router.rungs[k].reward))
        mixture, note = [(cheapest, 1.0)], "below the cheapest policy"
    for rung, _ in mixture:
        if rung not in played:
            played[rung] = play(router, test, rung, draw_N)
    reward_N = sum(share * played[rung].reward_N for rung, share in mixture)
    cost_N = sum(share * played[rung].cost_N for rung, share in mixture)
    bought_NU = sum(share * played[rung].bought_NU for rung, share in mixture)
    return _Outcome(np.asarray(reward_N), np.asarray(cost_N), np.asarray(bought_NU), note=note)


def _oracle(test: Table, budget: float) -> _Outcome:
    least = float(_by_instance(test, test.arm_costs()).min(axis=1).mean())
    found = ceiling(test, max(budget, least))
    note = "below the cheapest policy" if budget < least * (1 - 1e-9) else ""
    return _Outcome(found.reward_N, found.cost_N, found.bought_NU, note=note)


def _oracle_curve(test: Table) -> tuple[Array, Array]:
    """(cost, reward) of what the oracle can reach with one arm an instance, in the table's unit; rising."""
    reward_NK, cost_NK = bundle_table(test, test.bundles, np.ones(len(test.purchases)))
    reward_IK, cost_IK = _by_instance(test, reward_NK), _by_instance(test, cost_NK)
    rungs = climb(reward_IK, cost_IK, reward_IK, cost_IK)
    hull = [rungs[k] for k in upper_hull(rungs)]
    return np.array([rung.cost for rung in hull]), np.array([rung.reward for rung in hull])


def _by_instance(table: Table, value_NX: Array) -> Array:
    """The mean of each instance's rows, shape (I, X)."""
    _, at_N, rows_I = np.unique(table.instance_N, return_inverse=True, return_counts=True)
    total_IX = np.zeros((len(rows_I), value_NX.shape[1]))
    np.add.at(total_IX, at_N, value_NX)
    return np.asarray(total_IX / rows_I[:, None])


def _cell(
    name: str,
    budget: float,
    part: Split,
    test: Table,
    unit: float,
    outcome: _Outcome,
    oracle: tuple[Array, Array],
) -> Cell:
    mean_I2 = _by_instance(test, np.stack([outcome.reward_N, outcome.cost_N], axis=1))
    cost = float(outcome.cost_N.mean())
    at_cost = np.interp(cost, *oracle, left=np.nan)
    return Cell(
        router=name,
        budget=budget,
        split=part.name,
        fold=part.fold,
        seed=part.seed,
        instance_I=np.unique(test.instance_N),
        reward_I=mean_I2[:, 0],
        cost_I=mean_I2[:, 1] / unit,
        share_K=shares(test, outcome.bought_NU),
        draws_K=_draws(test, outcome.bought_NU),
        domains=tuple(_by_domain(test, outcome.bought_NU)),
        regret=None if np.isnan(at_cost) else float(at_cost - outcome.reward_N.mean()),
        refused=outcome.refused,
        note=outcome.note,
    )


def shares(table: Table, bought_NU: Array) -> Array:
    """The share of judgments in which each arm was bought, shape (K,).

    An arm whose draws are the first of another's (k = 1 of k = 8) counts where no larger one of them was bought whole.
    """
    whole_K = [float(bought_NU[:, list(bundle)].min(axis=1).mean()) for bundle in table.bundles]
    found = []
    for bundle, whole in zip(table.bundles, whole_K, strict=True):
        larger = [w for b, w in zip(table.bundles, whole_K, strict=True) if set(b) > set(bundle)]
        found.append(max(whole - max(larger, default=0.0), 0.0))
    return np.array(found)


def _draws(table: Table, bought_NU: Array) -> Array:
    """Purchases per judgment of each arm that holds any, shape (K,)."""
    per_U = bought_NU.mean(axis=0)
    return np.array([sum(per_U[u] for u, p in enumerate(table.purchases) if p.arm == arm) for arm in table.arms])


def _by_domain(table: Table, bought_NU: Array) -> Iterator[Bought]:
    for domain in np.unique(table.domain_N):
        rows = np.flatnonzero(table.domain_N == domain)
        yield Bought(str(domain), len(rows), _draws(table, bought_NU[rows]))
