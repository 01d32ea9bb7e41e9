"""What the two free numbers of the robust problem do on recorded judgments: the entropy weight, and the radius.

    python -m bench.routing_studies [--seeds 3] [--jobs 2] [--only radius,beta,exact]

Markdown tables on stdout, as they stand in docs/results/routing.md.

radius   racer-r and racer-c at several radii, and acer, which is radius 0; each domain is judged by routers that never
         saw it, over all seeds
beta     the policy network at several entropy weights; five random folds, over all seeds
exact    the exact solver on the records themselves, in sample: what the entropy term costs, and how random it leaves
         the policy
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adjudge.commands.route_input import Opened, open_table
from adjudge.routing.evaluate import Cell, evaluate
from adjudge.routing.problem import Problem, entropy, mean_choice
from adjudge.routing.racer import solve
from adjudge.routing.registry import Options
from adjudge.routing.sample import by_instance
from adjudge.routing.scores import scored
from adjudge.routing.splits import splits

DATA = Path(__file__).parents[2] / "shared" / "data"
RADII = (0.01, 0.03, 0.1, 0.3)
BETAS = (0.0, 0.005, 0.01, 0.05)


class Case(NamedTuple):
    words: str
    records: str
    arms: str
    budgets: tuple[float, ...]
    evaluator: str | None = None


CASES = (
    Case("LLMBar, ChatGPT", "llmbar", "Vanilla_NoRules,Metrics_Reference", (5.0, 10.0, 20.0), "ChatGPT"),
    Case("JudgeBench, six judges", "judgebench_claude", "mercury,all", (1.0, 1.3, 2.27)),
    Case("JudgeBench, Qwen3-1.7B rubrics", "judgebench_qwen3_rubric", "no_rubric,all", (1.5, 2.4, 4.0)),
)


def opened(case: Case) -> Opened:
    return open_table(
        str(DATA / f"records_{case.records}.jsonl.gz"),
        arms=case.arms,
        evaluator=case.evaluator,
        cost_unit="output_tokens",
        observe="",
        radius_reward=None,
        radius_cost=None,
        embedder=None,
        budgets=case.budgets,
    )


def named(cells: Sequence[Cell], words: str) -> list[Cell]:
    """Under another name, so that one router's settings can be told apart and paired."""
    return [cell._replace(router=f"{cell.router}{words}") for cell in cells]


def radius_study(case: Case, seeds: int, jobs: int) -> Iterator[str]:
    table = opened(case).table
    parts = list(splits(table, "leave-one-domain-out", range(seeds)))
    found = evaluate(table, ["acer"], case.budgets, parts, Options(), jobs)
    for rho in RADII:
        options = Options(radius_reward=rho, radius_cost=rho)
        found += named(evaluate(table, ["racer-r", "racer-c"], case.budgets, parts, options, jobs), f", {rho:g}")
    order = ["acer", *(f"{name}, {rho:g}" for name in ("racer-r", "racer-c") for rho in RADII)]
    yield from tabled(scored(table, found), order, "acer", case, _overran)


def beta_study(case: Case, seeds: int, jobs: int) -> Iterator[str]:
    table = opened(case).table
    parts = list(splits(table, "random", range(seeds)))
    found: list[Cell] = []
    for beta in BETAS:
        options = Options(budgets=case.budgets, beta=beta)
        found += named(evaluate(table, ["network"], case.budgets, parts, options, jobs), f", {beta:g}")
    order = [f"network, {beta:g}" for beta in BETAS]
    yield from tabled(scored(table, found), order, "network, 0.005", case, _spent)


def exact_study(case: Case) -> Iterator[str]:
    table = opened(case).table
    sample = by_instance(table, table.bundles, np.ones(len(table.purchases)))
    cost_IK = sample.costs() / sample.costs()[:, 0].mean()
    yield f"| {case.words} | " + " | ".join(f"budget {budget:g}" for budget in case.budgets) + " |"
    yield "|---" * (len(case.budgets) + 1) + "|"
    most = np.log(cost_IK.shape[1])
    for beta in BETAS:
        cells = []
        for budget in case.budgets:
            answer = solve(Problem(sample.reward_IK, cost_IK, budget, beta))
            reward = float(mean_choice(answer.p_NK, sample.reward_IK).mean())
            cells.append(f"{100 * reward:.1f}, {100 * entropy(answer.p_NK) / most:.0f} %")
        yield f"| beta {beta:g} | " + " | ".join(cells) + " |"


def tabled(found: dict[str, Any], order: Sequence[str], against: str, case: Case, cost: Any) -> Iterator[str]:
    """A row for each setting: accuracy, its paired difference to one of them, and what `cost` says, at each budget."""
    known = {(s["router"], s["budget"]): s for s in found["summary"]}
    gains = {
        (d["router"], d["against"], d["budget"]): (d["gain"], d["gain_low"], d["gain_high"])
        for d in found["differences"]
    }
    gains |= {(b, a, at): (-gain, -high, -low) for (a, b, at), (gain, low, high) in gains.items()}
    yield f"| {case.words} | " + " | ".join(f"budget {budget:g}" for budget in case.budgets) + " |"
    yield "|---" * (len(case.budgets) + 1) + "|"
    for router in order:
        cells = []
        for budget in case.budgets:
            gain = gains.get((router, against, budget))
            paired = "" if gain is None else " ({:+.1f} [{:+.1f}, {:+.1f}])".format(*(100 * g for g in gain))
            cells.append(f"{100 * known[router, budget]['accuracy']:.1f}{paired}; {cost(known[router, budget])}")
        yield f"| {router} | " + " | ".join(cells) + " |"


def _overran(s: dict[str, Any]) -> str:
    low, high = (100 * (s[name] / s["budget"] - 1) for name in ("cost_low", "cost_high"))
    return f"{100 * s['overrun']:+.0f} % [{low:+.0f}, {high:+.0f}], worst {100 * s['overrun_worst']:+.0f} %"


def _spent(s: dict[str, Any]) -> str:
    return f"at {s['cost_rel']:.2f} [{s['cost_low']:.2f}, {s['cost_high']:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="radius,beta,exact")
    given = parser.parse_args()
    studies = {
        "radius": partial(radius_study, seeds=given.seeds, jobs=given.jobs),
        "beta": partial(beta_study, seeds=given.seeds, jobs=given.jobs),
        "exact": exact_study,
    }
    for name in given.only.split(","):
        for case in CASES:
            print(f"\n**{name}**\n", flush=True)
            print("\n".join(studies[name](case)), flush=True)


if __name__ == "__main__":
    main()
