"""The figures of a study's page: each a chart, or a table alone, with the words under it."""

import numpy as np

from adjudge.lab.report.estimates import Measured, from_interval, over_seeds
from adjudge.lab.report.findings import LEAST_VERDICTS, MATTERS, Claim, Finding, Status, Unit
from adjudge.lab.report.readings import Readings
from adjudge.lab.report.roles import SAID, role
from adjudge.lab.scoring import TOP
from adjudge.lab.study.done import Figures
from adjudge.metrics import Estimate
from adjudge.report import dots, scatter
from adjudge.report import text as t
from adjudge.report.dots import Dot, Dots
from adjudge.report.figure import Figure, Table, both
from adjudge.report.rows import Axis
from adjudge.report.svg import NARROW, WIDE, Scale

STATUS: dict[Status, tuple[str, str]] = {
    "reproduced": ("yes", "reproduced"),
    "not reproduced": ("no", "not reproduced"),
    "cannot be shown": ("open", "cannot be shown at this size"),
    "not run": ("none", "not run yet"),
}
_UNITS: dict[Unit, str] = {
    "alpha": "points of alpha x 100",
    "gold": "of gold's 9 points",
    "proxy": "of the proxy's 9 points",
}


def finding(study: Readings, found: Finding) -> Figure:
    """One finding with its claims."""
    each = [f"seed {seed}" for seed in study.seeds]
    headings = ["claim", "verdict", *(["over seeds", *each] if len(each) > 1 else each)]
    rows = [_claim_row(study, claim) for claim in found.claims]
    why = dict.fromkeys(claim.why for claim in found.claims if claim.why)
    caption = " ".join(part for part in (found.needs, f"The paper: {found.paper}") if part)
    seeds = {len(claim.by_seed) for claim in found.claims if claim.estimate}
    kind, words = STATUS[found.status]
    if seeds and max(seeds) == 1 and found.status in ("reproduced", "not reproduced"):
        words += ", in the one seed run"
    title = f"({found.letter}) {found.words}"
    return Figure(title, caption, Table(headings, rows), badge=(kind, words), notes=[f"Missing: {w}." for w in why])


def _claim_row(study: Readings, claim: Claim) -> list[str]:
    words = f"{claim.words}\N{NO-BREAK SPACE}{'>' if claim.above else '≥'}\N{NO-BREAK SPACE}0"
    verdict: str = claim.status
    if claim.premise:
        words, verdict = f"{words}, the premise", "holds" if claim.status == "reproduced" else verdict
    told = [signed(claim.by_seed.get(seed), claim.unit) for seed in study.seeds]
    return [words, verdict, *([signed(claim.estimate, claim.unit), *told] if len(told) > 1 else told)]


def signed(estimate: Estimate | None, unit: Unit) -> str:
    """
    >>> signed(Estimate(1.5, -0.25, 3.0), "gold")
    '+1.50 [−0.25, +3.00]'
    """
    if estimate is None:
        return t.MISSING
    digits = 1 if unit == "alpha" else 2
    return minus(f"{estimate.value:+.{digits}f} [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]")


def minus(text: str) -> str:
    """Numbers as they are typeset."""
    return text.replace("-", "−")


def rules() -> Figure:
    """How claims are decided."""
    least = ", ".join(f"{m:g} {_UNITS[unit]}" for unit, m in MATTERS.items() if unit != "proxy")
    rows = [
        ["reproduced", "low > 0", "low > −m"],
        ["not reproduced", "high < m", "high < 0"],
        ["cannot be shown at this size", "neither", "neither"],
    ]
    caption = (
        f"Each claim says of a number d, with its 95 % interval [low, high], that it is above zero or not below it. "
        f"m is the least that matters: {least}. A finding is reproduced when all its claims are, and not reproduced "
        f"when one is not. A judge that gives a verdict for less than {100 * LEAST_VERDICTS:.0f} % of the items shows "
        "nothing, nor does a policy whose proxy did not rise (a premise). Over two seeds or more the interval is "
        "Student's on the seeds, and its error never less than the seeds' own; it is not widened for the number of "
        "claims. Where gold's peak is looked for, one half of the audited prompts chooses it, the other measures."
    )
    return Figure("How they are decided", caption, Table(["claim", "d > 0", "d ≥ 0"], rows))


def mean(study: Readings, judge: str, name: str) -> float:
    """The mean of a figure of the agreement stage over the seeds that have it."""
    return float(np.mean([row[name] for row in study.agreement[judge].values() if name in row]))


def _alpha(row: Figures) -> Estimate:
    return Estimate(*(100 * row[key] for key in ("alpha", "alpha_low", "alpha_high")))


