"""The charts that set one arm against another on the same pairs: gain (forest plots) and cost ratio."""

from collections.abc import Sequence
from typing import NamedTuple

from adjudge.comparison import ArmRow, Comparison, Contrast
from adjudge.report import text as t
from adjudge.report.figure import Figure, Table, both
from adjudge.report.rows import Axis, Column, Row, intervals, stems
from adjudge.report.svg import Scale, cost_scale

TOTAL = "all together"
_OPEN = (
    "n counts pairs with a gold label. An open point's interval includes zero: no difference is shown there. "
    "McNemar's test looks at settled pairs: two orders that disagree are a tie, and a tie "
    "is not right, so it can part from the gain, which counts each order."
)
_COLUMNS = (Column("gain [interval]", 150), Column("n", 44), Column("McNemar p", 70))
_HEADINGS = [
    "pairs with gold",
    "accuracy of the base",
    "accuracy of the other",
    "gain [interval], points",
    "pairs better",
    "pairs worse",
    "right by base only",
    "right by other only",
    "McNemar p",
]


def has_gain(comparison: Comparison, pair: tuple[str, str] | None = None) -> bool:
    """Whether the pair of arms (any, when none is named) can be set against gold labels."""
    contrasts = comparison.rows[0].contrasts
    return any(contrasts[p].gain is not None for p in ([pair] if pair else comparison.pairs))


class _Entry(NamedTuple):
    """One row of a chart: a contrast with the figures of its two arms."""

    name: str
    n: int
    contrast: Contrast
    base: ArmRow
    other: ArmRow
    total: bool = False


def gain_by_arm(comparison: Comparison) -> Figure:
    """The forest plot of the arms: every arm's gain over the reference, all domains together."""
    row, base = comparison.rows[0], comparison.arms[0]
    entries = [
        _Entry(other, row.n, row.contrasts[base, other], row.arms[base], row.arms[other])
        for _, other in comparison.pairs
    ]
    caption = f"Accuracy of each arm less that of {base} over the same pairs. {_OPEN}"
    return _forest(f"Gain over {base}", caption, "arm", _by_gain(entries))


def gain_by_domain(comparison: Comparison, pair: tuple[str, str]) -> Figure:
    """The forest plot of one contrast: a row for each domain, sorted by gain, and all together below."""
    base, other = pair
    caption = f"Accuracy of {other} less that of {base} on the same pairs. {_OPEN}"
    title = f"Gain of {other} over {base}, by {comparison.by}"
    return _forest(title, caption, comparison.by, _domains(comparison, pair))


def cost_by_domain(comparison: Comparison, pair: tuple[str, str]) -> Figure:
    """How many times the output tokens the second arm of a pair takes, in the order of the gains."""
    base, other = pair
    entries = _domains(comparison, pair)
    title = f"Cost of {other} in times that of {base}, by {comparison.by}"
    headings = [comparison.by, "n", f"output tokens, {base}", f"output tokens, {other}", "ratio", "ratio in dollars"]
    headings += ["pairs with two verdicts", "same verdict", "kappa"]
    table = Table(headings, [_cost_cells(e) for e in entries])
    known = [e.contrast.cost_ratio for e in entries if e.contrast.cost_ratio]
    if not known:
        return Figure(title, f"The output tokens of {base} or {other} were not recorded, or are zero.", table)
    caption = f"Mean output tokens of {other} over those of {base}, on the same pairs; the line stands at equal cost."
    axis = Axis(lambda a, b: cost_scale([1.0, *known], a, b), lambda v: f"{v:,g} ×", "times the output tokens →", 1.0)
    rows = [(e.name, e.contrast.cost_ratio, t.ratio(e.contrast.cost_ratio), e.total) for e in entries]
    drawings = both(lambda width: stems(rows, width, axis, Column("ratio", 80), title))
    return Figure(title, caption, table, drawings)


def _domains(comparison: Comparison, pair: tuple[str, str]) -> list[_Entry]:
    entries = [
        _Entry(row.domain, row.n, row.contrasts[pair], row.arms[pair[0]], row.arms[pair[1]]) for row in comparison.rows
    ]
    return [*_by_gain(entries[1:]), entries[0]._replace(name=TOTAL, total=True)]


def _by_gain(entries: Sequence[_Entry]) -> list[_Entry]:
    return sorted(entries, key=lambda e: -e.contrast.gain.value if e.contrast.gain else float("inf"))


def _forest(title: str, caption: str, first: str, entries: Sequence[_Entry]) -> Figure:
    table = Table([first, *_HEADINGS], [_gain_cells(e) for e in entries])
    gains = [e.contrast.gain for e in entries if e.contrast.gain]
    assert gains, "without gold there is no forest to plot"
    low, high = min(-0.02, *(g.low for g in gains)), max(0.02, *(g.high for g in gains))
    spare = 0.04 * (high - low)
    axis = Axis(
        lambda start, end: Scale(max(-1.0, low - spare), min(1.0, high + spare), start, end),
        t.whole_points,
        "gain in percentage points →",
        line_at=0,
        signed=True,
    )
    rows = [
        Row(
            e.name,
            e.contrast.gain,
            (t.points_interval(e.contrast.gain), f"{e.contrast.n:,}", t.p_value(e.contrast.mcnemar_p)),
            e.total,
            absent="no gold label",
            side=e.contrast.side,
        )
        for e in entries
    ]
    return Figure(title, caption, table, both(lambda width: intervals(rows, width, axis, _COLUMNS, title)))


def _gain_cells(e: _Entry) -> list[str]:
    return [
        e.name,
        f"{e.contrast.n:,}",
        t.percent(e.base.accuracy),
        t.percent(e.other.accuracy),
        t.points_interval(e.contrast.gain),
        f"{e.contrast.better:,}",
        f"{e.contrast.worse:,}",
        f"{e.contrast.only_base:,}",
        f"{e.contrast.only_other:,}",
        t.p_value(e.contrast.mcnemar_p),
    ]


def _cost_cells(e: _Entry) -> list[str]:
    return [
        e.name,
        f"{e.n:,}",
        t.amount(e.base.output_tokens),
        t.amount(e.other.output_tokens),
        t.ratio(e.contrast.cost_ratio),
        t.ratio(e.contrast.usd_ratio),
        f"{e.contrast.agreement.n:,}",
        t.percent(e.contrast.agreement.share),
        t.plain(e.contrast.agreement.kappa),
    ]


def agreement(comparison: Comparison) -> Figure:
    """How often every two arms give the same verdict, as a table."""
    rows = [
        (f"{x} and {y}", f"{a.n:,}", t.percent(a.share), t.plain(a.kappa))
        for (x, y), a in comparison.agreements.items()
    ]
    caption = "Over the pairs where both arms give a verdict; kappa is Cohen's."
    alpha = comparison.rows[0].alpha
    if alpha is not None:
        caption += f" Krippendorff's alpha over all {len(comparison.arms)} arms: {t.plain(alpha)}."
    return Figure("Do the arms agree?", caption, Table(("arms", "pairs", "same verdict", "kappa"), rows))
