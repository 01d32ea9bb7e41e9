"""An evaluation of routers by domain: what is bought where, and how accuracy and budget hold in each."""

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.metrics import Estimate
from adjudge.report import amounts, dots
from adjudge.report import text as t
from adjudge.report.amounts import Amounts
from adjudge.report.dots import Dot, Dots
from adjudge.report.figure import Figure, Table, both
from adjudge.report.rows import Axis
from adjudge.report.svg import Scale
from adjudge.routing.registry import DEFAULT, ORACLE, PACING

Found = Mapping[str, Any]
LEFT_OUT = "leave-one-domain-out"
SELDOM = 0.005  # purchases per judgment below which an arm has no bar
_REACH = 1.5  # overruns beyond this are drawn at the edge


def by_domain(found: Found, about: Found, split: str) -> list[Figure]:
    """The figures of one split, at the middle one of the budgets. None where all instances are of one domain."""
    budget = sorted(about["budgets"])[len(about["budgets"]) // 2]
    rows = [row for row in found["domains"] if row["split"] == split and row["budget"] == budget]
    if len({row["domain"] for row in rows}) < 2:
        return []
    routers = list(dict.fromkeys(row["router"] for row in rows))
    lead = DEFAULT if DEFAULT in routers else next((name for name in routers if name != ORACLE), routers[0])
    figures = [_bought([row for row in rows if row["router"] == lead], lead, budget, about)]
    if split == LEFT_OUT:
        compared = [row for row in rows if row["router"] in _compared(routers, lead)]
        figures += [_overrun(compared, budget), _accuracy(compared, budget)]
    return figures


def _compared(routers: Sequence[str], lead: str) -> dict[str, str]:
    """The routers that are set against each other, and the class of each: the lead, paced, robust to costs, a fixed
    choice."""
    wanted = {lead: "lead", f"{lead}{PACING}": "paced", "racer-c": "robust", "static": "fixed"}
    return {name: style for name, style in wanted.items() if name in routers}


def _bought(rows: Sequence[Found], lead: str, budget: float, about: Found) -> Figure:
    arms = [arm for arm in about["arms"] if any(row["draws"].get(arm, 0.0) >= SELDOM for row in rows)]
    bars = [Amounts(row["domain"], [row["draws"].get(arm, 0.0) for arm in arms]) for row in rows]
    cells = [
        [row["domain"], f"{row['n']:,}", *(f"{v:.2f}" for v in bar.values)] for row, bar in zip(rows, bars, strict=True)
    ]
    title = "What is bought in each domain"
    caption = (
        f"Purchases per judgment by {lead} at budget {budget:g}: each order and each draw is one. Arms without a bar "
        "are bought in fewer than one of 200 judgments."
    )
    return Figure(
        title,
        caption,
        Table(["domain", "instances", *arms], cells),
        both(lambda width: amounts.draw(bars, arms, width, lambda value: f"{value:.2f}", title)),
    )


def _overrun(rows: Sequence[Found], budget: float) -> Figure:
    title = "Does the budget hold in a domain that was left out?"
    known = [value for row in rows for value in (row["overrun_low"], row["overrun_high"])]
    low, high = max(min(known, default=0.0), -1.0), min(max(known, default=0.0), _REACH)
    axis = Axis(
        lambda start, end: Scale(min(low, -0.1) - 0.03, max(high, 0.1) + 0.03, start, end),
        lambda value: f"{t.whole_points(value)} %",
        "realised cost above or below the budget →",
        line_at=0,
    )
    caption = f"At budget {budget:g}, with 95 % intervals. Each domain was judged by routers that never saw it."
    if max(known, default=0.0) > _REACH:
        caption += f" What lies beyond +{100 * _REACH:.0f} % is drawn at the edge."
    return _dotted(title, caption, rows, axis, "overrun", lambda row: _signed_interval(_estimate(row, "overrun")))


def _accuracy(rows: Sequence[Found], budget: float) -> Figure:
    title = "Accuracy in a domain that was left out"
    known = [value for row in rows for value in (row["accuracy_low"], row["accuracy_high"])]
    low, high = min(known, default=0.0), max(known, default=1.0)
    axis = Axis(
        lambda start, end: Scale(max(0.0, low - 0.02), min(1.0, high + 0.02), start, end),
        lambda value: t.percent(value, 0),
        "accuracy →",
    )
    caption = f"At budget {budget:g}, with 95 % intervals: the price, or the gain, of spending differently."
    return _dotted(title, caption, rows, axis, "accuracy", lambda row: t.percent_interval(_estimate(row, "accuracy")))


def _dotted(title: str, caption: str, rows: Sequence[Found], axis: Axis, of: str, said: Any) -> Figure:
    routers = list(dict.fromkeys(row["router"] for row in rows))
    styles = _compared(routers, routers[0])
    known = {(row["domain"], row["router"]): row for row in rows}
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    drawn = [
        Dots(
            domain,
            [
                Dot(style, _estimate(known[domain, router], of), f"{router}: {said(known[domain, router])}")
                for router, style in styles.items()
            ],
        )
        for domain in domains
    ]
    cells = [
        [domain, f"{known[domain, routers[0]]['n']:,}", *(said(known[domain, router]) for router in styles)]
        for domain in domains
    ]
    return Figure(
        title,
        caption,
        Table(["domain", "instances", *styles], cells),
        both(lambda width: dots.draw(drawn, width, axis, title)),
        [(style, router) for router, style in styles.items()],
    )


def _estimate(row: Found, of: str) -> Estimate:
    return Estimate(row[of], row[f"{of}_low"], row[f"{of}_high"])


def _signed_interval(estimate: Estimate) -> str:
    return f"{t.whole_points(estimate.value)} % [{t.whole_points(estimate.low)}, {t.whole_points(estimate.high)}]"
