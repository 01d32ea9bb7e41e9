"""What a chart is made of, whatever it shows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from adjudge.report.svg import NARROW, WIDE, Drawing


class Table(NamedTuple):
    """Headings and rows as they are read; the first column names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Figure(NamedTuple):
    """One chart, drawn wide and narrow, with the words under it and the data behind it.

    `legend` is (class, words), `badge` (class, words) beside the title. Without drawing and table, `caption` says why
    there is nothing to show. `notes` stand below the table.
    """

    title: str
    caption: str
    table: Table | None
    drawings: Sequence[Drawing] = ()
    legend: Sequence[tuple[str, str]] = ()
    badge: tuple[str, str] | None = None
    notes: Sequence[str] = ()


def both(draw: Callable[[float], Markup]) -> tuple[Drawing, Drawing]:
    """The same chart for a wide page and for a phone."""
    return Drawing(draw(WIDE)), Drawing(draw(NARROW))
