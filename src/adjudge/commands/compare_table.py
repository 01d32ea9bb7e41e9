"""A comparison as tables for a terminal of any width: columns that do not fit go, the least important first."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adjudge.comparison import ALL, Agreement, ArmRow, Comparison, Contrast, points, times
from adjudge.metrics import Estimate
from adjudge.report.finding import finding
from adjudge.report.text import typed, visible

GAP = 2
LABEL_WIDTH = 28  # a label column gives up what is over this before other columns go
NOTHING = "-"
_COLOURS = {-1: "red", 0: "", 1: "green"}
LEGEND = {
    "McNemar p": "McNemar p and won:lost count a pair as right when its outcome (both orders) is the gold label",
    "null %": "null: orders without a verdict",
    "consistent %": "consistent: pairs whose two orders give the same verdict",
    "bias": "bias: share of verdicts for the response shown first, in points above one half",
}

Cells = Sequence[str | Text]


class Column(msgspec.Struct, frozen=True):
    """`drop` orders the columns by what goes first for want of width, the largest; 0 always stays."""

    header: str
    cells: Cells
    drop: int = 0

    @property
    def width(self) -> int:
        return max(cell_len(self.header), *(cell_len(str(cell)) for cell in self.cells))

    @property
    def empty(self) -> bool:
        return all(str(cell) == NOTHING for cell in self.cells)


class Sheet(msgspec.Struct, frozen=True):
    """A table: its first column labels the rows."""

    title: str
    columns: Sequence[Column]


def show(comparison: Comparison, console: Console) -> None:
    """Print the paired figures, each arm on its own, and what follows from them."""
    shown, left_out = set[str](), dict[str, None]()
    for sheet in _sheets(comparison):
        columns = [_safe(c) for c in sheet.columns if not c.empty]
        kept = fitting(columns, console.width)
        shown |= {c.header for c in kept}
        left_out |= {c.header: None for c in columns if c not in kept}
        console.print(_line(sheet.title, "bold"))
        console.print(_rendered(kept, console.width))
        console.print()
    for line in _words(comparison):
        console.print(_line(line))
    remarks = [f"Note: {note}." for note in comparison.notes]
    remarks += ["; ".join(line for header, line in LEGEND.items() if header in shown) + "."]
    if left_out:
        remarks.append(f"Left out for want of width: {', '.join(left_out)}; --json has everything.")
    for line in remarks:
        console.print(_line(line, "dim"))


def _line(text: str, style: str = "") -> Text:
    """Names come from files: what would steer the terminal or break a line is written out."""
    return Text(visible(text).replace("\n", " ").replace("\t", " "), style=style)


def _safe(column: Column) -> Column:
    cells = [cell if isinstance(cell, Text) else _line(cell).plain for cell in column.cells]
    return Column(_line(column.header).plain, cells, column.drop)


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit into `width` characters when the least important ones go first."""
    kept = list(columns)
    for column in sorted(columns[1:], key=lambda c: -c.drop):
        if column.drop and min(kept[0].width, LABEL_WIDTH) + _others_width(kept) > width:
            kept.remove(column)
    return kept


def _others_width(columns: Sequence[Column]) -> int:
    return sum(GAP + column.width for column in columns[1:])


def _rendered(columns: Sequence[Column], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
    label, *others = columns
    room = max(8, width - _others_width(columns))
    table.add_column(label.header, no_wrap=True, overflow="ellipsis", width=min(label.width, room))
    for column in others:
        table.add_column(column.header, no_wrap=True, justify="right", width=column.width)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells, style="bold" if str(cells[0]) == ALL else "")
    return table


def _words(comparison: Comparison) -> Iterator[str]:
    overall = comparison.rows[0]
    yield from map(typed, finding(comparison))
    if overall.alpha is not None:
        yield f"Agreement of all {len(comparison.arms)} arms: Krippendorff's alpha {overall.alpha:.2f}."
    agreement = next((c.agreement for c in overall.contrasts.values()), None)
    gold = any(contrast.gain for contrast in overall.contrasts.values())
    if gold and len(comparison.pairs) == 1 and agreement and agreement.share is not None:
        kappa = "" if agreement.kappa is None else f" (Cohen's kappa {agreement.kappa:.2f})"
        yield f"Both give the same verdict on {100 * agreement.share:.1f} % of {agreement.n:,} pairs{kappa}."


