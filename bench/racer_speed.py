"""How long does the exact RACER solver take, and how many Newton steps?

    python -m bench.racer_speed [--rounds 5] [--sizes 200,1000,5000] [--choices 2,4,10]

One JSON object on stdout: per size, number of choices and variant, over rounds (each its own random table) the median,
the smallest and the largest of seconds and of steps, and the largest duality gap. Where CVXPY is installed, `cvxpy`
holds the same for Clarabel on the tables of the smallest size, with the largest difference in value. Rewards are coin
flips, costs log-normal and dearer by choice; the budget leaves 30 % of the room between the cheapest policy and that of
no budget.
"""

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from adjudge.routing.ambiguity import Ambiguity, Radius, Temperature
from adjudge.routing.problem import Problem
from adjudge.routing.racer import solve

VARIANTS: dict[str, tuple[Ambiguity, Ambiguity]] = {
    "acer": (Radius(0), Radius(0)),
    "racer-r, radius 0.1": (Radius(0.1), Radius(0)),
    "racer-c, radius 0.1": (Radius(0), Radius(0.1)),
    "racer, radius 0.1": (Radius(0.1), Radius(0.1)),
    "racer, radius 1": (Radius(1.0), Radius(1.0)),
    "racer, maximum itself": (Radius(99), Radius(99)),
    "racer, temperatures 0.5, 2": (Temperature(0.5), Temperature(2.0)),
}


def table(n: int, k: int, sets: tuple[Ambiguity, Ambiguity], seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    reward_NK = rng.integers(0, 2, (n, k)).astype(float)
    cost_NK = rng.lognormal(0, 0.7, (n, k)) * np.linspace(1, 8, k)
    free = Problem(reward_NK, cost_NK, math.inf, 0.005, *sets)
    low, high = free.cheapest_cost, solve(free).cost
    return dataclasses.replace(free, budget=low + 0.3 * (high - low))


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "smallest": min(values), "largest": max(values)}


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    answer = work()
    return time.perf_counter() - began, answer


def measure(n: int, k: int, variant: str, rounds: int) -> dict[str, object]:
    seconds, steps, gaps = [], [], []
    for seed in range(rounds):
        problem = table(n, k, VARIANTS[variant], seed)
        took, answer = timed(lambda problem=problem: solve(problem))
        seconds.append(took)
        steps.append(float(answer.steps))
        gaps.append(answer.gap)
    return {"n": n, "k": k, "variant": variant, "s": spread(seconds), "steps": spread(steps), "largest_gap": max(gaps)}


def against_cvxpy(n: int, k: int, variant: str, rounds: int) -> dict[str, object]:
    from tests.test_racer import by_cvxpy

    seconds, apart = [], []
    for seed in range(rounds):
        problem = table(n, k, VARIANTS[variant], seed)
        took, value = timed(lambda problem=problem: by_cvxpy(problem))
        seconds.append(took)
        apart.append(abs(value - solve(problem).value))
    return {"n": n, "k": k, "variant": variant, "s": spread(seconds), "largest_difference": max(apart)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="200,1000,5000")
    parser.add_argument("--choices", default="2,4,10")
    args = parser.parse_args()
    sizes, choices = ([int(x) for x in text.split(",")] for text in (args.sizes, args.choices))
    rows = [measure(n, k, variant, args.rounds) for n in sizes for k in choices for variant in VARIANTS]
    result: dict[str, object] = {"rows": rows}
    if find_spec("cvxpy"):
        result["cvxpy"] = [against_cvxpy(min(sizes), choices[0], variant, args.rounds) for variant in VARIANTS]
    else:
        result["missing"] = ["cvxpy"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
