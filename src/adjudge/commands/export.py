"""adjudge export: a store's judgments to a file of records."""

from pathlib import Path

import click
import msgspec

from adjudge import records
from adjudge.commands.counting import counted
from adjudge.store.engine import without_password
from adjudge.store.sources import open_records

SUFFIXES = (".jsonl", ".ndjson", ".json", ".gz", ".parquet")


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--store", required=True, metavar="URL", help="A file (SQLite) or a postgresql:// URL.")
@click.option("--evaluator", metavar="NAME", help="Only the records of this judge model or family.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(out: Path, store: str, evaluator: str | None, as_json: bool) -> None:
    """Write a store's records to OUT: JSON Lines, packed when it ends in .gz, Parquet when it ends in .parquet.

    \b
    adjudge export --store judgments.db records.jsonl.gz --evaluator gpt-4
    """
    if out.suffix not in SUFFIXES:
        raise click.UsageError(f"{out}: records are written as {', '.join(SUFFIXES)}; name the file so")
    count = records.write(out, counted(out.name, open_records(store, evaluator=evaluator)))
    if as_json:
        click.echo(msgspec.json.encode({"store": without_password(store), "out": str(out), "records": count}))
    else:
        click.echo(f"{count:,} records written to {out}")
