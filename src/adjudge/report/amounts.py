"""Amounts of several kinds a row, as bars: on a wide page a column a kind, on a phone a line a kind below the name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.report.rows import NAME_WIDTH
from adjudge.report.svg import LINE, NARROW, mark, picture, shorten, tag, text

_HEIGHT = 30.0
_GAP = 14.0
_NUMBER = 36.0  # room for the number behind a bar


class Amounts(NamedTuple):
    """One row; `values` are 0 or more, one for each kind."""

    name: str
    values: Sequence[float]


def draw(
    rows: Sequence[Amounts], kinds: Sequence[str], width: float, unit: Callable[[float], str], label: str
) -> Markup:
    """All bars to one scale, the longest amount as long as there is room."""
    most = max((value for row in rows for value in row.values), default=0.0) or 1.0
    return (_stacked if width == NARROW else _side_by_side)(rows, kinds, width, unit, label, most)


def _side_by_side(
    rows: Sequence[Amounts], kinds: Sequence[str], width: float, unit: Callable[[float], str], label: str, most: float
) -> Markup:
    x0, top = NAME_WIDTH + 20, 22.0
    each = (width - x0) / max(len(kinds), 1)
    parts = [text(x0 + k * each, 13, shorten(kind, each - 8, 12), "tick") for k, kind in enumerate(kinds)]
    for i, row in enumerate(rows):
        y = top + i * _HEIGHT
        drawn = [text(NAME_WIDTH, y + 19, shorten(row.name, NAME_WIDTH), "label", "end")]
        for k, value in enumerate(row.values):
            x, room = x0 + k * each, each - _GAP - _NUMBER
            drawn.append(tag("rect", x=x, y=y + 6, width=room * value / most, height=18, class_="amount"))
            drawn.append(text(x + room * value / most + 6, y + 19, unit(value), "figure"))
        parts.append(_row(row, kinds, unit, width, y, _HEIGHT, drawn))
    return picture(width, top + len(rows) * _HEIGHT + 4, label, *parts)


def _stacked(
    rows: Sequence[Amounts], kinds: Sequence[str], width: float, unit: Callable[[float], str], label: str, most: float
) -> Markup:
    height, x0 = 24.0 + LINE * len(kinds) + 10, 150.0
    parts = []
    for i, row in enumerate(rows):
        y = i * height
        drawn = [text(0, y + 16, shorten(row.name, width), "label strong")]
        for k, (kind, value) in enumerate(zip(kinds, row.values, strict=True)):
            base, long = y + 24 + LINE * k, (width - x0 - _NUMBER) * value / most
            drawn.append(text(0, base + 12, shorten(kind, x0 - 8, 12), "tick"))
            drawn.append(tag("rect", x=x0, y=base + 3, width=long, height=10, class_="amount"))
            drawn.append(text(x0 + long + 6, base + 12, unit(value), "tick"))
        parts.append(_row(row, kinds, unit, width, y, height, drawn))
    return picture(width, height * len(rows), label, *parts)


def _row(
    row: Amounts,
    kinds: Sequence[str],
    unit: Callable[[float], str],
    width: float,
    y: float,
    height: float,
    drawn: Sequence[Markup],
) -> Markup:
    tip = [row.name, *(f"{kind}: {unit(value)}" for kind, value in zip(kinds, row.values, strict=True))]
    return mark(tip, tag("rect", x=0, y=y, width=width, height=height, class_="hit"), *drawn)
