"""Accuracy against what was really spent: a line a router through its budgets, a point an arm alone.

The line that the page is about has a band, its interval; names stand at the ends of their lines, moved apart where they
would cover each other. Costs are relative, on a logarithmic axis where they differ much.
"""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.metrics import Estimate
from adjudge.report.svg import (
    LINE,
    NARROW,
    Box,
    Scale,
    cost_scale,
    line,
    mark,
    picture,
    shorten,
    tag,
    text,
    tick_label,
)
from adjudge.report.text import percent_interval, ratio, visible

_MOST_LABEL = 170.0


class Stop(NamedTuple):
    """A router at a budget, or an arm alone (no budget). `cost`: relative."""

    cost: float
    accuracy: Estimate
    budget: float | None = None


class Curve(NamedTuple):
    """`style`: lead, baseline, bound or other. One stop alone is a point."""

    name: str
    stops: Sequence[Stop]
    style: str = "other"


def draw(curves: Sequence[Curve], points: Sequence[Curve], width: float, unit: str) -> Markup:
    """The chart at this width. `points`: arms alone; `unit` says what costs are relative to."""
    narrow = width == NARROW
    everything = [stop for curve in (*curves, *points) for stop in curve.stops]
    room = 96.0 if narrow else _MOST_LABEL + 16
    frame = Box(46 if narrow else 62, 14, width - room, 300 if narrow else 420)
    x = cost_scale([stop.cost for stop in everything], frame.x0, frame.x1)
    known = [value for stop in everything for value in (stop.accuracy.low, stop.accuracy.value, stop.accuracy.high)]
    lows = [stop.accuracy.value for stop in everything]
    low, high = max(min(lows) - 0.02, min(known)), min(max(lows) + 0.02, max(known))
    y = Scale(low, max(high, low + 0.02), frame.y1, frame.y0)
    ends = spread([y.at(curve.stops[-1].accuracy.value) for curve in curves], frame)
    order = sorted(range(len(curves)), key=lambda k: curves[k].style == "lead")  # the lead above all others
    return picture(
        width,
        frame.y1 + 44,
        "Accuracy against realised cost, one line for each router",
        *_axes(x, y, frame, narrow, unit),
        *(_dot(point, x, y) for point in points),
        *(_line(curves[k], x, y, ends[k], frame, width) for k in order),
    )


def _line(curve: Curve, x: Scale, y: Scale, label_y: float, frame: Box, width: float) -> Markup:
    places = [(x.at(stop.cost), y.at(stop.accuracy.value)) for stop in curve.stops]
    parts: list[Markup] = []
    if curve.style == "lead":
        upper = [(x.at(stop.cost), y.at(stop.accuracy.high)) for stop in curve.stops]
        lower = [(x.at(stop.cost), y.at(stop.accuracy.low)) for stop in curve.stops]
        parts.append(tag("polygon", points=_joined([*upper, *lower[::-1]]), class_="band"))
    parts.append(tag("polyline", points=_joined(places), class_=f"curve {curve.style}"))
    for stop, (at_x, at_y) in zip(curve.stops, places, strict=True):
        knot = tag("circle", cx=at_x, cy=at_y, r=3.5, class_=f"knot {curve.style}")
        parts.append(mark(_tip(curve.name, stop), tag("circle", cx=at_x, cy=at_y, r=9.0, class_="hit"), knot))
    end_x, end_y = places[-1]
    parts.append(line(end_x + 5, end_y, frame.x1 + 6, label_y, "leader"))
    words = shorten(curve.name, width - frame.x1 - 12)
    parts.append(text(frame.x1 + 9, label_y + 4, words, "label strong" if curve.style == "lead" else "label"))
    return tag("g", *parts)


def _dot(point: Curve, x: Scale, y: Scale) -> Markup:
    stop = point.stops[0]
    at_x, at_y = x.at(stop.cost), y.at(stop.accuracy.value)
    bar = line(at_x, y.at(stop.accuracy.low), at_x, y.at(stop.accuracy.high), "whisker")
    dot = tag("circle", cx=at_x, cy=at_y, r=4.5, class_="alone")
    return mark(_tip(point.name, stop), tag("circle", cx=at_x, cy=at_y, r=11.0, class_="hit"), bar, dot)


def _tip(name: str, stop: Stop) -> list[str]:
    budget = "" if stop.budget is None else f" at budget {stop.budget:g}"
    return [visible(name) + budget, f"accuracy {percent_interval(stop.accuracy)}", f"cost {ratio(stop.cost)}"]


def _axes(x: Scale, y: Scale, frame: Box, narrow: bool, unit: str) -> list[Markup]:
    drawn = []
    for value in y.ticks(44):
        drawn.append(line(frame.x0, y.at(value), frame.x1, y.at(value), "grid"))
        drawn.append(text(frame.x0 - 8, y.at(value) + 4, f"{round(100 * value, 1):g} %", "tick", "end"))
    for value in x.ticks(48 if narrow else 70):
        drawn.append(line(x.at(value), frame.y1, x.at(value), frame.y1 + 5, "axis"))
        drawn.append(text(x.at(value), frame.y1 + 18, tick_label(value), "tick", "middle"))
    scaled = "" if x.kind == "linear" else ", logarithmic"
    title = shorten(f"realised cost, {unit}{scaled} →", frame.x1 - frame.x0)
    drawn.append(line(frame.x0, frame.y1, frame.x1, frame.y1, "axis"))
    drawn.append(text(frame.x1, frame.y1 + 37, title, "tick", "end"))
    return drawn


def spread(heights: Sequence[float], frame: Box) -> list[float]:
    """The heights moved apart to a line of text each, as little as may be, kept inside the frame where they fit.

    >>> spread([10.0, 12.0, 100.0], Box(0, 0, 0, 200))
    [3.0, 19.0, 100.0]
    """
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    groups: list[tuple[list[int], float]] = []  # labels that touch, and the height of their middle
    for k in order:
        members, middle = [k], heights[k]
        while groups and middle - (len(members) - 1) * LINE / 2 < groups[-1][1] + (len(groups[-1][0]) + 1) * LINE / 2:
            before, _ = groups.pop()
            members = [*before, *members]
            middle = sum(heights[m] for m in members) / len(members)
        groups.append((members, middle))
    found = [0.0] * len(heights)
    for members, middle in groups:
        for place, k in enumerate(members):
            found[k] = middle + (place - (len(members) - 1) / 2) * LINE
    lowest = max(found, default=0.0)
    shift = min(0.0, frame.y1 - lowest)
    return [height + shift for height in found]


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
