"""The tables of docs/results/routing.md, in Markdown: `python -m bench.routing_results --out DIR [--only claude,gpt]`.

Each table is one `adjudge route eval` on recorded judgments beside the checkout; its JSON is kept in DIR and read from
there where it stands already, so that a long list of them can be gone on with.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parents[2] / "shared" / "data"
ONE_SHOT = ("acer", "racer-c", "knn")
ALWAYS_SHOWN = ("racer", "racer+pacing", "racer-observed", "portfolio", *ONE_SHOT, "while-tied", "static", "random")


class Case(NamedTuple):
    words: str
    records: str
    arms: str
    budgets: str
    evaluator: str = ""
    texts: bool = True


CASES = {
    "gpt": Case(
        "GPT-5.4, ten arms, RewardBench 2 (1,696 instances; first arm gpt-5.4-mini_k1, 378 tokens)",
        "rewardbench2_gpt54",
        "gpt-5.4-mini_k1,all",
        "1.2,2,2.8,4,5.7",
        texts=False,
    ),
    "llmbar": Case(
        "ChatGPT, Vanilla_NoRules and Metrics_Reference, LLMBar (885; 3.9 tokens)",
        "llmbar",
        "Vanilla_NoRules,Metrics_Reference",
        "5,10,20,30",
        "ChatGPT",
    ),
    "claude": Case(
        "Six judges, JudgeBench (270; first arm mercury, 308 tokens)",
        "judgebench_claude",
        "mercury,all",
        "1,1.3,2.27,3",
    ),
    "qwen": Case(
        "Five judges, RewardBench 2 (1,762; first arm Skywork-Critic, 3 tokens)",
        "rewardbench2_qwen",
        "Skywork-Critic-Llama-3.1-8B,all",
        "3,6,35,66,200",
        texts=False,
    ),
    "qwen3": Case(
        "Qwen3-1.7B with and without rubrics, JudgeBench (350; first arm no_rubric, 216 tokens)",
        "judgebench_qwen3_rubric",
        "no_rubric,all",
        "1,1.5,2.4,3,4",
    ),
}
SPLITS = {"random": ("random", 10), "lodo": ("leave-one-domain-out", 5)}  # words, seeds


def evaluated(name: str, case: Case, split: str, folder: Path, jobs: int) -> dict[str, Any]:
    kept = folder / f"{name}_{split}.json"
    if not kept.exists() or not kept.stat().st_size:
        words, seeds = SPLITS[split]
        skipped = () if case.texts else ("racer-observed", *ONE_SHOT)
        routers = ",".join([r for r in ALWAYS_SHOWN if r not in skipped] + ["oracle"])
        command = ["adjudge", "route", "eval", str(DATA / f"records_{case.records}.jsonl.gz"), "--arms", case.arms]
        command += ["--budgets", case.budgets, "--routers", routers, "--split", words, "--json"]
        command += ["--seeds", str(seeds), "--jobs", str(jobs)]
        command += ["--evaluator", case.evaluator] if case.evaluator else []
        kept.write_bytes(subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE).stdout)
    found: dict[str, Any] = json.loads(kept.read_bytes())
    return found


def table(found: dict[str, Any]) -> list[str]:
    cells = {(s["router"], s["budget"]): s for s in found["summary"]}
    budgets = sorted({budget for _, budget in cells})
    lines = ["| router | " + " | ".join(f"budget {b:g}" for b in budgets) + " |", "|---" * (len(budgets) + 1) + "|"]
    for router in dict.fromkeys(name for name, _ in cells):
        row = [_cell(cells[router, budget]) for budget in budgets]
        lines.append(f"| {router} | " + " | ".join(row) + " |")
    return lines


def reached(found: dict[str, dict[str, Any]]) -> list[str]:
    """The share of the best single arm's cost at which each router is as accurate, by split; 95 % intervals."""
    lines = ["| router | " + " | ".join(SPLITS[split][0] for split in found) + " |", "|---" * (len(found) + 1) + "|"]
    known = {split: {r["router"]: r for r in one["reached"]} for split, one in found.items()}
    for router in dict.fromkeys(r["router"] for r in next(iter(found.values()))["reached"]):
        if router != "oracle":
            lines.append(f"| {router} | " + " | ".join(_share(known[split][router]) for split in found) + " |")
    return lines


def _share(r: dict[str, Any]) -> str:
    if r["share"] is None:
        return f"not reached ({100 * r['how_often']:.0f} % of resamples)"
    high = "not reached" if r["share_high"] is None else f"{100 * r['share_high']:.0f}"
    return f"{100 * r['share']:.0f} % [{100 * r['share_low']:.0f}, {high}]"


def _cell(s: dict[str, Any]) -> str:
    low, high = 100 * s["accuracy_low"], 100 * s["accuracy_high"]
    return f"{100 * s['accuracy']:.1f} [{low:.1f}, {high:.1f}] at {s['cost_rel']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only.split(","):
        case = CASES[name]
        found = {split: evaluated(name, case, split, given.out, given.jobs) for split in SPLITS}
        for split, one in found.items():
            print(f"\n**{case.words}, {SPLITS[split][0]}** ({one['seeds']} seeds)\n")
            print("\n".join(table(one)))
        best = found["random"]["best_arm"]
        goal = f"{best['arm']} ({100 * best['accuracy']:.1f} at {best['cost_rel']:.2f})"
        print(f"\nShare of the cost of {goal} at which each is as accurate:\n")
        print("\n".join(reached(found)))


if __name__ == "__main__":
    main()
