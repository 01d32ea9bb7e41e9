"""Comparisons and judgments -> one HTML file that opens offline: no request, no script but its own, no foreign markup.

The content policy allows only the style and script of this file, by their hash. Every foreign word goes through the
template's escaping or, in the judgments' block, through textContent.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from adjudge import __version__, files
from adjudge.comparison import Comparison
from adjudge.errors import DataError
from adjudge.report import charts, contrasts, shares
from adjudge.report import judgments as packing
from adjudge.report import text as t
from adjudge.report.figure import Figure
from adjudge.report.finding import finding
from adjudge.report.judgments import MAX_JUDGMENTS, Chosen, Packed
from adjudge.report.shares import Tally
from adjudge.types import Record


class Made(NamedTuple):
    """How a page came about: the command line that made it, and when."""

    command: str = ""
    at: datetime | None = None


NOT_SAID = Made()


class Written(NamedTuple):
    """What a report holds. `judgments` and `pairs` count what its figures are made of, `shown_*` what can be opened."""

    path: Path
    size_bytes: int
    pairs: int
    judgments: int
    shown_pairs: int
    shown_judgments: int


class Group(NamedTuple):
    """Figures folded away under a title."""

    title: str
    figures: Sequence[Figure]


class Sample(NamedTuple):
    """A text as it was written: what was asked, and `about`, what was said of it."""

    prompt: str
    text: str
    about: str


class Shelf(NamedTuple):
    """Samples side by side, folded away under a title: (heading, samples) each."""

    title: str
    columns: Sequence[tuple[str, Sequence[Sample]]]


class Section(NamedTuple):
    """One comparison: figures that set arms against each other, more of them folded away, and each arm by itself.

    `shelves` hold texts, last of all."""

    id: str
    evaluator: str
    heading: str
    finding: Sequence[str]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    between: Sequence[Figure]
    groups: Sequence[Group]
    each: Sequence[Figure]
    shelves: Sequence[Shelf] = ()


class Kind(NamedTuple):
    """What a page calls itself, and the words that its foot explains; those of comparisons where there are none."""

    name: str
    words: str = ""


COMPARISON, REPORT = Kind("comparison"), Kind("report")


def write_report(
    records: Iterable[Record],
    comparisons: Comparison | Sequence[Comparison],
    path: str | Path,
    *,
    made: Made = NOT_SAID,
    notes: Sequence[str] = (),
    max_judgments: int = MAX_JUDGMENTS,
) -> Written:
    """Write comparisons with the judgments behind them. Records are read once; only what the page carries is kept.

    Records of other evaluators and judgments of other arms than the comparisons' are left out. At most `max_judgments`
    can be opened on the page, those on which the arms disagree first; `notes` stand at the head of the page.
    Raises DataError when no record belongs to the comparisons and when the file cannot be written.
    """
    comparisons = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    arms = {comparison.evaluator: comparison.arms for comparison in comparisons}
    counts: dict[tuple[str, str], Counter[str]] = {(e, arm): Counter() for e, names in arms.items() for arm in names}
    chosen = packing.choose(_counted(_narrowed(records, arms), counts), max_judgments)
    if not chosen.all_pairs:
        raise DataError(f"no judgment of {', '.join(arms)} is among the records", remedy="give the records compared")
    sections = [
        _section(c, i, {arm: Tally(counts[c.evaluator, arm]) for arm in c.arms}) for i, c in enumerate(comparisons)
    ]
    page = _render(sections, comparisons, made, notes, chosen, packing.pack(chosen.records, arms))
    _write(page, path)
    shown = len(chosen.records), chosen.judgments
    return Written(Path(path), len(page), chosen.all_pairs, chosen.all_judgments, *shown)


def write_comparison_html(comparison: Comparison, path: str | Path, *, made: Made = NOT_SAID) -> None:
    """Write the charts and tables of one comparison, without judgments. Raises DataError when it cannot be written."""
    tallies = {arm: shares.from_figures(comparison.alone[arm]) for arm in comparison.arms}
    _write(_render([_section(comparison, 0, tallies)], [comparison], made, (), None, None), path)


def write_sections(
    sections: Sequence[Section],
    path: str | Path,
    *,
    title: str,
    made: Made = NOT_SAID,
    notes: Sequence[str] = (),
    kind: Kind = COMPARISON,
) -> None:
    """Write figures that were made elsewhere, a section each. Raises DataError when the file cannot be written."""
    _write(_render(sections, [], made, notes, None, None, title, kind), path)


def _narrowed(records: Iterable[Record], arms: Mapping[str, Sequence[str]]) -> Iterator[Record]:
    for record in records:
        names = arms.get(record.evaluator, ())
        judgments = {name: record.judgments[name] for name in names if name in record.judgments}
        if judgments:
            yield msgspec.structs.replace(record, judgments=judgments)


def _counted(records: Iterable[Record], counts: Mapping[tuple[str, str], Counter[str]]) -> Iterator[Record]:
    """The same records; their outcomes are added to `counts` on the way, so that one pass serves both."""
    for record in records:
        for name, judgment in record.judgments.items():
            counts[record.evaluator, name].update(shares.kind(o, record.pair.gold) for o in judgment.orders)
        yield record


def _section(comparison: Comparison, number: int, tallies: Mapping[str, Tally]) -> Section:
    known = any(row.accuracy for row in charts.shown_arms(comparison).values())
    between = [charts.accuracy_and_cost(comparison) if known else charts.cost(comparison)]
    groups = [_against(comparison, pair) for pair in comparison.pairs if comparison.rows[0].n]
    if len(groups) == 1:
        between += groups.pop().figures
    elif groups and contrasts.has_gain(comparison):
        between.append(contrasts.gain_by_arm(comparison))
    each = [charts.consistency(comparison), charts.position_bias(comparison), charts.outcomes(tallies)]
    if len(comparison.arms) > 1:
        each.append(contrasts.agreement(comparison))
    return Section(
        f"evaluator-{number}",
        comparison.evaluator,
        _heading(comparison),
        finding(comparison),
        _facts(comparison),
        comparison.notes,
        between,
        groups,
        each,
    )


def _against(comparison: Comparison, pair: tuple[str, str]) -> Group:
    figures = [contrasts.cost_by_domain(comparison, pair)]
    if contrasts.has_gain(comparison, pair):
        figures.insert(0, contrasts.gain_by_domain(comparison, pair))
    return Group(f"{pair[1]} against {pair[0]}, by {comparison.by}", figures)


def _heading(comparison: Comparison) -> str:
    if len(comparison.arms) == 1:
        return comparison.arms[0]
    if len(comparison.arms) == 2:
        return f"{comparison.arms[1]} against {comparison.arms[0]}"
    return f"{len(comparison.arms) - 1} arms against {comparison.arms[0]}"


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    whose = "pairs" if len(comparison.arms) == 1 else "pairs that all arms judged"
    unread = "wrong" if comparison.unread == "wrong" else "left out of accuracy"
    return [
        ("evaluator", comparison.evaluator),
        (whose, f"{comparison.rows[0].n:,}"),
        (f"{comparison.by}s", f"{len(comparison.rows) - 1}"),
        ("intervals", t.percent(comparison.level, 0)),
        ("no verdict counts as", unread),
    ]


def _render(
    sections: Sequence[Section],
    comparisons: Sequence[Comparison],
    made: Made,
    notes: Sequence[str],
    chosen: Chosen | None,
    packed: Packed | None,
    title: str = "",
    kind: Kind = COMPARISON,
) -> bytes:
    style, script = _asset("report.css"), _asset("text.js") + _asset("report.js")
    title = title or (sections[0].heading if len(sections) == 1 else f"{len(sections)} evaluators compared")
    page = _template().render(
        title=title,
        sections=sections,
        notes=notes,
        made=made,
        kind=REPORT if packed else kind,
        version=__version__,
        chosen=chosen,
        packed=packed,
        arms=sorted({arm for comparison in comparisons for arm in comparison.arms}),
        style=Markup(style),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return page.encode("utf-8", "replace")


def _write(page: bytes, path: str | Path) -> None:
    with files.replacing(path) as file:
        file.write(page)


def _asset(name: str) -> str:
    return resources.files("adjudge.report").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    """The source expression of a content policy for an inline element of exactly this content."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adjudge", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = t.visible
    return environment.get_template("report.html.jinja")
