"""The duality gap, step by step: the exact solver beside the paper's primal-dual iteration, on recorded judgments.

    python -m bench.routing_convergence --out docs/results/convergence.svg

Two arms of the LLMBar records beside the checkout, by instance; the budget lies half-way between their mean costs, beta
is 0.1. The rate of the iteration is given as a share of 1 / k, k = mean_i Var(c_i) / beta at the solution, about the
slope of the cost by the multiplier: below 2 the plain problem has a linear rate. On stdout what the lines show: how
often a step was made, the factor per step, and the length of the cycle.
"""

import argparse
from pathlib import Path

import numpy as np

from adjudge import records
from adjudge.report.convergence import Way, draw
from adjudge.routing import newton
from adjudge.routing.ambiguity import Radius
from adjudge.routing.primal_dual import cycle_length, linear_rate, run
from adjudge.routing.problem import Problem, gap, mean_choice
from adjudge.routing.racer import solve, to_point, to_program
from adjudge.routing.sample import by_instance
from adjudge.routing.table import tabulate

DATA = Path(__file__).parents[2] / "shared" / "data" / "records_llmbar.jsonl.gz"
ARMS = ("Vanilla_NoRules", "Metrics_Reference")
BETA, STEPS, LONG = 0.1, 60, 400
SETS = {"plain": (), "radius 0.1": (Radius(0.1), Radius(0.1))}
SHARES = (0.3, 2.5)


def recorded(evaluator: str) -> tuple[np.ndarray, np.ndarray]:
    """(reward_NK, cost_NK) of every instance, costs in mean costs of the first arm."""
    kept = [record for record in records.read(DATA) if record.evaluator == evaluator]
    table = tabulate(kept, ARMS)
    sample = by_instance(table, table.bundles, np.ones(len(table.purchases)))
    cost_NK = sample.costs()
    return sample.reward_IK, cost_NK / cost_NK[:, 0].mean()


def exact_gaps(problem: Problem, most: int = 40) -> list[float]:
    """The gap of the solver's state before its first step and after each; the budget is one that binds."""
    program, unit = to_program(problem)
    state, found = newton.init(program), []
    while not found or (found[-1] > 1e-12 and len(found) < most):
        found.append(gap(problem, to_point(program, state, unit)))
        state = newton.step(program, state)
    return found


def ways(evaluator: str) -> list[Way]:
    reward_NK, cost_NK = recorded(evaluator)
    budget = float(cost_NK.mean(axis=0).mean())
    found = []
    for form, sets in SETS.items():
        problem = Problem(reward_NK, cost_NK, budget, BETA, *sets)
        answer = solve(problem)
        robust = " robust" if sets else ""
        gaps = exact_gaps(problem)
        print(f"{form}, exact: {len(gaps) - 1} steps to {gaps[-1]:.0e}")
        found.append(Way(f"exact, {form}", gaps, f"exact{robust}"))
        mean_N = mean_choice(answer.p_NK, cost_NK)
        slope = float((mean_choice(answer.p_NK, cost_NK**2) - mean_N**2).mean() / BETA)
        for share in SHARES[:1] if sets else SHARES:
            trace = run(problem, LONG, share / slope, answer.p_NK)
            cycle, factor = cycle_length(trace.multiplier_T), linear_rate(trace.gap_T)
            print(f"{form}, primal-dual at {share} / k: factor {factor:.3f} a step, cycle {cycle}")
            style = "settles" if trace.gap_T[-1] < 1e-9 else "cycles"
            found.append(
                Way(f"primal-dual, {form}, rate {share} / k", trace.gap_T[: STEPS + 1].tolist(), style + robust)
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--evaluator", default="ChatGPT")
    given = parser.parse_args()
    label = "Duality gap by iteration: the exact solver and the paper's primal-dual iteration"
    given.out.write_text(draw(ways(given.evaluator), label) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
