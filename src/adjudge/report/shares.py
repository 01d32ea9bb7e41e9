"""What became of every question, arm by arm: one whole bar, and every kind of outcome written out, zero or not."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.comparison import ArmRow
from adjudge.report.rows import Column, Layout, layout
from adjudge.report.svg import mark, picture, tag, text
from adjudge.report.text import percent
from adjudge.types import Judgment, Outcome, Side

# The class on the page and its words, in the order of the bar and of the legend.
KINDS = {
    "right-a": "right, said A",
    "right-b": "right, said B",
    "said-a": "said A, no gold label",
    "said-b": "said B, no gold label",
    "verdict": "A or B",
    "tie": "tie",
    "wrong-a": "wrong, said A",
    "wrong-b": "wrong, said B",
    "unread": "unread",
    "truncated": "truncated",
    "refused": "refused",
    "failed": "failed",
}
NO_VERDICT = ("unread", "truncated", "refused", "failed")
_SIDES = (("right-a", "right-b", "wrong-a", "wrong-b"), ("said-a", "said-b"), ("verdict",))


class Tally(NamedTuple):
    """How often each kind came, each order that was run counted once."""

    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def share(self, *kinds: str) -> float:
        return sum(self.counts.get(k, 0) for k in kinds) / max(1, self.total)


def kind(outcome: Outcome, gold: Side | None) -> str:
    """
    >>> kind(Outcome.A, "A"), kind(Outcome.B, "A"), kind(Outcome.A, None), kind(Outcome.TRUNCATED, "A")
    ('right-a', 'wrong-b', 'said-a', 'truncated')
    """
    if outcome is Outcome.TIE or not outcome.is_verdict:
        return outcome.value
    side = outcome.value.lower()
    return f"said-{side}" if gold is None else f"right-{side}" if outcome == gold else f"wrong-{side}"


def count(judgments: Iterable[tuple[Judgment, Side | None]]) -> Tally:
    """The tally of judgments, each with the gold label of its pair."""
    return Tally(Counter(kind(outcome, gold) for judgment, gold in judgments for outcome in judgment.orders))


def from_figures(row: ArmRow) -> Tally:
    """The tally as far as an arm's figures tell it: which response a verdict named is not among them."""
    ties, others = (
        row.tie_share * row.n_orders,
        (row.unread_share, row.truncated_share, row.refused_share, row.failed_share),
    )
    counts = {k: round(share * row.n_orders) for k, share in zip(NO_VERDICT, others, strict=True)}
    return Tally({"verdict": row.n_verdicts - round(ties), "tie": round(ties), **counts})


def shown(tallies: Iterable[Tally]) -> list[str]:
    """The kinds that chart and table list: ties, every outcome that is no verdict, the verdicts by what is known."""
    present = {k for tally in tallies for k, n in tally.counts.items() if n}
    known = [side for side in _SIDES if present.intersection(side)] or [_SIDES[0]]
    left_out = {k for side in _SIDES if side not in known for k in side}
    return [k for k in KINDS if k not in left_out]


def draw(tallies: Mapping[str, Tally], width: float) -> Markup:
    """One bar an arm, and the share of each outcome that is no verdict beside it."""
    columns = [Column(k, 60) for k in NO_VERDICT]
    at = layout(width, columns)
    if at.narrow:
        columns.insert(0, Column("no verdict", 0))
    rows = [_row(i, *entry, at, columns) for i, entry in enumerate(tallies.items())]
    label = "What became of every question, by arm"
    return picture(width, at.bottom(len(tallies)) + 6, label, *at.headings(columns), *rows)


def _row(i: int, name: str, tally: Tally, at: Layout, columns: Sequence[Column]) -> Markup:
    if at.narrow:
        figures = [f"no verdict {percent(tally.share(*NO_VERDICT))}"]
        figures += [f"{tally.counts.get(k, 0):,}" for k in NO_VERDICT]
    else:
        figures = [percent(tally.share(k)) for k in NO_VERDICT]
    parts = at.head(i, name, columns, figures, total=False)
    y, x = at.y(i) - 9, 0.0 if at.narrow else at.x0
    full = (at.width if at.narrow else at.x1) - x
    tip = [name]
    for k in shown([tally]):
        wide = full * tally.share(k)
        tip.append(f"{KINDS[k]}: {tally.counts.get(k, 0):,} ({percent(tally.share(k))})")
        if wide:
            # A share too small to see is drawn one pixel wide all the same.
            parts.append(tag("rect", x=x, y=y, width=max(1.0, wide - 1), height=18, class_=f"share {k}"))
            if wide > 38:
                parts.append(text(x + wide / 2, y + 13, percent(tally.share(k), 0), f"inside on-{k}", "middle"))
            x += wide
    return mark(tip, at.area(i), *parts)
