"""adjudge import: recorded judgments into a store."""

from pathlib import Path

import click
import msgspec

from adjudge import records
from adjudge.commands.counting import counted
from adjudge.store.engine import without_password
from adjudge.store.store import Store


@click.command("import")
@click.argument("files", metavar="RECORDS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--store", required=True, metavar="URL", help="A file (SQLite) or a postgresql:// URL; made if missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(files: tuple[Path, ...], store: str, as_json: bool) -> None:
    """Put files of records (JSON Lines, .gz, .parquet) into a store: each file whole or not at all.

    Records that are there already are left as they are; a record that contradicts the store is refused.

    \b
    adjudge import records_a.jsonl.gz records_b.parquet --store judgments.db
    """
    for file in files:
        # A bad row is refused before a store is made or locked.
        for _ in counted(f"checking {file.name}", records.read(file)):
            pass
    rows = []
    with Store.open(store) as opened:
        for file in files:
            added, there = opened.import_records(counted(file.name, records.read(file)), str(file))
            rows.append({"file": str(file), "added": added, "already_there": there})
            if not as_json:
                click.echo(f"{file}: {added:,} records added, {there:,} were there already")
    if as_json:
        click.echo(msgspec.json.encode({"store": without_password(store), "files": rows}))