# -- the tables


def _sheets(comparison: Comparison) -> Iterator[Sheet]:
    base, *others = comparison.arms
    means = f"accuracy in %{', unread left out' if comparison.unread == 'left-out' else ''}"
    means += f", {100 * comparison.level:g} % intervals"
    pairs = f"{comparison.rows[0].n:,} pairs judged by"
    if not others:
        yield Sheet(f"{base}: {means}", _of_one(comparison))
    elif len(others) == 1:
        yield Sheet(f"{base} -> {others[0]}: {pairs} both; {means}", _by_domain(comparison, base, others[0]))
    else:
        yield Sheet(f"{len(others)} arms against {base}: {pairs} all; {means}", _by_arm(comparison))
        yield from _gains_by_domain(comparison)
        yield Sheet("Same verdict, in % of the pairs that both arms settle", _agreements(comparison))
    yield Sheet(f"Each arm over all its own judgments ({comparison.evaluator})", _alone(comparison))


def _by_domain(comparison: Comparison, base: str, other: str) -> list[Column]:
    rows = comparison.rows
    contrasts = [row.contrasts[base, other] for row in rows]
    names = (base, other) if max(len(base), len(other)) <= 9 else ("from", "to")
    tokens = [(number(row.arms[base].output_tokens), number(row.arms[other].output_tokens)) for row in rows]
    return [
        Column(comparison.by, [row.domain for row in rows]),
        Column("pairs", [f"{row.n:,}" for row in rows]),
        Column(names[0], [percent(row.arms[base].accuracy) for row in rows], drop=1),
        Column(names[1], [percent(row.arms[other].accuracy) for row in rows], drop=1),
        *_contrast_columns(contrasts),
        Column("tokens", [NOTHING if NOTHING in pair else " -> ".join(pair) for pair in tokens], drop=5),
    ]


def _by_arm(comparison: Comparison) -> list[Column]:
    overall = comparison.rows[0]
    return [
        Column("arm", _numbered(comparison)),
        Column("accuracy", [percent(row.accuracy) for row in overall.arms.values()]),
        *_contrast_columns([overall.contrasts.get((comparison.arms[0], arm)) for arm in comparison.arms]),
        Column("tokens", [number(row.output_tokens) for row in overall.arms.values()], drop=5),
    ]


def _contrast_columns(contrasts: Sequence[Contrast | None]) -> list[Column]:
    def of(cell: Callable[[Contrast], str | Text]) -> Cells:
        return [NOTHING if contrast is None else cell(contrast) for contrast in contrasts]

    return [
        Column("gain, points", of(lambda c: _gain(c))),
        Column("cost", of(lambda c: NOTHING if c.cost_ratio is None else times(c.cost_ratio)), drop=2),
        Column("McNemar p", of(lambda c: p_value(c.mcnemar_p)), drop=3),
        Column("won:lost", of(lambda c: NOTHING if c.gain is None else f"{c.only_other}:{c.only_base}"), drop=8),
        Column("same %", of(lambda c: _same(c.agreement)), drop=7),
        Column("kappa", of(lambda c: _two(c.agreement.kappa)), drop=6),
    ]


def _gains_by_domain(comparison: Comparison) -> Iterator[Sheet]:
    """Domains down, the other arms across by their number, eight to a sheet."""
    rows = comparison.rows
    label = [Column(comparison.by, [r.domain for r in rows]), Column("pairs", [f"{r.n:,}" for r in rows])]
    gains = [
        Column(f"#{number}", [_short_gain(row.contrasts[pair]) for row in rows])
        for number, pair in enumerate(comparison.pairs, start=2)
    ]
    if all(column.empty for column in gains):
        return
    for start in range(0, len(gains), 5):
        title = "Gain in points (*: shown, the interval excludes zero)" if not start else "Gain in points, continued"
        yield Sheet(title, label + gains[start : start + 5])