def agreement(study: Readings) -> Figure:
    """Every judge's agreement with gold in each seed."""
    rows, cells, silent = [], [], []
    for name, by_seed in study.agreement.items():
        heard = {seed: _alpha(row) for seed, row in by_seed.items() if "alpha" in row}
        for seed, row in by_seed.items():
            told = _interval(heard[seed]) if seed in heard else t.MISSING
            cells.append(
                [
                    name,
                    SAID[role(study.preset, name)],
                    f"{seed}",
                    told,
                    t.amount(row["tokens"]),
                    t.percent(row["verdicts"]),
                ]
            )
        if heard:
            found = [Dot("lead", e, f"seed {seed}: {_interval(e)}") for seed, e in heard.items()]
            rows.append(Dots(name, found))
        else:
            silent.append(name)
    ends = [x for row in rows for dot in row.dots for x in (dot.estimate.low, dot.estimate.high)]
    low, high = min(0.0, *ends), min(100.0, max(ends) + 5)
    axis = Axis(lambda start, end: Scale(low, high, start, end), lambda v: minus(f"{v:g}"), "alpha x 100 →", 0.0)
    caption = "Krippendorff's alpha, interval scale, on items that no judge was trained on; "
    caption += "one dot a seed, with the interval over items."
    if silent:
        caption += f" Without verdicts, and not drawn: {', '.join(silent)}."
    headings = ["judge", "kind", "seed", "alpha x 100", "output tokens", "verdicts"]
    drawings = both(lambda width: dots.draw(rows, width, axis, "Agreement of judges with gold"))
    return Figure("Agreement with gold", caption, Table(headings, cells), drawings)


def agreement_and_tokens(study: Readings) -> Figure:
    """Agreement against what a judgment writes: effort's price."""
    spots = []
    for name, by_seed in study.agreement.items():
        measured = {seed: _measured(row) for seed, row in by_seed.items() if "alpha" in row}
        estimate = over_seeds(measured)
        if estimate is not None:
            tokens = mean(study, name, "tokens")
            tip = (name, f"alpha x 100: {_interval(estimate)}", f"{t.amount(tokens)} output tokens a judgment")
            spots.append(scatter.Spot(name, tokens, estimate, tip))
    wording = scatter.Wording(
        "Agreement against output tokens of a judgment, one point for each judge",
        "output tokens a judgment",
        lambda value: minus(f"{value:g}"),
        (-100.0, 100.0),
    )
    caption = "Means over seeds. The line joins the judges that no other beats on agreement and tokens at once; open "
    caption += "points are beaten."
    rows = [[s.name, _interval(s.value), t.amount(s.cost)] for s in spots]
    drawings = [scatter.plot(spots, width, wording) for width in (WIDE, NARROW)]
    return Figure("Agreement against tokens", caption, Table(["judge", "alpha x 100", "output tokens"], rows), drawings)


def _measured(row: Figures) -> Measured:
    e = _alpha(row)
    return from_interval(e.value, e.low, e.high, row["items"] * row["verdicts"])


def _interval(e: Estimate, digits: int = 1) -> str:
    return minus(f"{e.value:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]")


def held_out(study: Readings) -> Figure:
    """Gold's mean on briefs that no policy was trained on, before and after."""
    rows, cells = [], []
    for name, by_seed in study.held.items():
        found = []
        for at, style in (("start", "fixed"), ("end", "lead")):
            ends = {s: Estimate(*(row[f"{at}_gold{x}"] for x in ("", "_low", "_high"))) for s, row in by_seed.items()}
            briefs = study.preset.world.held
            estimate = over_seeds({s: from_interval(e.value, e.low, e.high, briefs) for s, e in ends.items()})
            cells += [[name, at, f"{seed}", _interval(e, 2)] for seed, e in ends.items()]
            if estimate is not None:
                found.append(Dot(style, estimate, f"{at}: {_interval(estimate, 2)}"))
        rows.append(Dots(name, found))
    axis = Axis(lambda start, end: Scale(0, TOP, start, end), lambda v: f"{v:g}", "gold's mean score, 0 to 9 →")
    caption = "Briefs that no policy was trained on, responses drawn at temperature 1; means over seeds."
    drawings = both(lambda width: dots.draw(rows, width, axis, "Gold on held-out briefs, before and after training"))
    legend = (("fixed", "the policy at the start"), ("lead", "at the end"))
    headings = ["policy", "when", "seed", "gold"]
    return Figure("Gold on held-out briefs", caption, Table(headings, cells), drawings, legend)


def cost(study: Readings) -> Figure:
    """What gold was asked, beside what the training judge was, over the seeds of each policy."""
    rows = []
    for name, by_seed in study.trainings.items():
        judge, taken = study.preset.policies[name].judge, [training.taken for training in by_seed.values()]
        tokens = f"{mean(study, judge, 'tokens'):.1f}" if judge in study.agreement else t.MISSING
        judged, gold = (sum(x[kind] for x in taken) for kind in ("judge_calls", "gold_calls"))
        rows.append([name, judge, f"{len(taken)}", f"{judged:,}", tokens, f"{gold:,}", t.percent(gold / judged)])
    headings = ["policy", "judge", "seeds", "judge calls", "tokens each", "gold calls", "share"]
    caption = "Responses that gold judged for the audit, and their share of those that the training judge was given."
    return Figure("Gold calls", caption, Table(headings, rows))
