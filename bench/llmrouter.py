"""How do our routers compare with those of llmrouter-lib, on the same features and the same folds?

    python -m bench.llmrouter [--env DIR] [--sets judgebench_claude,judgebench_qwen3_rubric,llmbar] [--folds 5]

llmrouter-lib is installed from the package index, with torch, into an environment of its own (DIR, else a temporary
folder; about 2 GB and two minutes); where that fails, the object printed says so and nothing is compared. Its KNN, SVM,
MLP and MF routers take the arm that does best and know no cost, so they are run three times: on the reward, and on the
reward less a price of cost at which going from the cheapest arm to the dearest has to gain 5 or 15 points. Level arms
go to the cheapest. Each run spends what it spends; our routers are given that cost, fold by fold, as their budget.

One JSON object on stdout. Per set and run of theirs: accuracy and relative cost, the same of ours at that cost, and the
difference (ours less theirs) with a 95 % interval over instances, drawn with replacement. `fit_s`: median over folds of
one fit (theirs without reading files). `decide_us`: median time of one decision from one feature vector, without
embedding; both sides with one thread. `load_average`: on a machine that others use, times say little.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from adjudge.errors import BudgetError
from adjudge.routing import registry
from adjudge.routing.baselines.one_shot import Scale
from adjudge.routing.baselines.parts import folds_of
from adjudge.routing.features import with_text
from adjudge.routing.registry import Options
from adjudge.routing.router import Router, bundle_table, expected, play
from adjudge.routing.table import Table, tabulate
from adjudge.store.sources import open_records

DATA = Path(__file__).parents[2] / "shared" / "data"
REQUIRED = ("llmrouter-lib==0.4.0", "torch==2.13.0")
INSTALL_S = 900
GAINS = (0.0, 0.05, 0.15)  # reward that the dearest arm has to gain above the cheapest
SETS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "judgebench_claude": (None, ()),
    "judgebench_qwen3_rubric": (None, ()),
    "llmbar": ("ChatGPT", ("Vanilla_NoRules", "Metrics_Reference")),
}
OURS = ("knn", "mf", "m-irt", "acer", "portfolio", "racer")
TIMED = 200
RESAMPLES = 2000


class Case(NamedTuple):
    """One fold. `arms` of the table rise in cost."""

    fit: Table
    test: Table


class Ours(NamedTuple):
    router: Router
    fit_s: float
    decide_s: float


def cases(name: str, folds: int) -> list[Case]:
    """The folds of a set, with features that are scaled on each fold's fitting rows."""
    evaluator, arms = SETS[name]
    records = list(open_records(str(DATA / f"records_{name}.jsonl.gz"), evaluator=evaluator))
    free = tabulate(records, arms)
    rising = [free.arms[k] for k in np.argsort(free.arm_costs().mean(axis=0))]
    table = with_text(tabulate(records, rising), records)
    found = []
    for fitting, held in folds_of(table, folds, 0):
        fit, test = table.at(fitting), table.at(held)
        scale = Scale.of(by_instance(fit, fit.x_ND))
        x_ID = np.zeros((len(table.ids), table.x_ND.shape[1]))
        x_ID[table.instance_N] = scale(table.x_ND)
        found.append(Case(*(part.with_features(x_ID, table.features) for part in (fit, test))))
    return found


def by_instance(table: Table, value_NX: np.ndarray) -> np.ndarray:
    """Means over the rows of each instance."""
    _, at_N = np.unique(table.instance_N, return_inverse=True)
    total = np.zeros((at_N.max() + 1, *value_NX.shape[1:]))
    np.add.at(total, at_N, value_NX)
    return total / np.bincount(at_N).reshape(-1, *[1] * (value_NX.ndim - 1))


