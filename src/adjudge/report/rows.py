"""Charts of one row a domain or an arm: intervals about a line (a forest plot is one), and stems from a line.

On a wide page a row is one line: name, picture, figures. On a phone the name and the first figure stand over the
picture, the other figures below the name.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.metrics import Estimate
from adjudge.report.svg import NARROW, Scale, line, mark, picture, shorten, tag, text, text_width

NAME_WIDTH = 206.0
_GAP = 22.0  # between the picture and the figures, and between figures


class Row(NamedTuple):
    """`figures` stand at the right, one for each of the chart's columns. `total` sets a row apart, below a rule.

    `side`, of charts with a side to be on: 1 where the estimate is shown to lie above the line, -1 below it.

    `estimate` None leaves the picture to the words of `absent`.
    """

    name: str
    estimate: Estimate | None
    figures: tuple[str, ...]
    total: bool = False
    absent: str = ""
    side: int = 0


class Column(NamedTuple):
    heading: str
    width: float


class Axis(NamedTuple):
    """`line_at` is where the reference line stands, None for none; `unit` writes a tick; `title` stands below."""

    scale: Callable[[float, float], Scale]
    unit: Callable[[float], str]
    title: str
    line_at: float | None = None
    signed: bool = False  # estimates are coloured by their row's side


class Layout(NamedTuple):
    """Where things stand: rows from `top`, each `height` high, the picture of a row between x0 and x1."""

    width: float
    top: float
    height: float
    x0: float
    x1: float

    @property
    def narrow(self) -> bool:
        return self.width == NARROW

    def y(self, row: int) -> float:
        """The middle of the picture of a row."""
        return self.top + self.height * row + (self.height - 14 if self.narrow else self.height / 2)

    def bottom(self, rows: int) -> float:
        return self.top + self.height * rows

    def area(self, row: int) -> Markup:
        """What can be pointed at: the whole row."""
        return tag("rect", x=0, y=self.top + self.height * row, width=self.width, height=self.height, class_="hit")

    def rule(self, row: int) -> Markup:
        y = self.top + self.height * row
        return line(0, y, self.width, y, "rule")

    def head(self, row: int, name: str, columns: Sequence[Column], figures: Sequence[str], total: bool) -> list[Markup]:
        """The row's name and figures."""
        strong = " total" if total else ""
        if self.narrow:
            y = self.top + self.height * row + 17
            room = self.width - text_width(figures[0] if figures else "", 12.5) - 14
            drawn = [text(0, y, shorten(name, room), f"label{strong}")]
            if figures:
                drawn.append(text(self.width, y, figures[0], f"figure{strong}", "end"))
            more = " · ".join(f"{c.heading} {f}" for c, f in zip(columns[1:], figures[1:], strict=True))
            return [*drawn, text(0, y + 15, more, "tick")] if more else drawn
        y = self.y(row) + 4.5
        drawn = [text(NAME_WIDTH, y, shorten(name, NAME_WIDTH), f"label{strong}", "end")]
        for x, figure in zip(_ends(self.width, columns), figures, strict=True):
            drawn.append(text(x, y, figure, f"figure{strong}", "end"))
        return drawn

    def headings(self, columns: Sequence[Column]) -> list[Markup]:
        if self.narrow:
            return []
        return [text(x, 13, c.heading, "tick", "end") for x, c in zip(_ends(self.width, columns), columns, strict=True)]


def _ends(width: float, columns: Sequence[Column]) -> list[float]:
    """The right ends of the columns, the last at the right edge."""
    return [width - sum(_GAP + c.width for c in columns[i + 1 :]) for i in range(len(columns))]


def layout(width: float, columns: Sequence[Column]) -> Layout:
    if width == NARROW:
        return Layout(width, 0, 62 if len(columns) > 1 else 46, 8, width - 8)
    return Layout(width, 22, 30, NAME_WIDTH + 20, width - sum(_GAP + c.width for c in columns) - 6)


def intervals(rows: Sequence[Row], width: float, axis: Axis, columns: Sequence[Column], label: str) -> Markup:
    """One estimate with its interval a row, in the order given; a total is drawn as a diamond."""
    at = layout(width, columns)
    x = axis.scale(at.x0, at.x1)
    body = [*_grid(x, at, axis, len(rows)), *at.headings(columns)]
    for i, row in enumerate(rows):
        if row.total and i:
            body.append(at.rule(i))
        parts = at.head(i, row.name, columns, row.figures, row.total)
        tip = [row.name, *(f"{c.heading}: {f}" for c, f in zip(columns, row.figures, strict=True))]
        if row.estimate is None:
            parts.append(text(at.x0, at.y(i) + 4.5, row.absent, "tick"))
            tip = [row.name, row.absent]
        else:
            parts += _estimate(row, row.estimate, at.y(i), x, axis)
        body.append(mark(tip, at.area(i), *parts))
    return picture(width, at.bottom(len(rows)) + (38 if axis.title else 22), label, *body)


def _grid(x: Scale, at: Layout, axis: Axis, rows: int) -> list[Markup]:
    drawn, bottom = [], at.bottom(rows)
    for value in x.ticks(56):
        drawn.append(line(x.at(value), at.top, x.at(value), bottom, "grid"))
        drawn.append(text(x.at(value), bottom + 16, axis.unit(value), "tick", "middle"))
    if axis.line_at is not None:
        drawn.append(line(x.at(axis.line_at), at.top, x.at(axis.line_at), bottom, "zero"))
    if axis.title:
        drawn.append(text(at.x1, bottom + 33, axis.title, "tick", "end"))
    return drawn


def _estimate(row: Row, estimate: Estimate, y: float, x: Scale, axis: Axis) -> list[Markup]:
    side = {1: " up", -1: " down"}.get(row.side, "")
    left, centre, right = x.at(estimate.low), x.at(estimate.value), x.at(estimate.high)
    if row.total:
        # A diamond narrower than this could not be seen; its middle stays where the value is.
        left, right = min(left, centre - 3), max(right, centre + 3)
        corners = f"{left:.1f},{y:.1f} {centre:.1f},{y - 7:.1f} {right:.1f},{y:.1f} {centre:.1f},{y + 7:.1f}"
        return [tag("polygon", points=corners, class_=f"diamond{side}")]
    open_ = " open" if axis.signed and not side else ""
    return [
        line(left, y, right, y, f"interval{side}"),
        tag("circle", cx=centre, cy=y, r=5, class_=f"point{side}{open_}"),
    ]


def stems(
    rows: Sequence[tuple[str, float | None, str, bool]], width: float, axis: Axis, column: Column, label: str
) -> Markup:
    """One dot a row, on a stem from the axis' line where it has one; rows are (name, value, figure, is the total)."""
    at = layout(width, [column])
    x = axis.scale(at.x0, at.x1)
    body = [*_grid(x, at, axis, len(rows)), *at.headings([column])]
    for i, (name, value, figure, total) in enumerate(rows):
        if total and i:
            body.append(at.rule(i))
        parts = at.head(i, name, [column], [figure], total)
        if value is not None:
            if axis.line_at is None:
                parts.append(line(at.x0, at.y(i), at.x1, at.y(i), "grid"))
            else:
                parts.append(line(x.at(axis.line_at), at.y(i), x.at(value), at.y(i), "stem"))
            parts.append(tag("circle", cx=x.at(value), cy=at.y(i), r=5, class_="point"))
        body.append(mark([name, f"{column.heading}: {figure}"], at.area(i), *parts))
    return picture(width, at.bottom(len(rows)) + (38 if axis.title else 22), label, *body)
