"""adjudge arms: check an arms.toml, or print one to start from."""

import os
from importlib import resources
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from adjudge import config
from adjudge.config import Arm, Settings


@click.command("arms")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--example", is_flag=True, help="Print a commented arms.toml to start from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(file: Path | None, example: bool, as_json: bool) -> None:
    """Check an arms.toml and show what each arm would ask; with --example, print one to start from."""
    if example:
        click.echo(resources.files("adjudge").joinpath("commands/example_arms.toml").read_text("utf-8"), nl=False)
        return
    if file is None:
        raise click.UsageError("give an arms.toml to check, or --example")
    settings = config.load(file)
    if as_json:
        click.echo(msgspec.json.encode({"evaluator": settings.evaluator, "arms": _rows(settings)}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("arm", no_wrap=True)
    table.add_column("model", overflow="ellipsis", no_wrap=True, ratio=1)
    for column in ("asks", "draws", "$ in/out", "key"):
        table.add_column(column, no_wrap=True)
    for name, arm in settings.arms.items():
        price = f"{arm.price.input:g} / {arm.price.output:g}" if arm.price else "not given"
        draws = f"{arm.samples} x 2" if arm.orders == "both" and _has_orders(arm) else str(arm.samples)
        table.add_row(name, arm.model or "-", f"{arm.mode} {arm.protocol}", draws, price, _key_state(settings, arm))
    Console().print(table)


def _rows(settings: Settings) -> list[dict[str, object]]:
    return [
        {"name": n, "key": settings.arm_key(n), "api_key": _key_state(settings, a), **msgspec.to_builtins(a)}
        for n, a in settings.arms.items()
    ]


def _has_orders(arm: Arm) -> bool:
    return arm.protocol in ("pairwise", "pairwise5", "self-routing")


def _key_state(settings: Settings, arm: Arm) -> str:
    variable = settings.servers[arm.server].api_key_env
    if not variable:
        return "-"
    return f"{variable} is set" if os.environ.get(variable) else f"{variable} is NOT set"
