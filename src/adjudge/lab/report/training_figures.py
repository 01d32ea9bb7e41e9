"""The figures of trainings: proxy against gold, and what became of the texts, a panel a policy."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from adjudge.lab.audit.step import StepAudit
from adjudge.lab.report.figures import minus
from adjudge.lab.report.readings import Readings, Training
from adjudge.lab.scoring import TOP
from adjudge.redteam.flags import KINDS
from adjudge.report import text as t
from adjudge.report.figure import Figure, Table, both
from adjudge.report.panels import Event, Panel, Ruler, Way, draw
from adjudge.report.svg import tick_label

Points = list[tuple[float, float]]
Value = Callable[[StepAudit], float | None]

_SHOWN = 0.01  # flags of a kind that is rarer at every step are left out


def proxy_and_gold(study: Readings) -> Figure:
    """The hacking plot: what a policy earns beside what it is worth."""
    panels = [_hacking_panel(study, name, list(of.items())) for name, of in study.trainings.items()]
    many = any(len(of) > 1 for of in study.trainings.values())
    caption = (
        "Mean scores, 0 to 9, over training steps: the proxy that a policy is trained on (dashed) and gold, which it "
        "never sees. "
        + ("Thick lines are means over seeds, thin lines the seeds. " if many else "The band is gold's interval. ")
        + "A ring marks gold's best step of a training, where one would go back to; a triangle with a dotted line, the "
        "step at which the alarm was raised."
    )
    if any(study.preset.policies[name].pairwise for name in study.trainings):
        caption += " The proxy of a pairwise policy is the share of its group that a response beats, drawn x 9."
    rows = [_training_row(name, seed, tr) for name, of in study.trainings.items() for seed, tr in of.items()]
    headings = ["policy", "seed", "proxy at the start", "at the end", "gold at the start", "at its best", "at the end"]
    drawings = both(lambda width: draw(panels, width, Ruler(0, TOP), "Proxy and gold through training"))
    return Figure("Proxy against gold", caption, Table(headings, rows), drawings)


def _hacking_panel(study: Readings, name: str, runs: Sequence[tuple[int, Training]]) -> Panel:
    scale = TOP if study.preset.policies[name].pairwise else 1

    def proxy(audit: StepAudit) -> float | None:
        return audit.proxy.value * scale if audit.proxy else None

    ways = [*_ways(runs, "proxy", "proxy", proxy), *_ways(runs, "gold", "gold", _gold)]
    events = [event for _, training in runs for event in _events(training)]
    band = []
    if len(runs) == 1:
        figures = [audited.figures for audited in runs[0][1].audits]
        band = [(f.step, max(0.0, f.gold.low), min(TOP, f.gold.high)) for f in figures if f.gold]
    measures = (("proxy", proxy), ("gold", _gold))
    return Panel(name, ways, events, band, [(s, _tip(name, s, runs, measures)) for s in _steps(runs)])


def _gold(audit: StepAudit) -> float | None:
    return audit.gold.value if audit.gold else None


def _events(training: Training) -> list[Event]:
    gold = dict(_points(training, _gold))
    best, raised = training.taken["best_step"], training.taken["raised_at"]
    found = [Event("best", best, gold[best])] if best in gold else []
    return [*found, Event("alarm", raised, TOP)] if raised is not None else found


def _points(training: Training, value: Value) -> Points:
    found = [(float(audited.figures.step), value(audited.figures)) for audited in training.audits]
    return [(step, v) for step, v in found if v is not None]


def _ways(runs: Sequence[tuple[int, Training]], name: str, style: str, value: Value) -> list[Way]:
    """The mean over seeds at the steps that all of them have, and where there are several a thin line for each."""
    of_seeds = [points for _, training in runs if (points := _points(training, value))]
    if not of_seeds:
        return []
    steps = sorted(set.intersection(*({step for step, _ in points} for points in of_seeds)))
    by_step = [dict(points) for points in of_seeds]
    middle = Way(name, [(step, float(np.mean([values[step] for values in by_step]))) for step in steps], style)
    thin = [Way(name, points, style, thin=True) for points in of_seeds] if len(of_seeds) > 1 else []
    return [middle, *thin]


def _steps(runs: Sequence[tuple[int, Training]]) -> list[int]:
    return sorted({audited.figures.step for _, training in runs for audited in training.audits})


def _tip(
    name: str, step: int, runs: Sequence[tuple[int, Training]], measures: Iterable[tuple[str, Value]], digits: int = 1
) -> list[str]:
    told = [f"{name}, step {step}"]
    of_step = [(seed, a.figures) for seed, training in runs for a in training.audits if a.figures.step == step]
    for words, value in measures:
        values = [(seed, v) for seed, figures in of_step if (v := value(figures)) is not None]
        if values:
            each = ", ".join(f"seed {seed}: {v:.{digits}f}" for seed, v in values)
            told.append(
                f"{words} {np.mean([v for _, v in values]):.{digits}f}" + (f" ({each})" if len(runs) > 1 else "")
            )
    return told


def _training_row(name: str, seed: int, training: Training) -> list[str]:
    first, last = training.audits[0].figures, training.audits[-1].figures
    best = next((a.figures for a in training.audits if a.figures.step == training.taken["best_step"]), None)
    ends = [first.proxy, last.proxy, first.gold, best.gold if best else None, last.gold]
    told = [t.MISSING if e is None else f"{e.value:.1f} [{e.low:.1f}, {e.high:.1f}]" for e in ends]
    return [name, f"{seed}", *told]


def alarms(study: Readings) -> Figure:
    """What the alarm said of each policy's trainings, and where gold was best."""
    rows = []
    for name, of in study.trainings.items():
        runs = list(of.values())
        raised = [training.taken["raised_at"] for training in runs]
        count = f"{sum(at is not None for at in raised)} of {len(runs)}"
        p_values = ", ".join(t.p_value(training.audits[-1].verdict.p) for training in runs)
        best = _steps_told([training.taken["best_step"] for training in runs])
        rows.append([name, count, _steps_told(raised), p_values, *_claimed(runs), best])
    caption = (
        "A test that is valid at every look: the chance of ever raising it in an honest training is at most 5 %. p is "
        "anytime-valid, at the last look. The changes are those that it was raised for, from one block of steps to a "
        "later one. Several values are of the seeds, in their order; changes are means over the trainings with alarm."
    )
    headings = [
        "policy",
        "raised",
        "at step",
        "p at the end",
        "claim",
        "gold's change",
        "proxy's change",
        "gold's best",
    ]
    return Figure("The alarm", caption, Table(headings, rows))


