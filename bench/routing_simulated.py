"""SIMULATED: instances drawn from a generator with the shape that the paper publishes, where the truth is known.

    python -m bench.routing_simulated [--sizes 250,500,1000,2000,4000] [--draws 10] [--test 20000]

No judge and no recorded judgment is in it. Five domains (mathematics, code, reasoning, knowledge, safety); reasoning
gains 15, 12, 8, 0 and -4 points over them and costs 3 to 11 times the tokens (arXiv 2605.10805 gives the range and the
order, not the figures). How hard an instance is moves both arms' chances of being right and the length of the trace;
features show the domain and the difficulty, with noise. One JSON object on stdout:

- `regret`: by number of fitting instances, how far the any-budget router's accuracy is below the best policy that
  knows each instance's true chances and costs, at the same cost. By chances, not by drawn rewards.
- `shift`: fitted on even shares of the domains, tested where dear items are more (or fewer): overrun and accuracy of
  ACER, RACER-R, RACER-C and RACER at budget 3.

Each figure is [median, lowest, highest] over the draws.
"""

import argparse
import json
import statistics
from dataclasses import replace

import numpy as np

from adjudge.routing import registry
from adjudge.routing.ladder import best_choice, climb, mix
from adjudge.routing.registry import Options
from adjudge.routing.router import expected
from adjudge.routing.table import Purchase, Table

GAINS = (0.15, 0.12, 0.08, 0.0, -0.04)
TIMES = (11.0, 8.0, 6.0, 4.0, 3.0)
BASE = (0.72, 0.75, 0.78, 0.84, 0.92)
DEARER, CHEAPER, EVEN = (0.4, 0.3, 0.15, 0.1, 0.05), (0.05, 0.1, 0.15, 0.3, 0.4), (0.2,) * 5
BUDGET = 3.0
ROUTERS = ("acer", "racer-r", "racer-c")


def draw(count: int, shares: tuple[float, ...], seed: int) -> tuple[Table, np.ndarray]:
    """(a table of verdicts, the true chances of being right, shape (N, 2))."""
    dice = np.random.default_rng(seed)
    domain_N = dice.choice(5, count, p=shares)
    hard_N = dice.normal(size=count)
    base_N = np.array(BASE)[domain_N] - 0.08 * hard_N
    chance_NK = np.clip(np.stack([base_N, base_N + np.array(GAINS)[domain_N] + 0.04 * hard_N], axis=1), 0.02, 0.98)
    cost_NK = np.stack([np.ones(count), np.array(TIMES)[domain_N] * np.exp(0.3 * hard_N)], axis=1)
    gold_N = dice.choice([1.0, -1.0], count)
    said_NK = np.where(dice.random((count, 2)) < chance_NK, gold_N[:, None], -gold_N[:, None])
    shown_N = hard_N + 0.5 * dice.normal(size=count)
    domains_ND = np.eye(5)[domain_N]
    table = Table(
        ids=tuple(map(str, range(count))),
        instance_N=np.arange(count),
        domain_N=np.array(["mathematics", "code", "reasoning", "knowledge", "safety"])[domain_N],
        arms=("instruct", "reasoning"),
        purchases=(Purchase("instruct"), Purchase("reasoning")),
        bundles=((0,), (1,)),
        said_NU=said_NK,
        rating_NUR=None,
        cost_NU=cost_NK,
        gold_N=gold_N,
        gold_index_N=None,
        x_ND=np.column_stack([domains_ND, shown_N, domains_ND * shown_N[:, None]]),
        features=(*(f"domain{k}" for k in range(5)), "hard", *(f"hard{k}" for k in range(5))),
    )
    return table, chance_NK


def best_accuracy(chance_NK: np.ndarray, cost_NK: np.ndarray, budget: float) -> float:
    """Of the best policy that knows every chance and cost."""
    rungs = climb(chance_NK, cost_NK, chance_NK, cost_NK)
    rows = np.arange(len(cost_NK))
    return float(
        sum(
            share * chance_NK[rows, best_choice(chance_NK, cost_NK, rungs[k].multiplier)].mean()
            for k, share in mix(rungs, budget)
        )
    )


def figures(router_name: str, fitting: Table, test: Table, chance_NK: np.ndarray, seed: int) -> tuple[float, float]:
    """(accuracy by the true chances, mean cost) at the budget."""
    router = registry.fit(router_name, fitting, Options(), seed)
    result = expected(router, test, BUDGET, np.random.default_rng(seed).random(len(test)))
    bought_NK = result.bought_NU
    return float((bought_NK * chance_NK).sum(axis=1).mean()), float(result.cost_N.mean())


def spread(values: list[float]) -> list[float]:
    return [round(x, 4) for x in (statistics.median(values), min(values), max(values))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="250,500,1000,2000,4000")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--test", type=int, default=20_000)
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    regret: dict[int, list[float]] = {size: [] for size in sizes}
    shift: dict[str, dict[str, list[tuple[float, float]]]] = {
        where: {name: [] for name in ROUTERS} for where in ("dearer", "even", "cheaper")
    }
    for seed in range(given.draws):
        test, chance_NK = draw(given.test, EVEN, 1000 + seed)
        for size in sizes:
            accuracy, cost = figures("acer", draw(size, EVEN, seed)[0], test, chance_NK, seed)
            regret[size].append(best_accuracy(chance_NK, test.cost_NU, cost) - accuracy)
        fitting = draw(sizes[-1], EVEN, seed)[0]
        for where, shares in (("dearer", DEARER), ("even", EVEN), ("cheaper", CHEAPER)):
            moved, chances = draw(given.test, shares, 2000 + seed)
            for name in ROUTERS:
                shift[where][name].append(figures(name, replace(fitting), moved, chances, seed))
    print(
        json.dumps(
            {
                "simulated": True,
                "regret": {size: spread(values) for size, values in regret.items()},
                "shift": {
                    where: {
                        name: {
                            "overrun": spread([cost / BUDGET - 1 for _, cost in values]),
                            "accuracy": spread([accuracy for accuracy, _ in values]),
                        }
                        for name, values in routers.items()
                    }
                    for where, routers in shift.items()
                },
                "given": vars(given),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
