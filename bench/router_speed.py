"""How long does fitting the any-budget router take, and how long does one decision?

    python -m bench.router_speed [--rows 5000] [--features 400] [--arms 10] [--rounds 5]

One JSON object on stdout, times in seconds (median, smallest, largest over rounds; `cpu` is the processors' time, which
other work on the machine does not stretch): `fit` per variant, and of portfolios; `network_fit` of the network router
at one budget, by schedule. `decide`, of the router over arms, of portfolios and of the network: `decide_one_us`,
microseconds from a row's features to the next purchase, and `batch_rows_per_s` (and per second of the processors'
time) for 100,000 rows at once.
`describe_pairs_per_s`: texts of 2,000 characters to features. Data are drawn: half of the features are an embedding's
dimensions; verdicts of every arm in both orders, right more often the dearer it is.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from adjudge.routing import network, value
from adjudge.routing.features import EMBEDDED, describe
from adjudge.routing.table import Purchase, Seen, Table
from adjudge.types import Pair

BATCH = 100_000
DECISIONS = 2_000


def table(rows: int, features: int, arms: int, seed: int = 0) -> Table:
    """Each row an instance of its own."""
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(rows, features))
    gold_N = rng.choice([-1.0, 1.0], rows)
    hard_N = 1 / (1 + np.exp(-x_ND[:, :8].sum(axis=1) / 2))
    said, cost = [], []
    for k in range(arms):
        right_N = 0.9 - 0.5 * hard_N * (1 - k / max(arms - 1, 1))
        price_N = np.exp(rng.normal(0, 0.4, rows) + 0.2 * x_ND[:, 8]) * (1 + k)
        for _ in range(2):
            said.append(np.where(rng.random(rows) < right_N, gold_N, -gold_N))
            cost.append(price_N)
    names = tuple(f"{EMBEDDED}prompt:{d}" if d >= features // 2 else f"feature {d}" for d in range(features))
    return Table(
        ids=tuple(str(i) for i in range(rows)),
        instance_N=np.arange(rows),
        domain_N=np.full(rows, "drawn"),
        arms=tuple(f"arm {k}" for k in range(arms)),
        purchases=tuple(Purchase(f"arm {k}", order) for k in range(arms) for order in (0, 1)),
        bundles=tuple((2 * k,) for k in range(arms)),
        said_NU=np.stack(said, axis=1),
        rating_NUR=None,
        cost_NU=np.stack(cost, axis=1),
        gold_N=gold_N,
        gold_index_N=None,
        x_ND=x_ND,
        features=names,
    )


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "smallest": min(values), "largest": max(values)}


def timed(work: Callable[[], Any], rounds: int) -> tuple[dict[str, float], Any]:
    seconds, cpu, answer = [], [], None
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        answer = work()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {**spread(seconds), "cpu": statistics.median(cpu)}, answer


def deciding(router: Any, x_ND: np.ndarray, rounds: int) -> dict[str, Any]:
    """One row at a time, and a batch, at the middle rung, with nothing bought yet."""
    width, rung = len(router.purchases), len(router.rungs) // 2
    rng = np.random.default_rng(0)

    def seen(rows: np.ndarray) -> Seen:
        n = len(rows)
        return Seen(rows, np.zeros((n, width), bool), np.full((n, width), np.nan), None, np.zeros((n, width)))

    ones = [seen(x_ND[i : i + 1]) for i in range(min(DECISIONS, len(x_ND)))]
    draw_N = rng.random(1)
    micros = []
    for one in ones:
        began = time.perf_counter()
        router.decide(one, rung, draw_N)
        micros.append((time.perf_counter() - began) * 1e6)
    many = seen(x_ND[rng.integers(0, len(x_ND), BATCH)])
    draws_N = rng.random(BATCH)
    took, _ = timed(lambda: router.decide(many, rung, draws_N), rounds)
    return {
        "decide_one_us": {"median": statistics.median(micros), "p95": float(np.quantile(micros, 0.95))},
        "batch_rows_per_s": BATCH / took["median"],
        "batch_rows_per_cpu_s": BATCH / took["cpu"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    data = table(args.rows, args.features, args.arms)
    result: dict[str, Any] = {**vars(args), "cpus": os.cpu_count(), "load": os.getloadavg()[0], "fit": {}}
    for variant in ("acer", "racer-r", "racer-c", "racer"):
        settings = value.Settings(variant=variant)
        result["fit"][variant], _ = timed(lambda settings=settings: value.fit(data, settings), args.rounds)
    result["fit"]["portfolio"], sets = timed(lambda: value.fit_portfolio(data), args.rounds)
    result["network_fit"] = {}
    for schedule in ("published", "small"):
        chosen = network.Settings(schedule=schedule, budgets=(2.0,))
        result["network_fit"][schedule], net = timed(lambda chosen=chosen: network.fit(data, chosen), 1)
    routers = {"arms": value.fit(data), "portfolio": sets, "network": net}
    result["decide"] = {name: deciding(router, data.x_ND, args.rounds) for name, router in routers.items()}
    text = "The quick brown fox, 12 of them, jumps over $x = 3$.\n" * 40
    pair = Pair(id="1", prompt=text[:2000], response_a=text[:2000], response_b=text[7:2000])
    took, _ = timed(lambda: [describe(pair) for _ in range(100)], args.rounds)
    result["describe_pairs_per_s"] = 100 / took["median"]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
