"""Small multiples: the same measures over the steps of several trainings, one panel each, all to one scale.

A line a measure, thin lines for single runs beside it; events stand as signs on the lines. Pointing at a step tells all
its values. On a wide page panels stand three in a row, on a phone one below the other.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from adjudge.report.curves import spread
from adjudge.report.svg import NARROW, Box, Scale, line, mark, picture, shorten, tag, text, text_width, tick_label
from adjudge.report.text import visible

_GAP = 18.0
_HEIGHT = 160.0  # of a panel's inside
_HEAD, _FOOT = 26.0, 40.0
_LEFT = 34.0  # room for the numbers of the axis


class Way(NamedTuple):
    """A measure over steps, (step, value) each. `style`: proxy, gold or plain; `thin`: one run of several."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "plain"
    thin: bool = False


class Event(NamedTuple):
    """`kind`: alarm, a line across the panel, or best, a ring around the point."""

    kind: str
    step: float
    value: float


class Panel(NamedTuple):
    """`band`: (step, low, high) around a line. `tips`: what each step tells, first its heading."""

    title: str
    ways: Sequence[Way]
    events: Sequence[Event] = ()
    band: Sequence[tuple[float, float, float]] = ()
    tips: Sequence[tuple[float, Sequence[str]]] = ()


class Ruler(NamedTuple):
    """The axis upwards, the same for all panels."""

    low: float
    high: float
    unit: Callable[[float], str] = tick_label


def draw(panels: Sequence[Panel], width: float, ruler: Ruler, label: str) -> Markup:
    """All panels at this width."""
    columns = 1 if width == NARROW else min(3, len(panels))
    each = (width - _GAP * (columns - 1)) / columns if width == NARROW or columns > 1 else width * 0.6
    high = _HEAD + _HEIGHT + _FOOT
    last = max((p[0] for panel in panels for way in panel.ways for p in way.points), default=1.0)
    parts = []
    for k, panel in enumerate(panels):
        left, top = (k % columns) * (each + _GAP), (k // columns) * high
        room = max((text_width(w.name, 12) for w in panel.ways if not w.thin), default=0.0) + 12
        frame = Box(left + _LEFT, top + _HEAD, left + each - room, top + _HEAD + _HEIGHT)
        parts += _panel(panel, frame, ruler, max(last, 1.0), left + each)
    return picture(width, high * -(-len(panels) // columns), label, *parts)


def _panel(panel: Panel, frame: Box, ruler: Ruler, last: float, right: float) -> list[Markup]:
    x, y = Scale(0, last, frame.x0, frame.x1), Scale(ruler.low, ruler.high, frame.y1, frame.y0)
    drawn = [text(frame.x0, frame.y0 - 10, shorten(panel.title, right - frame.x0), "label strong")]
    for value in y.ticks(30):
        drawn.append(line(frame.x0, y.at(value), frame.x1, y.at(value), "grid"))
        drawn.append(text(frame.x0 - 7, y.at(value) + 4, ruler.unit(value), "tick", "end"))
    for value in (v for v in x.ticks(56) if v == round(v)):
        drawn.append(text(x.at(value), frame.y1 + 17, tick_label(value), "tick", "middle"))
    drawn.append(line(frame.x0, frame.y1, frame.x1, frame.y1, "axis"))
    if panel.band:
        edges = [(x.at(s), y.at(h)) for s, _, h in panel.band] + [
            (x.at(s), y.at(low)) for s, low, _ in panel.band[::-1]
        ]
        drawn.append(tag("polygon", points=_joined(edges), class_="band"))
    drawn += [_way(way, x, y) for way in sorted(panel.ways, key=lambda w: not w.thin)]
    drawn += [_event(event, x, y, frame) for event in panel.events]
    named = [way for way in panel.ways if way.points and not way.thin]
    heights = spread([y.at(way.points[-1][1]) for way in named], frame)
    for way, at in zip(named, heights, strict=True):
        drawn.append(text(x.at(way.points[-1][0]) + 8, at + 4, way.name, f"end-name {way.style}"))
    return drawn + _tips(panel.tips, x, frame)


def _way(way: Way, x: Scale, y: Scale) -> Markup:
    places = [(x.at(step), y.at(value)) for step, value in way.points]
    classes = f"way {way.style}{' thin' if way.thin else ''}"
    if len(places) == 1:
        return tag("circle", cx=places[0][0], cy=places[0][1], r=3, class_=f"dot-{way.style}")
    return tag("polyline", points=_joined(places), class_=classes)


def _event(event: Event, x: Scale, y: Scale, frame: Box) -> Markup:
    at = x.at(event.step)
    if event.kind == "best":
        return tag("circle", cx=at, cy=y.at(event.value), r=5, class_="best")
    flag = tag("polygon", points=_joined([(at - 5, frame.y0 - 2), (at + 5, frame.y0 - 2), (at, frame.y0 + 6)]))
    return tag("g", line(at, frame.y0, at, frame.y1, "alarm"), flag, class_="alarm")


def _tips(tips: Sequence[tuple[float, Sequence[str]]], x: Scale, frame: Box) -> list[Markup]:
    """A strip a step that can be pointed at."""
    if not tips:
        return []
    places = [x.at(step) for step, _ in tips]
    edges = [frame.x0, *((a + b) / 2 for a, b in pairwise(places)), frame.x1 + 6]
    strips = zip(tips, places, pairwise(edges), strict=True)
    return [
        mark(
            [visible(word) for word in words],
            tag("rect", x=start, y=frame.y0, width=max(end - start, 1.0), height=frame.y1 - frame.y0, class_="hit"),
            line(at, frame.y0, at, frame.y1, "here"),
        )
        for (_, words), at, (start, end) in strips
    ]


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
