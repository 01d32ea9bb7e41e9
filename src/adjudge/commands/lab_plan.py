"""adjudge lab plan: what a study takes, before it is run, and the recipes of one that other trainers run."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from adjudge.lab import preset as presets
from adjudge.lab.plan.costs import Plan, Row, plan
from adjudge.lab.plan.machines import MACHINES, Rates
from adjudge.lab.plan.stage_commands import RECIPES
from adjudge.lab.recipes.writing import write_recipes

MILLION = 1e6
WIDTH = 180  # that the table needs; a narrow terminal wraps it


@click.command("plan")
@click.argument("preset")
@click.option("--gpu", type=click.Choice(list(MACHINES)), help="Plan for these; left out: the preset's own.")
@click.option(
    "--mfu",
    type=click.FloatRange(0, 1, min_open=True),
    default=Rates().mfu,
    show_default=True,
    help="Share of the peak that training and reading prompts reach.",
)
@click.option(
    "--bandwidth",
    type=click.FloatRange(0, 1, min_open=True),
    default=Rates().reach,
    show_default=True,
    help="Share of the memory bandwidth that decoding reaches.",
)
@click.option("--price", type=click.FloatRange(0), metavar="USD", help="Of a GPU hour.")
@click.option(
    "--recipes",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write what runs the stages with TRL and verl.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    preset: str, gpu: str | None, mfu: float, bandwidth: float, price: float | None, recipes: Path | None, as_json: bool
) -> None:
    """Check PRESET and say what one seed of it takes: memory, judge calls, hours, money, disk and commands.

    Nothing is downloaded or trained.

    \b
    adjudge lab plan paper --gpu h100 --price 2.50
    adjudge lab plan paper --recipes recipes
    """
    study = presets.load(preset)
    made = plan(study, gpu or "", Rates(mfu, bandwidth), price, recipes.name if recipes else RECIPES)
    written = write_recipes(study, recipes) if recipes else []
    if as_json:
        click.echo(msgspec.json.encode(as_object(made) | {"recipes": [str(path) for path in written]}))
        return
    _show(made)
    if written:
        click.echo(f"\n{len(written)} files in {recipes}; start with {recipes}/README.md")


def as_object(made: Plan) -> dict[str, Any]:
    """A plan with its sums, as it is printed by --json."""
    rows = [msgspec.to_builtins(row) | {"name": row.name, "gpu_hours": row.gpu_hours} for row in made.rows]
    held = [msgspec.to_builtins(one) | {"ratio": one.ratio} for one in made.held]
    return {
        "preset": made.preset,
        "machine": made.machine._asdict(),
        "rates": made.rates._asdict(),
        "lengths": msgspec.to_builtins(made.lengths),
        "stages": rows,
        "gpu_hours": made.gpu_hours,
        "usd": made.usd,
        "disk_gb": made.disk_gb,
        "published": held,
        "unstated": list(made.unstated),
    }


def _show(made: Plan) -> None:
    wide = Console(width=max(WIDTH, Console().width), highlight=False)
    wide.print(_stages(made))
    cost = "" if made.usd is None else f", ${made.usd:,.0f}"
    unit = "hours of the machine" if made.machine.name == "cpu" else f"hours of {made.machine.name.upper()} GPUs"
    wide.print(f"\nIn all {_number(made.gpu_hours)} {unit}{cost}, {_number(made.disk_gb)} GB of disk, for one seed.")
    rates = made.rates
    wide.print(
        f"Assumed: {rates.mfu:.0%} of {made.machine.tflops:g} TFLOP/s, {rates.reach:.0%} of "
        f"{made.machine.bandwidth_gbs:g} GB/s; mean tokens of instruction {made.lengths.instruction:.0f}, "
        f"response {made.lengths.response:.0f}, judge's frame {made.lengths.frame:.0f}. "
        "A step generates, judges and learns in turn."
    )
    if made.held:
        wide.print("\nHeld against what the paper reports (hours, planned on these machines):")
        for one in made.held:
            wide.print(f"  {one.said}: planned {one.planned_hours:.1f}, {one.ratio:.2f} x")
    if made.unstated:
        wide.print("\nNot said by the paper, chosen here:")
        for line in made.unstated:
            wide.print(f"  {line}")
    wide.print("\nCommands:")
    for row in made.rows:
        wide.print(f"  {row.name:36} {row.command}", soft_wrap=True)


def _stages(made: Plan) -> Table:
    table = Table(title=f"Plan of {made.preset}, one seed", title_justify="left", box=None)
    table.add_column("stage", no_wrap=True)
    table.add_column("model", no_wrap=True)
    columns = ("examples", "M tokens learned", "M written", "GPUs", "GB each", "calls", "calls/s", "hours", "GPU hours")
    for column in (*columns, *([] if made.usd is None else ["$"])):
        table.add_column(column, justify="right")
    for row in made.rows:
        cost = [] if row.usd is None else [f"{row.usd:,.0f}"]
        table.add_row(row.name, row.model.rsplit("/", 1)[-1], *_cells(row), *cost)
    return table


def _cells(row: Row) -> list[str]:
    gpus = f"{row.gpus} + {row.servers}" if row.servers else str(row.gpus or "-")
    memory = " / ".join(_number(gb) for gb in (row.memory_gb, row.server_gb) if gb) or "-"
    return [
        f"{row.examples:,}" if row.examples else "-",
        _number(row.tokens / MILLION),
        _number(row.written / MILLION),
        gpus,
        memory if row.fits else f"{memory} (too much)",
        f"{row.calls:,}" if row.calls else "-",
        _number(row.calls_per_s),
        _number(row.hours),
        _number(row.gpu_hours),
    ]


def _number(value: float) -> str:
    """Three figures.

    >>> _number(0), _number(0.0123), _number(3.14159), _number(31415.9)
    ('-', '0.0123', '3.14', '31,416')
    """
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
