"""SVG by hand: escaped elements, axes with round ticks, and how wide a text will be.

A chart is drawn twice, for a wide page and for a phone, each at the size of its text; the style sheet shows one.
Colours are classes, never attributes, so that the page's light and dark themes both reach them. Lengths are pixels.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

from adjudge.report.text import amount, visible

WIDE, NARROW = 960, 356
LINE = 16  # height of a line of text


class Drawing(NamedTuple):
    """A finished chart. `key` explains the numbers in it, where marks carry numbers for want of room."""

    svg: Markup
    key: tuple[str, ...] = ()


class Box(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: "Box") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element. Children and attributes are escaped unless they are Markup; `class_` is class, `_` in names is `-`.

    >>> tag("text", "a < b", x=1.25, class_="axis")
    Markup('<text x="1.2" class="axis">a &lt; b</text>')
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
    )
    inner = Markup("").join(escape(c) for c in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inner)  # noqa: S704  # ours


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(
    x: float, y: float, words: str, class_: str = "", anchor: Literal["start", "middle", "end"] = "start"
) -> Markup:
    """A text whose baseline is at y. Foreign words are made visible and kept from reordering their neighbours."""
    return tag("text", visible(words), x=x, y=y, class_=class_, text_anchor=anchor)


def mark(tip: Sequence[str], *children: str) -> Markup:
    """A group that says what it shows: when pointed at, when focused, and to a screen reader."""
    words = "\n".join(visible(t) for t in tip)
    return tag("g", tag("title", words), *children, class_="mark", role="img", aria_label=words)


def picture(width: float, height: float, label: str, *children: str) -> Markup:
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        class_="wide" if width == WIDE else "narrow",
        role="group",
        aria_label=visible(label),
    )


_NARROW_CHARS, _WIDE_CHARS = frozenset("iljtfrI.,:;'|!()[] "), frozenset("mwMW@%—")


def text_width(words: str, size: float = 13) -> float:
    """About how wide a text will be, on the generous side: the page uses whatever sans serif the reader has."""
    units = sum(0.36 if c in _NARROW_CHARS else 0.95 if c in _WIDE_CHARS else 0.66 if c < "a" else 0.6 for c in words)
    wide_scripts = sum(0.45 for c in words if ord(c) > 0x1100)
    return size * (units + wide_scripts)


def shorten(words: str, width: float, size: float = 13) -> str:
    """The words, cut in the middle where they are wider than `width`; both ends tell names apart.

    >>> shorten("LLMBar/Adversarial/Neighbor", 120)
    'LLMBar/…ighbor'
    """
    words = visible(words)
    if text_width(words, size) <= width:
        return words
    for kept in range(len(words) - 1, 1, -1):
        short = words[: (kept + 1) // 2] + "…" + words[len(words) - kept // 2 :]
        if text_width(short, size) <= width:
            return short
    return words[:1] + "…"


class Scale(NamedTuple):
    """Values low..high to pixels start..end; `log` draws ten-fold steps alike, `log1p` those of 1 + value (zeros)."""

    low: float
    high: float
    start: float
    end: float
    kind: Literal["linear", "log", "log1p"] = "linear"

    def at(self, value: float) -> float:
        """The pixel of a value, held within the axis."""
        share = (self._bend(value) - self._bend(self.low)) / (self._bend(self.high) - self._bend(self.low))
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def _bend(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        return math.log10(1 + value) if self.kind == "log1p" else value

    def ticks(self, room: float = 60) -> list[float]:
        """Round values within the axis, at least about `room` pixels apart."""
        length = abs(self.end - self.start)
        if self.kind == "linear":
            step = _round_step((self.high - self.low) / max(2.0, length / room))
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            return [i * step for i in range(first, last + 1)]
        found: list[float] = []
        for multiples in ((1,), (1, 3), (1, 2, 5)):
            decades = range(math.floor(math.log10(self.low or 1)) - 1, math.ceil(math.log10(self.high)) + 1)
            values = [m * 10.0**d for d in decades for m in multiples if self.low <= m * 10.0**d <= self.high]
            if self.kind == "log1p":
                values = [0.0] + [v for v in values if v >= 1]
            places = [self.at(v) for v in values]
            apart = min((abs(b - a) for a, b in pairwise(places)), default=length)
            if not found or apart >= room * 0.6:
                found = values
        return found


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= step * 0.999)


def cost_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """An axis for costs: logarithmic where they differ more than fivefold, bent at 1 where one is next to zero.

    A tenth of the range stays free at each side; values that are all the same get a range around them.
    """
    low, high = min(values), max(values)
    if low < 0.01:
        return Scale(0, max(1.0, high) * 1.6, start, end, "log1p")
    if high > 5 * low:
        spare = (high / low) ** 0.1
        return Scale(low / spare, high * spare, start, end, "log")
    spare = max((high - low) * 0.15, high * 0.1)
    return Scale(max(0.0, low - spare), high + spare, start, end)


def tick_label(value: float) -> str:
    """
    >>> tick_label(5000.0), tick_label(0.5), tick_label(30.0)
    ('5,000', '0.5', '30')
    """
    return f"{value:,.0f}" if value == round(value) else amount(value) if value >= 10 else f"{value:g}"