def _agreements(comparison: Comparison) -> list[Column]:
    def cell(row: int, column: int) -> str:
        pair = comparison.arms[min(row, column)], comparison.arms[max(row, column)]
        return "" if row <= column else _same(comparison.agreements[pair])

    size = len(comparison.arms)
    across = [Column(f"#{c + 1}", [cell(r, c) for r in range(size)], drop=c) for c in range(size - 1)]
    return [Column("arm", _numbered(comparison)), *across]


def _of_one(comparison: Comparison) -> list[Column]:
    arms = [row.arms[comparison.arms[0]] for row in comparison.rows]
    return [
        Column(comparison.by, [row.domain for row in comparison.rows]),
        Column("pairs", [f"{row.n:,}" for row in comparison.rows]),
        Column("accuracy", [_interval(arm.accuracy) for arm in arms]),
        Column("tokens", [number(arm.output_tokens) for arm in arms]),
    ]


def _alone(comparison: Comparison) -> list[Column]:
    rows = list(comparison.alone.values())

    def share(header: str, values: Iterable[float], drop: int) -> Column:
        return Column(header, [f"{100 * value:.1f}" for value in values], drop)

    broken = [
        share(name, [getattr(row, f"{name}_share") for row in rows], drop=4)
        for name in ("unread", "truncated", "refused", "failed")
    ]
    counts = 1 if comparison.unread == "left-out" else 8
    kinds = [column for column in broken if any(cell != "0.0" for cell in column.cells)]
    return [
        Column("arm", _numbered(comparison) if len(rows) > 2 else list(comparison.arms)),
        Column("rows", [f"{row.n_rows:,}" for row in rows], drop=2),
        Column("accuracy", [_interval(row.accuracy) for row in rows]),
        share("tie %", (row.tie_share for row in rows), drop=1),
        share("null %", (row.null_share for row in rows), drop=1),
        *(kinds if len(kinds) > 1 else []),
        Column("verdicts", [f"{row.n_verdicts:,} of {row.n_orders:,}" for row in rows], drop=counts),
        Column("prompt", [number(row.prompt_tokens, 0) for row in rows], drop=7),
        Column("output", [number(row.output_tokens) for row in rows], drop=1),
        Column("$ each", [NOTHING if row.cost_usd is None else f"{row.cost_usd:.2g}" for row in rows], drop=3),
        Column("consistent %", [percent(row.consistency) for row in rows], drop=5),
        Column("bias", [_bias(row) for row in rows], drop=6),
    ]


# -- cells


def _numbered(comparison: Comparison) -> list[str]:
    width = len(str(len(comparison.arms)))
    return [f"{number:>{width}} {arm}" for number, arm in enumerate(comparison.arms, start=1)]


def percent(estimate: Estimate | None) -> str:
    return NOTHING if estimate is None else f"{100 * estimate.value:.1f}"


def number(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def p_value(p: float | None) -> str:
    return NOTHING if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _same(agreement: Agreement) -> str:
    return NOTHING if agreement.share is None else f"{100 * agreement.share:.1f}"


def _two(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:4.1f}, {100 * estimate.high:5.1f}]"


def _gain(contrast: Contrast) -> Text:
    gain = contrast.gain
    if gain is None:
        return Text(NOTHING)
    said = f"{points(gain.value)} [{points(gain.low):>5}, {points(gain.high):>5}]"
    return Text(said, style=_COLOURS[contrast.side])


def _short_gain(contrast: Contrast) -> Text:
    if contrast.gain is None:
        return Text(NOTHING)
    return Text(points(contrast.gain.value) + ("*" if contrast.side else " "), style=_COLOURS[contrast.side])


def _bias(row: ArmRow) -> str:
    return NOTHING if row.position_bias is None else points(row.position_bias.value)
