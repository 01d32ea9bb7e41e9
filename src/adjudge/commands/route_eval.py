"""adjudge route eval: every router at every budget, on instances that it was not fitted on."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import joblib
import msgspec
from rich.console import Console

from adjudge.commands.embedding import open_embedder, with_embedder
from adjudge.commands.route_input import (
    Opened,
    numbers,
    of_records,
    open_table,
    words,
    working,
)
from adjudge.commands.route_table import show_evaluation
from adjudge.errors import DataError
from adjudge.routing import registry
from adjudge.routing.evaluate import evaluate
from adjudge.routing.scores import scored
from adjudge.routing.splits import SPLIT_KINDS, Split, splits
from adjudge.store.engine import without_password


@click.command("eval")
@click.argument("records")
@of_records
@with_embedder
@click.option("--budgets", metavar="2,3,4", required=True, help="Mean costs of a judgment, in those of the first arm.")
@click.option("--routers", metavar="NAMES", default="all", show_default=True, help="racer, acer, knn, .., NAME+pacing.")
@click.option(
    "--split",
    type=click.Choice([*SPLIT_KINDS, "all"]),
    default="random",
    show_default=True,
    help="How the records are parted into fit and test.",
)
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="How often, each time drawn anew.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; left out: one a processor.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML page with curves.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    records: str,
    budgets: str,
    routers: str,
    split: str,
    seeds: int,
    jobs: int | None,
    report: Path | None,
    as_json: bool,
    embed_url: str | None,
    embed_model: str | None,
    embed_key_env: str,
    **source: Any,
) -> None:
    """Measure routers on RECORDS (a file of records, or a store): accuracy and realised cost at each budget.

    \b
    random                 five folds, drawn anew for every seed
    leave-one-domain-out   each domain is judged by a router that never saw it
    shift                  the test holds more of the dear domains than the fit, and more of the cheap ones
    """
    asked = numbers(budgets, "--budgets")
    opened = open_table(records, embedder=open_embedder(embed_url, embed_model, embed_key_env), budgets=asked, **source)
    names = registry.expand(words(routers, "--routers"), opened.table, opened.options)
    parts, notes = _parts(opened, split, seeds)
    with working("fits") as tell:
        cells = evaluate(opened.table, names, asked, parts, opened.options, jobs or joblib.cpu_count(), tell)
    found = scored(opened.table, cells)
    about = _about(opened, asked, seeds, notes)
    if report is not None:
        from adjudge.report.page import Made  # only --report needs the page's template engine
        from adjudge.report.routes import write_routes

        typed = shlex.join(["adjudge", *(without_password(word) for word in sys.argv[1:])])
        write_routes(found, about, report, Made(typed, datetime.now(UTC)))
        click.echo(f"wrote {report}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(found | about))
    else:
        show_evaluation(found, about, Console())


def _parts(opened: Opened, split: str, seeds: int) -> tuple[list[Split], list[str]]:
    """The parts of one kind, or of all kinds that these records allow, with a note for each that they do not."""
    notes: list[str] = []
    parts: list[Split] = []
    for kind in SPLIT_KINDS:
        if split in (kind, "all"):
            try:
                parts += splits(opened.table, kind, range(seeds))
            except DataError as error:
                if split != "all":
                    raise
                notes.append(f"{kind} is left out: {error}")
    if not parts:
        raise DataError("; ".join(notes))
    return parts, notes


def _about(opened: Opened, budgets: list[float], seeds: int, notes: list[str]) -> dict[str, Any]:
    table = opened.table
    return {
        "evaluator": opened.evaluator,
        "arms": list(table.arms),
        "cost": table.cost_unit,
        "reference": table.arms[0],
        "budgets": budgets,
        "seeds": seeds,
        "instances": len(table.ids),
        "left_out": table.left_out,
        "notes": notes,
    }
