"""The charts that show each arm by itself: accuracy against cost, the two orders, and what became of every question."""

from collections.abc import Mapping

from adjudge.comparison import ArmRow, Comparison
from adjudge.report import scatter, shares
from adjudge.report import text as t
from adjudge.report.figure import Figure, Table, both
from adjudge.report.rows import Axis, Column, Row, intervals, stems
from adjudge.report.shares import Tally
from adjudge.report.svg import NARROW, WIDE, Scale, cost_scale, tick_label


def shown_arms(comparison: Comparison) -> Mapping[str, ArmRow]:
    """The figures of each arm that stand first: paired, or over all its own judgments where no pair has all arms."""
    return comparison.rows[0].arms if comparison.rows[0].n else comparison.alone


def accuracy_and_cost(comparison: Comparison) -> Figure:
    arms = shown_arms(comparison)
    drawings = [d for d in (scatter.draw(arms, WIDE), scatter.draw(arms, NARROW)) if d]
    silent = [name for name, row in arms.items() if row.output_tokens is None]
    caption = f"Bars are {t.percent(comparison.level, 0)} intervals."
    if len(arms) > 1:
        caption += " The line joins the arms that no other beats on accuracy and cost at once; open points are beaten."
    if silent:
        caption += f" Not drawn, as their tokens were not recorded: {', '.join(silent)}."
    headings = ["arm", "pairs", "accuracy [interval]", "output tokens", "prompt tokens", "cost per judgment"]
    headings += ["alpha with gold", "pairs, all it judged", "accuracy, all", "output tokens, all"]
    rows = [_arm_cells(name, arms[name], comparison.alone[name]) for name in comparison.arms]
    return Figure("Accuracy against cost", caption, Table(headings, rows), drawings)


def cost(comparison: Comparison) -> Figure:
    """Mean output tokens of every arm: what there is to show where no pair has a gold label."""
    arms = shown_arms(comparison)
    title, caption = (
        "Cost of each arm",
        "No pair has a gold label, so accuracy cannot be shown: only what a verdict costs.",
    )
    headings = ("arm", "pairs", "output tokens", "prompt tokens", "cost per judgment")
    cells = [
        (n, f"{r.n_rows:,}", t.amount(r.output_tokens), t.amount(r.prompt_tokens), t.dollars(r.cost_usd))
        for n, r in arms.items()
    ]
    known = [r.output_tokens for r in arms.values() if r.output_tokens is not None]
    if not known:
        return Figure(title, caption, Table(headings, cells))
    axis = Axis(lambda start, end: cost_scale(known, start, end), tick_label, "output tokens per verdict →")
    rows = [(name, row.output_tokens, t.amount(row.output_tokens), False) for name, row in arms.items()]
    drawings = both(lambda width: stems(rows, width, axis, Column("output tokens", 90), title))
    return Figure(title, caption, Table(headings, cells), drawings)


def _arm_cells(name: str, row: ArmRow, alone: ArmRow) -> list[str]:
    return [
        name,
        f"{row.n_rows:,}",
        t.percent_interval(row.accuracy),
        t.amount(row.output_tokens),
        t.amount(row.prompt_tokens),
        t.dollars(row.cost_usd),
        t.plain(row.alpha_gold),
        f"{alone.n_rows:,}",
        t.percent_interval(alone.accuracy),
        t.amount(alone.output_tokens),
    ]


def consistency(comparison: Comparison) -> Figure:
    """How often both orders give the same verdict."""
    arms, title = shown_arms(comparison), "Position consistency: do both orders agree?"
    figures = {n: (t.percent_interval(r.consistency), f"{r.n_both:,}") for n, r in arms.items()}
    table = Table(("arm", "both orders agree [interval]", "pairs"), [(n, *f) for n, f in figures.items()])
    if not any(row.consistency for row in arms.values()):
        return Figure(title, "No pair was judged in both orders, so there is nothing to set side by side.", None)
    rows = [Row(n, r.consistency, figures[n], absent="no pair with two verdicts") for n, r in arms.items()]
    axis = Axis(lambda start, end: Scale(0, 1, start, end), lambda v: t.percent(v, 0), "pairs whose two orders agree →")
    columns = (Column("agree [interval]", 140), Column("pairs", 50))
    caption = "Each pair is shown twice, a first and b first. Pairs with a verdict in both orders count."
    return Figure(title, caption, table, both(lambda width: intervals(rows, width, axis, columns, title)))


def position_bias(comparison: Comparison) -> Figure:
    """How far the verdicts lean to the response that was shown first."""
    arms, title = shown_arms(comparison), "Position bias: does standing first win?"
    figures = {n: (t.points_interval(r.position_bias), f"{r.n_both:,}") for n, r in arms.items()}
    table = Table(("arm", "lean to the first [interval], points", "pairs"), [(n, *f) for n, f in figures.items()])
    known = [row.position_bias for row in arms.values() if row.position_bias]
    if not known:
        return Figure(title, "No pair of two responses was judged in both orders, so a lean cannot be seen.", None)
    rows = [Row(n, r.position_bias, figures[n], absent="cannot be seen") for n, r in arms.items()]
    reach = min(0.5, max(0.05, 1.1 * max(max(-e.low, e.high) for e in known)))
    axis = Axis(
        lambda start, end: Scale(-reach, reach, start, end),
        t.whole_points,
        "← to the second · lean in points · to the first →",
        line_at=0,
    )
    columns = (Column("lean [interval]", 140), Column("pairs", 50))
    caption = "0: the place does not count; +50: the response shown first always wins; −50: the second always does."
    return Figure(title, caption, table, both(lambda width: intervals(rows, width, axis, columns, title)))


def outcomes(tallies: Mapping[str, Tally]) -> Figure:
    """Every kind of outcome of every arm, each order counted once, over all that the arm was asked."""
    title = "What became of every question"
    legend = [(k, shares.KINDS[k]) for k in shares.shown(tallies.values())]
    rows = [
        (name, f"{tally.total:,}", *(f"{tally.counts.get(k, 0):,} ({t.percent(tally.share(k))})" for k, _ in legend))
        for name, tally in tallies.items()
    ]
    table = Table(("arm", "questions", *(words for _, words in legend)), rows)
    caption = "Every order that was asked counts once. What gave no verdict is never counted as one."
    return Figure(title, caption, table, both(lambda width: shares.draw(tallies, width)), legend)
