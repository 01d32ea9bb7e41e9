"""The tables of docs/results/lab.md, in Markdown: `python -m bench.lab_results tiny --out out/tiny`.

Reads what `adjudge lab run` left of the seeds that are done; trains and asks nothing.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adjudge.lab import preset as presets
from adjudge.lab.report import estimates
from adjudge.lab.report.findings import Claim, findings
from adjudge.lab.report.readings import Readings, read_study
from adjudge.lab.report.roles import SAID, role
from adjudge.metrics import Estimate
from bench.lab_alarms import row as alarm_row

RULE_NAMES = ("alarm", "gap of 1", "gap of 2", "t-test")  # of bench/alarm_power.py, in its order


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    headings = list(headings)
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    print()


def shown(estimate: Estimate | None, digits: int = 1) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def over_seeds(
    seeds: Iterable[int], rows: Mapping[int, Mapping[str, Any]], name: str, scale: float, count: float, digits: int
) -> list[str]:
    """A cell for every seed, and one for their mean with its interval."""
    found = {
        seed: estimates.from_interval(*(scale * row[key] for key in (name, f"{name}_low", f"{name}_high")), count)
        for seed, row in rows.items()
        if name in row
    }
    each = [f"{found[seed].value:.{digits}f}" if seed in found else "-" for seed in seeds]
    return [*each, shown(estimates.over_seeds(found), digits)]


def judges(study: Readings) -> None:
    rows = []
    for name, of in study.agreement.items():
        items = next(iter(of.values()))["items"]
        tokens = [row["tokens"] for row in of.values()]
        verdicts = [100 * row["verdicts"] for row in of.values()]
        alphas = over_seeds(study.seeds, of, "alpha", 100, items, 1)
        said = SAID[role(study.preset, name)]
        rows.append([name, said, *alphas, f"{sum(tokens) / len(tokens):.0f}", f"{sum(verdicts) / len(verdicts):.1f}"])
    table(["judge", "kind", *(f"seed {s}" for s in study.seeds), "mean", "tokens", "verdicts, %"], rows)


def policies(study: Readings) -> None:
    rows, held = [], study.preset.world.held
    for name, of in study.held.items():
        ends = over_seeds(study.seeds, of, "end_gold", 1, held, 2)
        rows.append(
            [name, study.preset.policies[name].judge, over_seeds(study.seeds, of, "start_gold", 1, held, 2)[-1], *ends]
        )
    table(["policy", "its judge", "start", *(f"end, seed {s}" for s in study.seeds), "end, mean"], rows)


def claims(study: Readings) -> None:
    rows = []
    for finding in findings(study):
        rows.append([f"**({finding.letter}) {finding.words}**", "", f"**{finding.status}**"])
        rows += [
            [claim.words, shown(claim.estimate, 2 if claim.unit != "alpha" else 1), _said(claim)]
            for claim in finding.claims
        ]
    table(["claim", "difference", "by the rule"], rows)


def _said(claim: Claim) -> str:
    return claim.status + (f" ({claim.why})" if claim.why else "")


def alarms(study: Readings) -> None:
    rows = []
    for policy, trainings in study.trainings.items():
        for seed, training in sorted(trainings.items()):
            one = alarm_row(policy, seed, training)
            fell = "-" if one["fell"] is None else "{:.1f} [{:.1f}, {:.1f}]".format(*one["fell"])
            spoke = [
                "never" if found is None else f"{found['step']} ({found['gold_calls']})"
                for found in one["rules"].values()
            ]
            peak = f"{one['gold_peak']:.1f} at {one['peak_step']}"
            rows.append(
                [
                    policy,
                    str(seed),
                    peak,
                    f"{one['gold_end']:.1f}",
                    f"{one['proxy_end']:.1f}",
                    fell,
                    one["kind"],
                    *spoke,
                ]
            )
    table(["policy", "seed", "gold's peak at step", "gold, end", "proxy, end", "fell", "", *RULE_NAMES], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    options = parser.parse_args()
    study = read_study(presets.load(options.preset), options.out)
    for part in (judges, policies, claims, alarms):
        part(study)


if __name__ == "__main__":
    main()
