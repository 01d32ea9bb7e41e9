"""adjudge route: fit a router on recorded judgments, measure routers against each other, ask one what to buy."""

import importlib

import click

# name: help line. The lines stand here so that --help loads nothing.
PARTS = {
    "eval": "Measure routers at several budgets, on instances that they were not fitted on.",
    "fit": "Fit a router on recorded judgments and write it to a folder.",
    "decide": "Say for each pair what a fitted router would buy first.",
}


class Parts(click.Group):
    """A group that imports a part's module only when that part runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in PARTS:
            return None
        command: click.Command = importlib.import_module(f"adjudge.commands.route_{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(PARTS.items()))


@click.command("route", cls=Parts)
def command() -> None:
    """Decide for each judgment what is worth buying under a budget.

    Budgets and costs are in mean costs of one verdict of the first arm, measured on the records.

    \b
    adjudge route eval records.jsonl.gz --arms cheap,reasoning --budgets 1.5,2,3
    adjudge route fit records.jsonl.gz --arms cheap,reasoning --budget 2 --out router
    adjudge route decide router pairs.jsonl
    """
