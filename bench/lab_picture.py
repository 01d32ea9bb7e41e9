"""Proxy and gold through every training of a study, one picture: `python -m bench.lab_picture tiny --out DIR --svg F`.

Thick lines are means over seeds, thin ones the seeds; a triangle stands where the alarm was raised in a seed.
"""

import argparse
from pathlib import Path

import numpy as np

from adjudge.lab import preset as presets
from adjudge.lab.report.readings import Readings, Training, read_study

WIDTH, HEIGHT, COLUMNS, LEFT, TOP, GAP = 300, 190, 3, 44, 34, 26
HIGHEST = 9
STYLE = """
svg { background: #ffffff; font: 13px/1 system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
text { fill: #1c242c; } .tick { fill: #57636e; font-size: 11px; } .grid { stroke: #eef0f2; }
polyline { fill: none; stroke-width: 2.5; stroke-linejoin: round; } .thin { stroke-width: 0.8; opacity: 0.55; }
.proxy { stroke: #a8540c; } .gold { stroke: #1d5fa7; } .said-proxy { fill: #a8540c; } .said-gold { fill: #1d5fa7; }
.alarm { fill: #b3261e; }
@media (prefers-color-scheme: dark) {
  svg { background: #191f26; } text { fill: #e4e9ee; } .tick { fill: #9dabb8; } .grid { stroke: #222a32; }
  .proxy { stroke: #eb9b52; } .gold { stroke: #6daaf2; } .said-proxy { fill: #eb9b52; } .said-gold { fill: #6daaf2; }
  .alarm { fill: #f2857d; }
}
"""


def points(training: Training, name: str) -> dict[int, float]:
    found = [(a.figures.step, getattr(a.figures, name)) for a in training.audits]
    return {step: estimate.value for step, estimate in found if estimate is not None}


def panel(study: Readings, policy: str, last: int) -> str:
    judge, trainings = study.preset.policies[policy].judge, study.trainings[policy]

    def at(step: float, value: float) -> str:
        return f"{WIDTH * step / last:.1f},{HEIGHT * (1 - value / HIGHEST):.1f}"

    rows = [f'<text x="0" y="-10">trained on: {judge}</text>']
    for value in (0, 3, 6, 9):
        y = HEIGHT * (1 - value / HIGHEST)
        rows.append(f'<line x1="0" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}" class="grid"/>')
        rows.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end" class="tick">{value}</text>')
    ends: dict[str, float] = {}
    for name in ("proxy", "gold"):
        runs = [points(training, name) for training in trainings.values()]
        shared = sorted(set.intersection(*(set(run) for run in runs)))
        lines = [(run, "thin ") for run in runs if len(runs) > 1]
        lines.append(({step: float(np.mean([run[step] for run in runs])) for step in shared}, ""))
        rows += [
            f'<polyline class="{thin}{name}" points="{" ".join(at(*point) for point in sorted(run.items()))}"/>'
            for run, thin in lines
        ]
        ends[name] = HEIGHT * (1 - lines[-1][0][shared[-1]] / HIGHEST)
    apart = max(0.0, 13 - abs(ends["gold"] - ends["proxy"])) / 2
    for name, side in (("proxy", -apart), ("gold", apart)):
        rows.append(f'<text x="{WIDTH + 4}" y="{ends[name] + 4 + side:.1f}" class="said-{name}">{name}</text>')
    for training in trainings.values():
        if (raised := training.taken["raised_at"]) is not None:
            x = WIDTH * raised / last
            rows.append(f'<path class="alarm" d="M{x:.1f} 2l5 -9h-10z"><title>alarm at step {raised}</title></path>')
    rows.append(f'<text x="0" y="{HEIGHT + 15}" class="tick">step 0</text>')
    rows.append(f'<text x="{WIDTH}" y="{HEIGHT + 15}" text-anchor="end" class="tick">{last}</text>')
    return "".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--svg", type=Path, required=True)
    options = parser.parse_args()
    study = read_study(presets.load(options.preset), options.out)
    last = max(a.figures.step for of in study.trainings.values() for t in of.values() for a in t.audits)
    across, down = WIDTH + LEFT + 44, HEIGHT + TOP + GAP
    parts = []
    for k, policy in enumerate(study.trainings):
        x, y = LEFT + across * (k % COLUMNS), TOP + down * (k // COLUMNS)
        parts.append(f'<g transform="translate({x} {y})">{panel(study, policy, last)}</g>')
    width, height = across * min(COLUMNS, len(parts)) + 8, down * -(-len(parts) // COLUMNS)
    label = "Mean score of a step's rollouts by the judge trained on (proxy) and by gold, 0 to 9"
    options.svg.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{label}"><style>{STYLE}</style>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