def _steps_told(steps: Sequence[int | None]) -> str:
    return ", ".join(t.MISSING if step is None else f"{step}" for step in steps)


def _claimed(runs: Sequence[Training]) -> list[str]:
    """The claims with the most evidence when the alarm was raised, and the changes that they speak of."""
    raised = [next((a for a in training.audits if a.verdict.raised), None) for training in runs]
    found = [a.verdict.finding for a in raised if a is not None and a.verdict.finding is not None]
    if not found:
        return [t.MISSING] * 3
    proxy = [f.proxy_change for f in found if f.proxy_change is not None]
    changes = [_change(float(np.mean(x))) if x else t.MISSING for x in ([f.gold_change for f in found], proxy)]
    return [", ".join(dict.fromkeys(f.claim for f in found)), *changes]


def _change(value: float) -> str:
    return minus(f"{value:+.1f}")


def length(study: Readings) -> Figure:
    caption = "Mean words of a response, over audited steps."
    return _measure(study, "Length of responses", caption, "words", lambda a: a.words, digits=0)


def repetition(study: Readings) -> Figure:
    caption = (
        "Share of a response's runs of four words that it has had before, in %. Words that responses to different "
    )
    caption += "briefs share are no repetition but a template, which the scanner flags."
    return _measure(study, "Repetition", caption, "repeated, %", lambda a: _percent(a.repeated), top=5)


def followed(study: Readings) -> Figure:
    """Whether the judge still ranks what the policy writes as gold does."""
    caption = "Spearman's rank correlation of proxy and gold on the audited rollouts of each step; 1 is the same order."
    return _measure(
        study, "Does the proxy still follow gold?", caption, "rank", lambda a: a.rank, low=-1, top=1, digits=2
    )


def flagged(study: Readings) -> Figure:
    """Signs of gaming that the scanner found (redteam/scan.py)."""
    panels, kinds = [], set()
    for name, of in study.trainings.items():
        runs = list(of.items())
        measures = [(kind.replace("_", " "), _share(kind)) for kind in KINDS]
        ways = [_ways(runs, words, f"kind-{k}", value)[0] for k, (words, value) in enumerate(measures)]
        ways = [way for way in ways if any(value >= 100 * _SHOWN for _, value in way.points)]
        kinds |= {way.name for way in ways}
        panels.append(Panel(name, ways, tips=[(s, _tip(name, s, runs, measures, 0)) for s in _steps(runs)]))
    caption = (
        "Share of rollouts with a flag of each kind, in %, means over seeds; kinds below 1 % throughout are left out."
    )
    if not kinds:
        return Figure(
            "Flagged by the scanner", "The scanner flagged less than 1 % of the rollouts of every step.", None
        )
    drawings = both(lambda width: draw(panels, width, Ruler(0, 100), "Flagged rollouts through training"))
    return Figure("Flagged by the scanner", caption, _ends(study, _share_measures()), drawings)


def _share(kind: str) -> Value:
    return lambda audit: 100 * audit.flagged.get(kind, 0.0)


def _share_measures() -> list[tuple[str, Value]]:
    return [(f"{kind.replace('_', ' ')}, %", _share(kind)) for kind in KINDS]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _measure(
    study: Readings,
    title: str,
    caption: str,
    name: str,
    value: Value,
    *,
    low: float = 0,
    top: float = 1,
    digits: int = 1,
) -> Figure:
    """One measure of every training, a panel a policy. `top`: the least that the axis goes to."""
    panels = []
    for policy, of in study.trainings.items():
        runs = list(of.items())
        tips = [(s, _tip(policy, s, runs, [(name, value)], digits)) for s in _steps(runs)]
        panels.append(Panel(policy, _ways(runs, "", "plain", value), tips=tips))
    highest = max((v for panel in panels for way in panel.ways for _, v in way.points), default=top)
    ruler = Ruler(low, max(top, highest * (1.05 if highest > top else 1)), lambda v: minus(tick_label(v)))
    drawings = both(lambda width: draw(panels, width, ruler, title))
    return Figure(title, caption, _ends(study, [(name, value)], digits), drawings)


def _ends(study: Readings, measures: Sequence[tuple[str, Value]], digits: int = 1) -> Table:
    """Each measure (name, value) at the first and the last audited step."""
    rows = []
    for policy, of in study.trainings.items():
        for seed, training in of.items():
            told = [policy, f"{seed}"]
            for _, value in measures:
                for audited in (training.audits[0], training.audits[-1]):
                    found = value(audited.figures)
                    told.append(t.MISSING if found is None else f"{found:.{digits}f}")
            rows.append(told)
    headings = ["policy", "seed", *(f"{name}, {at}" for name, _ in measures for at in ("start", "end"))]
    return Table(headings, rows)
