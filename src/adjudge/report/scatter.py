"""Accuracy against cost: one point an arm, its interval as a bar, labels placed so that none covers another.

Where the names do not all find room, the points carry numbers and the names stand below the picture.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.comparison import ArmRow
from adjudge.metrics import Estimate
from adjudge.report.svg import (
    NARROW,
    Box,
    Drawing,
    Scale,
    cost_scale,
    line,
    mark,
    picture,
    tag,
    text,
    text_width,
    tick_label,
)
from adjudge.report.text import amount, percent_interval, visible

_RADIUS = 5.0
_MAX_LABEL = 260.0


class Spot(NamedTuple):
    """One point: `cost` along, `value` upwards. `tip` says it in words, first its name."""

    name: str
    cost: float
    value: Estimate
    tip: tuple[str, ...]


class Wording(NamedTuple):
    """`along` names the axis of costs, `unit` writes a tick of the other, which never leaves `bounds`."""

    label: str
    along: str
    unit: Callable[[float], str]
    bounds: tuple[float, float] = (0.0, 1.0)


_ACCURACY = Wording(
    "Accuracy against output tokens per verdict, one point for each arm",
    "output tokens per verdict",
    lambda value: f"{100 * value:.0f} %",
)


class _Point(NamedTuple):
    name: str
    x: float
    y: float
    y_low: float
    y_high: float
    tip: tuple[str, ...]
    efficient: bool


class _Label(NamedTuple):
    words: str
    x: float  # where the text starts
    y: float  # its baseline
    box: Box
    far: bool  # too far off to be understood without a line to its point


def draw(arms: Mapping[str, ArmRow], width: float) -> Drawing | None:
    """The chart of arms at this width; None when no arm has both an accuracy and its tokens."""
    spots = [
        Spot(
            name,
            row.output_tokens,
            row.accuracy,
            (
                name,
                f"accuracy {percent_interval(row.accuracy)}",
                f"{amount(row.output_tokens)} output tokens per verdict",
            ),
        )
        for name, row in arms.items()
        if row.accuracy is not None and row.output_tokens is not None
    ]
    return plot(spots, width, _ACCURACY) if spots else None


def plot(spots: Sequence[Spot], width: float, wording: Wording) -> Drawing:
    """The chart of one point or more at this width."""
    narrow = width == NARROW
    frame = Box(46 if narrow else 62, 14, width - 14, 300 if narrow else 396)
    x = cost_scale([spot.cost for spot in spots], frame.x0, frame.x1)
    low, high = min(s.value.low for s in spots), max(s.value.high for s in spots)
    spare = max(0.02 * (wording.bounds[1] - wording.bounds[0]), 0.08 * (high - low))
    y = Scale(max(wording.bounds[0], low - spare), min(wording.bounds[1], high + spare), frame.y1, frame.y0)
    points = _points(spots, x, y)
    labels = _place(points, [p.name for p in points], frame)
    key: tuple[str, ...] = ()
    if labels is None:
        key = tuple(p.name for p in points)
        labels = _place(points, [str(i) for i in range(1, len(points) + 1)], frame)
    frontier = sorted((p.x, p.y) for p in points if p.efficient)
    drawing = picture(
        width,
        frame.y1 + 44,
        wording.label,
        *_axes(x, y, frame, narrow, wording),
        tag("polyline", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in frontier), class_="frontier"),
        *_marks(points, labels or []),
    )
    return Drawing(drawing, key)


def _points(spots: Sequence[Spot], x: Scale, y: Scale) -> list[_Point]:
    points = []
    for spot in spots:
        here = (spot.value.value, spot.cost)
        better = any(
            other.value.value >= here[0] and other.cost <= here[1] and (other.value.value, other.cost) != here
            for other in spots
        )
        places = (y.at(spot.value.value), y.at(spot.value.low), y.at(spot.value.high))
        points.append(_Point(visible(spot.name), x.at(spot.cost), *places, spot.tip, not better))
    return sorted(points, key=lambda p: (p.x, p.y))


def _axes(x: Scale, y: Scale, frame: Box, narrow: bool, wording: Wording) -> list[Markup]:
    drawn = []
    for value in y.ticks(44):
        drawn.append(line(frame.x0, y.at(value), frame.x1, y.at(value), "grid"))
        drawn.append(text(frame.x0 - 8, y.at(value) + 4, wording.unit(value), "tick", "end"))
    for value in x.ticks(48 if narrow else 70):
        drawn.append(line(x.at(value), frame.y1, x.at(value), frame.y1 + 5, "axis"))
        drawn.append(text(x.at(value), frame.y1 + 18, tick_label(value), "tick", "middle"))
    scaled = "" if x.kind == "linear" else ", logarithmic"
    title = f"{wording.along}{scaled}"
    drawn.append(line(frame.x0, frame.y1, frame.x1, frame.y1, "axis"))
    drawn.append(text(frame.x1, frame.y1 + 37, f"{title} →", "tick", "end"))
    return drawn


def _marks(points: Sequence[_Point], labels: Sequence[_Label]) -> list[Markup]:
    drawn = []
    for point, label in zip(points, labels, strict=True):
        parts = [tag("circle", cx=point.x, cy=point.y, r=3 * _RADIUS, class_="hit")]
        parts.append(line(point.x, point.y_low, point.x, point.y_high, "interval"))
        if label.far:
            near_x = min(max(point.x, label.box.x0), label.box.x1)
            near_y = min(max(point.y, label.box.y0), label.box.y1)
            parts.append(line(point.x, point.y, near_x, near_y, "leader"))
        kind = "point" if point.efficient else "point beaten"
        parts.append(tag("circle", cx=point.x, cy=point.y, r=_RADIUS, class_=kind))
        parts.append(text(label.x, label.y, label.words, "label"))
        drawn.append(mark(point.tip, *parts))
    return drawn


def _place(points: Sequence[_Point], names: Sequence[str], frame: Box) -> list[_Label] | None:
    """A place for every label, none over another label, a point or the frame; None when there is none.

    Interval bars may be crossed only where nothing else is free.
    """
    dots = [Box(p.x - 7, p.y - 7, p.x + 7, p.y + 7) for p in points]
    bars = [Box(p.x - 2, p.y_high, p.x + 2, p.y_low) for p in points]
    placed: dict[int, _Label] = {}
    for index in sorted(range(len(points)), key=lambda i: -text_width(names[i])):
        for obstacles in (dots + bars, dots):
            taken = [o for i, o in enumerate(obstacles) if i % len(points) != index or i < len(points)]
            taken += [label.box for label in placed.values()]
            free = (label for label in _candidates(points[index], names[index], frame) if _fits(label, taken, frame))
            label = next(free, None)
            if label is not None:
                placed[index] = label
                break
        else:
            return None
    return [placed[i] for i in range(len(points))]


def _fits(label: _Label, taken: Sequence[Box], frame: Box) -> bool:
    box = label.box
    inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 - 10 and box.y1 <= frame.y1
    return inside and not any(box.overlaps(other) for other in taken)


def _candidates(point: _Point, words: str, frame: Box) -> list[_Label]:
    wide = text_width(words)
    if wide > min(_MAX_LABEL, 0.5 * (frame.x1 - frame.x0)):
        return []
    found = []
    for ring in range(5):
        for dx, dy in ((1, 0), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1)):
            start = point.x + dx * (10 + 9 * ring) - (wide if dx < 0 else wide / 2 if dx == 0 else 0)
            middle = point.y + dy * max(10, 15 * ring)
            if dx == 0:  # beyond the end of the point's own interval
                middle = (point.y_high if dy < 0 else point.y_low) + dy * (11 + 15 * ring)
            box = Box(start - 2, middle - 8, start + wide + 2, middle + 8)
            found.append(_Label(words, start, middle + 4.5, box, far=ring > 0))
    return found
