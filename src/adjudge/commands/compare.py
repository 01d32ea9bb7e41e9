"""adjudge compare: where reasoning pays, where it harms, and what it costs."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from adjudge import records as files
from adjudge.commands.compare_table import show
from adjudge.commands.counting import counted
from adjudge.compare import compare
from adjudge.comparison import to_json
from adjudge.types import Record


@click.command("compare")
@click.argument("records")
@click.option("--arms", metavar="CHEAP,REASONING", help="The arms, the cheap one first; more than two, or `all`.")
@click.option("--by", default="domain", show_default=True, help="domain, source, evaluator, or a key that pairs carry.")
@click.option("--evaluator", help="The judge model, or family, whose records count.")
@click.option(
    "--unread",
    type=click.Choice(["wrong", "left-out"]),
    default="wrong",
    show_default=True,
    help="How an order without a verdict counts in accuracy.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    records: str, arms: str | None, by: str, evaluator: str | None, unread: Any, html: Path | None, as_json: bool
) -> None:
    """Compare arms on RECORDS, a file of records or a store: accuracy and paired gain per domain, with their cost.

    \b
    adjudge compare records.jsonl.gz --arms Vanilla,CoT --evaluator ChatGPT
    adjudge compare judgments.db --arms all
    """
    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    comparison = compare(
        counted("{} records read", _open(records, evaluator)), names, evaluator=evaluator, by=by, unread=unread
    )
    if not _is_file(records):
        from adjudge.commands.definitions import with_definitions

        comparison = with_definitions(comparison, records, evaluator if by == "evaluator" else comparison.evaluator)
    if html is not None:
        from adjudge.report.page import Made, write_comparison_html  # only --html needs the page's template engine

        write_comparison_html(comparison, html, made=Made(_typed(), datetime.now(UTC)))
        click.echo(f"wrote {html}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(to_json(comparison)))
    else:
        plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        show(comparison, Console(width=120 if plain else None, highlight=False))


def _is_file(ref: str) -> bool:
    """Whether the name tells; it spares a file the import of the database library."""
    return ref.endswith((".jsonl", ".jsonl.gz", ".parquet"))


def _open(ref: str, evaluator: str | None) -> Iterator[Record]:
    if _is_file(ref):
        return files.read(ref, texts=False)
    from adjudge.store.sources import is_store, open_records

    return open_records(ref, evaluator=evaluator, texts=not is_store(ref))


def _typed() -> str:
    """The command line as it was typed, without the password of a store's address."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", shlex.join(["adjudge", *sys.argv[1:]]))