def arms_of(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """(reward_IK, cost_IK) of the arms."""
    reward_NK, cost_NK = bundle_table(table, table.bundles, np.ones(len(table.purchases)))
    return by_instance(table, reward_NK), by_instance(table, cost_NK)


def write(case: Case, path: Path) -> None:
    reward_IK, cost_IK = arms_of(case.fit)
    mean_K = cost_IK.mean(axis=0)
    price = 1 / (mean_K.max() - mean_K.min())
    performance_GIK = np.stack([reward_IK - gain * price * cost_IK for gain in GAINS])
    np.savez(
        path,
        fit_ID=by_instance(case.fit, case.fit.x_ND),
        test_ID=by_instance(case.test, case.test.x_ND),
        performance_GIK=performance_GIK,
        arms=np.array(case.fit.arms),
    )


def fitted(name: str, case: Case) -> Ours:
    began = time.perf_counter()
    router = registry.fit(name, case.fit, Options(), 0)
    took = time.perf_counter() - began
    middle, one = len(router.rungs) // 2, np.zeros(1)
    nothing = case.test.seen(np.zeros(case.test.cost_NU.shape, bool))
    single = []
    for i in range(min(TIMED, len(case.test))):
        seen = nothing.at(np.array([i]))
        start = time.perf_counter()
        router.decide(seen, middle, one)
        single.append(time.perf_counter() - start)
    return Ours(router, took, statistics.median(single))


def at_cost(router: Router, table: Table, budget: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """(reward_I, cost_I, whether the budget was below what the router can do: its cheapest rung is then played)."""
    zero = np.zeros(len(table))
    try:
        did = expected(router, table, budget, zero)
        return by_instance(table, did.reward_N), by_instance(table, did.cost_N), False
    except BudgetError:
        cheapest = play(router, table, 0, zero)
        return by_instance(table, cheapest.reward_N), by_instance(table, cheapest.cost_N), True


def compare(folds: list[Case], theirs: list[list[dict[str, Any]]], names: Sequence[str]) -> dict[str, Any]:
    """One set: every run of theirs against each of ours at its cost."""
    ours = {name: [fitted(name, case) for case in folds] for name in names}
    unit = [float(arms_of(case.fit)[1].mean(axis=0)[0]) for case in folds]
    rows = []
    for k, first in enumerate(theirs[0]):
        runs = [fold[k] for fold in theirs]
        row: dict[str, Any] = {"router": f"llmrouter {first['router']}", "gain_asked": GAINS[first["setting"]]}
        if broken := [run["failed"] for run in runs if "failed" in run]:
            rows.append(row | {"failed": broken[0]})
            continue
        reward, cost = zip(*(chosen(case, run["chosen"]) for case, run in zip(folds, runs, strict=True)), strict=True)
        row |= {"accuracy": mean(reward), "cost_rel": mean([c / u for c, u in zip(cost, unit, strict=True)])}
        row |= {"fit_s": middle(runs, "fit_s"), "decide_us": round(1e6 * middle(runs, "decide_s"), 1), "ours": {}}
        for name, fits in ours.items():
            did = [at_cost(o.router, case.test, c.mean()) for o, case, c in zip(fits, folds, cost, strict=True)]
            gain_I = np.concatenate([d[0] - r for d, r in zip(did, reward, strict=True)])
            row["ours"][name] = {
                "accuracy": mean([d[0] for d in did]),
                "cost_rel": mean([d[1] / u for d, u in zip(did, unit, strict=True)]),
                "difference": interval(gain_I),
                "folds_below_cheapest": sum(d[2] for d in did),
            }
        rows.append(row)
    times = {
        name: {
            "fit_s": round(statistics.median(o.fit_s for o in fits), 4),
            "decide_us": round(1e6 * statistics.median(o.decide_s for o in fits), 1),
        }
        for name, fits in ours.items()
    }
    sizes = {
        "instances": sum(len(r) for r in reward),
        "features": folds[0].fit.x_ND.shape[1],
        "arms": folds[0].fit.arms,
    }
    return {**sizes, "ours": times, "rows": rows}


def chosen(case: Case, arms: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(reward_I, cost_I) of one arm an instance."""
    reward_IK, cost_IK = arms_of(case.test)
    at_I = [case.test.arms.index(arm) for arm in arms]
    rows = np.arange(len(at_I))
    return reward_IK[rows, at_I], cost_IK[rows, at_I]


def mean(parts: Sequence[np.ndarray]) -> float:
    return round(float(np.concatenate(parts).mean()), 4)


def middle(runs: list[dict[str, Any]], key: str) -> float:
    return round(statistics.median(run[key] for run in runs), 7)


def interval(gain_I: np.ndarray) -> list[float]:
    """Mean and 95 % interval, by resampling instances."""
    rng = np.random.default_rng(0)
    drawn = gain_I[rng.integers(0, len(gain_I), (RESAMPLES, len(gain_I)))].mean(axis=1)
    return [round(float(x), 4) for x in (gain_I.mean(), *np.quantile(drawn, [0.025, 0.975]))]


def installed(env: Path) -> str:
    """Make the environment where it is not there yet. Empty, or why it could not be made."""
    python = env / "bin" / "python"
    if not python.exists():
        venv.create(env, with_pip=True)
    check = [str(python), "-c", "import llmrouter, torch"]
    quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    if subprocess.run(check, capture_output=True, env=quiet, check=False).returncode == 0:
        return ""
    try:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", *REQUIRED]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"installing {' and '.join(REQUIRED)} took over {INSTALL_S} s"
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def their_side(env: Path, folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("llmrouter_side.py")
    quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(env / "bin" / "python"), "-P", str(script), str(folder)],
        capture_output=True,
        text=True,
        env=quiet,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", type=Path)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    if not DATA.exists():
        print(json.dumps({"skipped": "the recorded judgments are not beside this checkout"}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        env = args.env or Path(temporary) / "env"
        if why := installed(env):
            print(json.dumps({"skipped": f"llmrouter-lib cannot be installed here: {why}"}))
            return
        names = [name for name in OURS if name in registry.ROUTERS]
        result: dict[str, Any] = {"required": REQUIRED, "load_average": [round(os.getloadavg()[0], 1)], "sets": {}}
        for name in args.sets.split(","):
            folds = cases(name, args.folds)
            folder = Path(temporary) / name
            folder.mkdir()
            for number, case in enumerate(folds):
                write(case, folder / f"{number}.npz")
            theirs = their_side(env, folder)
            result["racer_in_llmrouter"] = theirs["racers"]
            with threadpool_limits(1):
                result["sets"][name] = compare(folds, [theirs["folds"][str(n)] for n in range(len(folds))], names)
            print(f"{name}: done", file=sys.stderr)
        result["load_average"].append(round(os.getloadavg()[0], 1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
