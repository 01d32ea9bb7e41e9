"""adjudge report: one HTML file with the charts and the judgments themselves."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import click
import msgspec

from adjudge.commands.counting import counted
from adjudge.commands.definitions import with_definitions
from adjudge.compare import compare
from adjudge.comparison import Comparison
from adjudge.errors import AdjudgeError, ConfigError, DataError
from adjudge.report.judgments import MAX_JUDGMENTS
from adjudge.report.page import Made, Written, write_report
from adjudge.store.engine import without_password
from adjudge.store.sources import open_records
from adjudge.types import Record


@click.command("report")
@click.argument("records")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The HTML file to write.")
@click.option("--arms", metavar="CHEAP,REASONING", default="all", help="The arms, the cheap one first; all by default.")
@click.option("--evaluator", help="The judge model, or family, whose records count; each of them by default.")
@click.option(
    "--max-judgments",
    type=click.IntRange(min=0),
    default=MAX_JUDGMENTS,
    show_default=True,
    help="How many judgments can be opened on the page, those on which arms disagree first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(records: str, out: Path, arms: str, evaluator: str | None, max_judgments: int, as_json: bool) -> None:
    """Write one HTML page about RECORDS, a file of records or a store: where reasoning pays, and every judgment.

    \b
    adjudge report judgments.db --out report.html
    adjudge report records.jsonl.gz --arms Vanilla,CoT --out report.html
    """
    names = [name.strip() for name in arms.split(",") if name.strip()]
    comparisons, notes = _compared(records, names, evaluator)
    written = write_report(
        counted("{} records packed", open_records(records, evaluator=evaluator)),
        comparisons,
        out,
        made=Made(_command_line(records, out, arms, evaluator, max_judgments), datetime.now(UTC)),
        notes=notes,
        max_judgments=max_judgments,
    )
    click.echo(msgspec.json.encode(_to_json(written, comparisons, notes)) if as_json else _said(written))


def _compared(ref: str, names: Sequence[str], evaluator: str | None) -> tuple[list[Comparison], list[str]]:
    """A comparison for each evaluator that has the arms, and a note for each that has not.

    The first pass serves the first evaluator and finds the others, so one evaluator takes one pass. Raises the first
    evaluator's error when none can be compared.
    """
    found: dict[str, None] = {}
    stream = _noting(counted("{} records compared", open_records(ref, evaluator=evaluator, texts=False)), found)
    first = next(stream)
    tried = {first.evaluator: _try(chain([first], stream), names, first.evaluator)}
    for name in found:
        if name not in tried:
            tried[name] = _try(open_records(ref, evaluator=name, texts=False), names, name)
    comparisons = [result for result in tried.values() if isinstance(result, Comparison)]
    if not comparisons:
        raise next(result for result in tried.values() if isinstance(result, AdjudgeError))
    left_out = {name: result for name, result in tried.items() if isinstance(result, AdjudgeError)}
    comparisons = [with_definitions(comparison, ref, comparison.evaluator) for comparison in comparisons]
    return comparisons, [f"{name} is not in this report: {error}" for name, error in left_out.items()]


def _noting(records: Iterable[Record], found: dict[str, None]) -> Iterator[Record]:
    """The same records; their evaluators are added to `found`, in order."""
    for record in records:
        found[record.evaluator] = None
        yield record


def _try(records: Iterable[Record], names: Sequence[str], evaluator: str) -> Comparison | AdjudgeError:
    try:
        return compare(records, names, evaluator=evaluator)
    except (ConfigError, DataError) as error:
        return error


def _command_line(records: str, out: Path, arms: str, evaluator: str | None, max_judgments: int) -> str:
    """The command that makes the same page again, without a password."""
    words = ["adjudge", "report", without_password(records), "--out", str(out), "--arms", arms]
    words += [] if evaluator is None else ["--evaluator", evaluator]
    words += [] if max_judgments == MAX_JUDGMENTS else ["--max-judgments", str(max_judgments)]
    return shlex.join(words)


def _to_json(written: Written, comparisons: Sequence[Comparison], notes: Sequence[str]) -> dict[str, object]:
    return {
        **written._asdict(),
        "path": str(written.path),
        "comparisons": [{"evaluator": c.evaluator, "arms": c.arms, "pairs": c.rows[0].n} for c in comparisons],
        "notes": notes,
    }


def _said(written: Written) -> str:
    shown = f"{written.judgments:,} judgments of {written.pairs:,} pairs"
    if written.shown_judgments < written.judgments:
        shown += f", {written.shown_judgments:,} of them to be opened"
    return f"{written.path}: {shown}, {written.size_bytes / 1e6:.1f} MB"
