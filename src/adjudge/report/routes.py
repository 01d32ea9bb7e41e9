"""An evaluation of routers as one page: per split, accuracy against cost, what was overspent, what was bought.

It reads what `adjudge.routing.scores.scored` gives, and what the evaluation was of: `reference`, `cost`, `budgets`,
`evaluator`, `seeds`, `instances`, `notes`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adjudge.metrics import Estimate
from adjudge.report import text as t
from adjudge.report.curves import Curve, Stop, draw
from adjudge.report.domains import LEFT_OUT, by_domain
from adjudge.report.figure import Figure, Table, both
from adjudge.report.page import Made, Section, write_sections
from adjudge.routing.registry import ALWAYS, DEFAULT, ORACLE

Found = Mapping[str, Any]
BASELINES = ("static", "random")
_WORDS = {
    "random": "folds drawn at random",
    LEFT_OUT: "each domain by a router that never saw it",
    "shift-dearer": "more of the dear domains than in the fit",
    "shift-cheaper": "more of the cheap domains than in the fit",
}


def write_routes(found: Found, about: Found, path: str | Path, made: Made) -> None:
    """Write the page. Raises DataError when it cannot be written."""
    splits = list(dict.fromkeys(cell["split"] for cell in found["summary"]))
    sections = [_section(found, about, split, number) for number, split in enumerate(splits)]
    write_sections(sections, path, title=f"Routers of {about['evaluator']}", made=made, notes=about["notes"])


def _section(found: Found, about: Found, split: str, number: int) -> Section:
    cells = [cell for cell in found["summary"] if cell["split"] == split]
    routed = [cell for cell in cells if not cell["router"].startswith(ALWAYS)]
    return Section(
        f"split-{number}",
        split,
        _WORDS[split],
        [_finding(found, split)],
        [
            ("evaluator", about["evaluator"]),
            ("instances", f"{about['instances']:,}"),
            ("seeds", f"{about['seeds']}"),
            ("cost", f"{about['cost'].replace('_', ' ')}, relative to {about['reference']}"),
            ("intervals", "95 %, over instances"),
        ],
        (),
        [_curves(cells, about), *by_domain(found, about, split), _overruns(routed, split)],
        (),
        [_bought(routed, about), _differences(found, routed, split)],
    )


def _finding(found: Found, split: str) -> str:
    best = found["best_arm"]
    areas = [
        (a["area"], a["router"])
        for a in found["areas"]
        if a["split"] == split and a["router"] != ORACLE and not a["router"].startswith(ALWAYS)
    ]
    of_best = (
        f"The best single arm is {best['arm']}, {t.percent(best['accuracy'])} at {t.ratio(best['cost_rel'])} the cost"
    )
    if not areas:
        return f"{of_best}."
    lead = DEFAULT if DEFAULT in [router for _, router in areas] else max(areas)[1]
    reached = next(r for r in found["reached"] if r["split"] == split and r["router"] == lead)
    if reached["share"] is None:
        return f"{of_best}; {lead} does not reach it at these budgets."
    low = t.MISSING if reached["share_low"] is None else f"{100 * reached['share_low']:.0f}"
    high = "not reached" if reached["share_high"] is None else f"{100 * reached['share_high']:.0f}"
    return f"{of_best}; {lead} is as accurate at {100 * reached['share']:.0f} % of that [{low}, {high}]."


def _curves(cells: Sequence[Found], about: Found) -> Figure:
    stops: dict[str, list[Stop]] = {}
    for cell in sorted(cells, key=lambda cell: cell["budget"]):
        estimate = Estimate(cell["accuracy"], cell["accuracy_low"], cell["accuracy_high"])
        stops.setdefault(cell["router"], []).append(Stop(cell["cost_rel"], estimate, cell["budget"]))
    lead = DEFAULT if DEFAULT in stops else next(iter(stops))
    curves = [Curve(name, found, _style(name, lead)) for name, found in stops.items() if not name.startswith(ALWAYS)]
    alone = [
        Curve(name.removeprefix(f"{ALWAYS}:"), [found[0]._replace(budget=None)])
        for name, found in stops.items()
        if name.startswith(ALWAYS)
    ]
    unit = f"times {about['reference']}"
    rows = [
        [cell["router"], f"{cell['budget']:g}", _estimate(cell), f"{cell['cost_rel']:.2f}", cell.get("note", "")]
        for cell in cells
    ]
    caption = "Each line is a router through the budgets, at what it really spent; dots are arms alone."
    if any(curve.style == "bound" for curve in curves):
        caption += " The oracle sees the gold labels: it bounds what choosing one arm a judgment can reach."
    return Figure(
        "Accuracy against cost",
        caption + f" The band is the interval of {lead}.",
        Table(["router", "budget", "accuracy", "cost", ""], rows),
        both(lambda width: draw(curves, alone, width, unit)) if curves else (),
    )


def _style(name: str, lead: str) -> str:
    return "lead" if name == lead else "bound" if name == ORACLE else "baseline" if name in BASELINES else "other"


def _overruns(cells: Sequence[Found], split: str) -> Figure:
    budgets = sorted({cell["budget"] for cell in cells})
    routers = list(dict.fromkeys(cell["router"] for cell in cells))
    of = {(cell["router"], cell["budget"]): cell for cell in cells}
    headings = ["router", *(f"at {budget:g}" for budget in budgets), "dearest domain"]
    rows = []
    for router in routers:
        worst = max((of[router, budget] for budget in budgets), key=lambda cell: cell["overrun_worst"])
        mean = [_signed(of[router, budget]["overrun"]) for budget in budgets]
        rows.append(
            [router, *mean, f"{_signed(worst['overrun_worst'])} {worst['worst_domain']} at {worst['budget']:g}"]
        )
    caption = (
        "Realised cost above (+) or below the budget, in % of it: over all instances, and in the domain where it is"
    )
    caption += " highest. Only paced routers follow what is really spent."
    if split == LEFT_OUT:
        caption += " Each domain was judged by a router that never saw it."
    return Figure("Does the budget hold?", caption, Table(headings, rows))


def _bought(cells: Sequence[Found], about: Found) -> Figure:
    rows = [
        [f"{cell['router']} at {cell['budget']:g}", *(t.percent(cell["share"][arm]) for arm in about["arms"])]
        for cell in cells
        if cell["router"] != ORACLE
    ]
    caption = "Share of judgments in which each arm was bought; a router that buys several adds up to more than 100 %."
    return Figure("What is bought", caption, Table(["router", *about["arms"]], rows))


def _differences(found: Found, cells: Sequence[Found], split: str) -> Figure:
    routers = list(dict.fromkeys(cell["router"] for cell in cells if cell["router"] != ORACLE))
    budgets = sorted({cell["budget"] for cell in cells})
    known = {
        (d["router"], d["against"], d["budget"]): (d["gain"], d["gain_low"], d["gain_high"])
        for d in found["differences"]
        if d["split"] == split
    }
    known |= {(b, a, budget): (-g, -high, -low) for (a, b, budget), (g, low, high) in known.items()}
    rows = []
    for other in BASELINES:
        for router in routers:
            gains = [known.get((router, other, budget)) for budget in budgets]
            if any(gains):
                said = [t.MISSING if g is None else t.points_interval(Estimate(*g)) for g in gains]
                rows.append([f"{router} over {other}", *said])
    caption = "Paired differences in points on the same instances, with 95 % intervals."
    if not rows:
        return Figure("Against the baselines", "Neither static nor random is among the routers.", None)
    return Figure("Against the baselines", caption, Table(["", *(f"at {budget:g}" for budget in budgets)], rows))


def _estimate(cell: Found) -> str:
    return t.percent_interval(Estimate(cell["accuracy"], cell["accuracy_low"], cell["accuracy_high"]))


def _signed(value: float) -> str:
    return f"{t.points(value)} %"
