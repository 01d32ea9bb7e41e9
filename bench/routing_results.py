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
    records: str
    arms: str
    budgets: str
    seeds: int
    evaluator: str = ""
    texts: bool = True


CASES = {
    "claude": Case("judgebench_claude", "mercury,all", "1,1.3,2.27,3", 10),
    "llmbar": Case("llmbar", "Vanilla_NoRules,Metrics_Reference", "5,10,20,30", 10, "ChatGPT"),
    "qwen3": Case("judgebench_qwen3_rubric", "no_rubric,all", "1,1.5,2.4,3,4", 10),
    "gpt": Case("rewardbench2_gpt54", "gpt-5.4-mini_k1,all", "1.2,2,2.8,4,5.7", 10, texts=False),
    "qwen": Case("rewardbench2_qwen", "Skywork-Critic-Llama-3.1-8B,all", "3,6,35,66,200", 10, texts=False),
}
SPLITS = {"random": "random", "lodo": "leave-one-domain-out"}


def evaluated(name: str, case: Case, split: str, folder: Path, jobs: int) -> dict[str, Any]:
    kept = folder / f"{name}_{split}.json"
    if not kept.exists() or not kept.stat().st_size:
        skipped = () if case.texts else ("racer-observed", *ONE_SHOT)
        routers = ",".join([r for r in ALWAYS_SHOWN if r not in skipped] + ["oracle"])
        command = ["adjudge", "route", "eval", str(DATA / f"records_{case.records}.jsonl.gz"), "--arms", case.arms]
        command += ["--budgets", case.budgets, "--routers", routers, "--split", SPLITS[split], "--json"]
        command += ["--seeds", str(case.seeds if split == "random" else 5), "--jobs", str(jobs)]
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
        for split, words in SPLITS.items():
            found = evaluated(name, CASES[name], split, given.out, given.jobs)
            print(f"\n**{name}, {words}** ({found['seeds']} seeds)\n")
            print("\n".join(table(found)))


if __name__ == "__main__":
    main()
