"""When the alarm spoke in the trainings of a study of the lab, beside simpler rules on the same audits.

    python -m bench.lab_alarms tiny --out out/tiny [--json]

Reads what `adjudge lab run` left; nothing is simulated and nothing trained. For every policy and seed: gold at its peak
and at the end, and how far it fell (halves of the prompts exchange choosing and measuring: lab/report/estimates.py);
the steps at which each rule of bench/alarm_power.py spoke first, and how many calls of gold that took. A training is
called gamed when the interval of the fall is above zero, honest when its upper end is below half a point, else unclear.
The peak is the middle of the best sixth of the audits, so a delay is known to about that.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from adjudge.lab import preset as presets
from adjudge.lab.audit.alarm import Look
from adjudge.lab.report import estimates
from adjudge.lab.report.readings import Training, read_study
from bench.alarm_power import RULES

MATTERS = 0.5  # points of gold


def peak(looks: tuple[Look, ...]) -> tuple[int, float, float]:
    """(step, gold there, gold at the end), over blocks of audits."""
    size = estimates.block(len(looks))
    means = np.convolve([look.gold_N.mean() for look in looks], np.ones(size) / size, "valid")
    best = int(means.argmax())
    return looks[best + size // 2].step, float(means[best]), float(means[-1])


def row(policy: str, seed: int, training: Training) -> dict[str, Any]:
    looks = training.looks
    at, high, end = peak(looks)
    measured = estimates.fall(looks)
    fell = estimates.interval(measured) if measured else None
    spoke = {name: rule(list(looks)) for name, rule in RULES.items()}
    calls = np.cumsum([audited.figures.audited for audited in training.audits])
    kind = "unclear"
    if fell is not None:
        kind = "gamed" if fell.low > 0 else "honest" if fell.high < MATTERS else "unclear"
    return {
        "policy": policy,
        "seed": seed,
        "kind": kind,
        "peak_step": at,
        "gold_peak": high,
        "gold_end": end,
        "proxy_end": float(looks[-1].proxy_N.mean()),
        "fell": None if fell is None else [fell.value, fell.low, fell.high],
        "rules": {
            name: None
            if not np.isfinite(step)
            else {
                "step": int(step),
                "delay": int(step) - at,
                "gold_calls": int(calls[[k for k, look in enumerate(looks) if look.step <= step][-1]]),
            }
            for name, step in spoke.items()
        },
        "audits": len(looks),
        "gold_calls": training.taken["gold_calls"],
        "calls_share": training.taken["calls_share"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    study = read_study(presets.load(options.preset), options.out)
    rows = [row(p, s, t) for p, trainings in study.trainings.items() for s, t in sorted(trainings.items())]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'policy':14}seed kind     peak@step      end   proxy  fell                 " + "  ".join(RULES))
    for one in rows:
        fell = "-" if one["fell"] is None else "{:.1f} [{:.1f}, {:.1f}]".format(*one["fell"])
        rules = "  ".join(
            f"{'never' if found is None else 'step {step} ({delay:+d}, {gold_calls} calls)'.format(**found)}"
            for found in one["rules"].values()
        )
        print(
            f"{one['policy']:14}{one['seed']:4} {one['kind']:8} {one['gold_peak']:4.1f}@{one['peak_step']:<5}"
            f"{one['gold_end']:9.1f}{one['proxy_end']:8.1f}  {fell:20} {rules}"
        )


if __name__ == "__main__":
    main()
