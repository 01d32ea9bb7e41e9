"""The command line. Commands are loaded when they are called, so that `adjudge --help` answers at once."""

import importlib
import sys
from typing import Any

import click

from adjudge import __version__
from adjudge.errors import AdjudgeError

# name: (module in adjudge.commands, help line). The line stands here so that --help loads nothing.
COMMANDS = {
    "demo": ("demo", "Run the whole loop on the embedded model: no key, no GPU, no network."),
    "judge": ("judge", "Judge pairs with one or more arms and keep the judgments."),
    "compare": ("compare", "Show per domain where reasoning pays, and what it costs."),
    "route": ("route", "Fit a router, measure routers, and ask one what is worth buying under a budget."),
    "lab": ("lab", "Train judges and policies, audited by a gold judge that raises an alarm at hacking."),
    "scan": ("scan", "Look for signs that a policy games its judge in the rollouts of a training."),
    "report": ("report", "Write one HTML file with charts and the judgments themselves."),
    "pairs": ("pairs", "Check, convert and mix files of pairs."),
    "arms": ("arms", "Check an arms.toml, or print one to start from."),
    "import": ("import_", "Put recorded judgments into a store."),
    "serve": ("serve", "Serve judgments, chat completions and rewards over HTTP, with budgets that hold."),
    "keys": ("keys", "Make, list and revoke the gateway's keys, with their budgets and rates."),
    "export": ("export", "Write a store's judgments to a file of records."),
}


class Program(click.Group):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"adjudge.commands.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="adjudge")
def program() -> None:
    """LLM judges, with their cost: pairs in, verdicts out, and where reasoning pays.

    \b
    Start here:  adjudge demo
    Then:        adjudge arms --example > arms.toml
                 adjudge judge pairs.jsonl --arms arms.toml --arm all --store judgments.db
                 adjudge compare judgments.db
    """


def main(args: list[str] | None = None) -> Any:
    """Run a command. Exit code 0: done; 1: failed in part (the store has what failed); 2: bad input, one line."""
    try:
        code = program.main(args=args, prog_name="adjudge", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        shown.show()
        code = 2
    except click.ClickException as error:
        click.echo(f"adjudge: {error.format_message()}", err=True)
        code = 2
    except AdjudgeError as error:
        click.echo(f"adjudge: {' '.join(str(error).split())}", err=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("adjudge: stopped", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
