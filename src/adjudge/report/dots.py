"""Several estimates a row, one below the other, each with its interval, about a line; kinds are told by colour."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.metrics import Estimate
from adjudge.report.rows import Axis, layout
from adjudge.report.svg import Scale, line, mark, picture, tag, text

_APART = 7.0


class Dot(NamedTuple):
    """`style` is the class of its colour; `words` stand in the tip."""

    style: str
    estimate: Estimate
    words: str


class Dots(NamedTuple):
    name: str
    dots: Sequence[Dot]


def draw(rows: Sequence[Dots], width: float, axis: Axis, label: str) -> Markup:
    at = layout(width, ())._replace(top=6.0)
    at = at._replace(height=at.height + 12)
    x = axis.scale(at.x0, at.x1)
    bottom = at.bottom(len(rows))
    body: list[Markup] = []
    for value in x.ticks(56):
        body.append(line(x.at(value), at.top, x.at(value), bottom, "grid"))
        body.append(text(x.at(value), bottom + 16, axis.unit(value), "tick", "middle"))
    if axis.line_at is not None:
        body.append(line(x.at(axis.line_at), at.top, x.at(axis.line_at), bottom, "zero"))
    body.append(text(at.x1, bottom + 33, axis.title, "tick", "end"))
    for i, row in enumerate(rows):
        if i:
            body.append(at.rule(i))
        middle = at.y(i) - (5 if at.narrow else 0)
        parts = at.head(i, row.name, (), (), total=False)
        for k, dot in enumerate(row.dots):
            parts += _dot(dot, x, middle + (k - (len(row.dots) - 1) / 2) * _APART)
        body.append(mark([row.name, *(dot.words for dot in row.dots)], at.area(i), *parts))
    return picture(width, bottom + 38, label, *body)


def _dot(dot: Dot, x: Scale, y: float) -> list[Markup]:
    low, value, high = x.at(dot.estimate.low), x.at(dot.estimate.value), x.at(dot.estimate.high)
    return [
        line(low, y, high, y, f"span {dot.style}"),
        tag("circle", cx=value, cy=y, r=4, class_=f"dot {dot.style}"),
    ]
