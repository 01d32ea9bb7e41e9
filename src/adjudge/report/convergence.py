"""How far iterations are from the optimum, step by step, on a logarithmic axis; a picture that stands by itself.

It is a whole SVG file with its own colours, light and dark, for pages that show images and no markup of ours.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.report.curves import spread
from adjudge.report.svg import Box, Scale, line, mark, tag, text

_WIDTH, _ROOM = 960.0, 270.0
_STYLE = """
svg { background: #ffffff; font: 13px/1 system-ui, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
text { fill: #1c242c; } .tick { fill: #57636e; font-size: 12px; } .grid { stroke: #eef0f2; } .axis { stroke: #dfe3e6; }
.leader { stroke: #57636e; stroke-width: 0.8; opacity: 0.6; } polyline { fill: none; stroke-width: 2; }
.exact { stroke: #1d5fa7; } .settles { stroke: #75678f; } .cycles { stroke: #a8540c; }
.robust { stroke-dasharray: 6 4; }
@media (prefers-color-scheme: dark) {
  svg { background: #191f26; } text { fill: #e4e9ee; } .tick { fill: #9dabb8; } .grid { stroke: #222a32; }
  .axis { stroke: #2d363f; } .leader { stroke: #9dabb8; }
  .exact { stroke: #6daaf2; } .settles { stroke: #beb3d8; } .cycles { stroke: #eb9b52; }
}
"""


class Way(NamedTuple):
    """`gaps` before the first step and after each; the line ends where they fall below the chart. `style`: exact,
    settles or cycles, and robust beside it."""

    name: str
    gaps: Sequence[float]
    style: str


def draw(ways: Sequence[Way], label: str, least: float = 1e-12) -> Markup:
    """The whole file. Gaps below `least` are rounding and are not drawn."""
    frame = Box(62, 16, _WIDTH - _ROOM, 420)
    steps = max(len(way.gaps) for way in ways) - 1
    top = 10.0 ** math.ceil(math.log10(max(max(way.gaps) for way in ways)))
    x, y = Scale(0, steps, frame.x0, frame.x1), Scale(least, top, frame.y1, frame.y0, "log")
    places = [[(x.at(t), y.at(max(gap, least))) for t, gap in enumerate(_shown(way.gaps, least))] for way in ways]
    # of lines that end level, the longer below: their leaders do not cross
    ends = spread([end_y + 1e-3 * end_x for end_x, end_y in (points[-1] for points in places)], frame)
    parts = [tag("style", Markup(_STYLE)), *_axes(x, y, frame)]  # noqa: S704  # ours
    for way, points, label_y in zip(ways, places, ends, strict=True):
        joined = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        leader = line(points[-1][0] + 4, points[-1][1], frame.x1 + 6, label_y, "leader")
        words = text(frame.x1 + 10, label_y + 4, way.name)
        parts.append(mark([way.name], tag("polyline", points=joined, class_=way.style), leader, words))
    high = frame.y1 + 48
    return tag(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        width=_WIDTH,
        height=high,
        viewBox=f"0 0 {_WIDTH:g} {high:g}",
        role="img",
        aria_label=label,
    )


def _shown(gaps: Sequence[float], least: float) -> Sequence[float]:
    """Up to the first that lies below."""
    below = next((t for t, gap in enumerate(gaps) if gap < least), len(gaps) - 1)
    return gaps[: below + 1]


def _axes(x: Scale, y: Scale, frame: Box) -> list[Markup]:
    drawn = []
    for power in range(round(math.log10(y.low)), round(math.log10(y.high)) + 1, 2):
        height = y.at(10.0**power)
        drawn.append(line(frame.x0, height, frame.x1, height, "grid"))
        drawn.append(text(frame.x0 - 8, height + 4, f"1e{power}" if power else "1", "tick", "end"))
    for value in x.ticks(60):
        drawn.append(text(x.at(value), frame.y1 + 18, f"{value:g}", "tick", "middle"))
    drawn.append(line(frame.x0, frame.y1, frame.x1, frame.y1, "axis"))
    drawn.append(text(frame.x1, frame.y1 + 37, "iterations; upwards the duality gap, in reward →", "tick", "end"))
    return drawn
