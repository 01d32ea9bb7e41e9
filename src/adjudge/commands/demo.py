"""adjudge demo: the whole loop on two small judges that come with the package: no key, no GPU, no network."""

import io
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
import msgspec

from adjudge.commands import compare, judge, report, route
from adjudge.demo.briefs import make_briefs
from adjudge.demo.folder import Folder, prepare
from adjudge.demo.pairs import MOST_PAIRS, make_pairs
from adjudge.demo.steps import Step, steps
from adjudge.pairs import own

LEARN = 400  # pairs; half as many new ones
BUDGET = 18.0  # about half of what reasoning about every pair costs

CLOSING = (
    "These judges have a million parameters each, were taught by adjudge's own lab, and know one small world of\n"
    "briefs and responses (docs/lab.md). What is real is the rest: two modes of a language model, what they cost,\n"
    "what a router learns of them. Put a model of yours in their place:\n"
)


_COMMANDS = {"judge": judge.command, "compare": compare.command, "route": route.command, "report": report.command}


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="adjudge-demo", show_default=True)
@click.option(
    "--pairs", "count", type=click.IntRange(1), help=f"To learn from, default {LEARN}; half as many new ones."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the pairs that are made.")
@click.option("--budget", type=click.FloatRange(1), default=BUDGET, show_default=True, help="Of the router.")
@click.option(
    "--pairs-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Only write pairs for a judge of your own, {MOST_PAIRS} at most: maths, code, facts, logic and instructions, "
    "labels true by construction.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(out: Path, count: int | None, seed: int, budget: float, pairs_out: Path | None, as_json: bool) -> int:
    """Judge, compare, route under a budget, report: each step a command that you can run again.

    A small language model judges briefs and responses, whose labels a program gives, without and with reasoning. It
    takes about a minute on two cores. Ctrl-C stops it; the same command goes on where it was.

    \b
    adjudge demo
    adjudge demo --pairs 1000 --budget 6 --out out/demo
    adjudge demo --pairs 500 --pairs-out pairs.jsonl
    """
    if pairs_out is not None:
        written = own.write(pairs_out, make_pairs(count or MOST_PAIRS, seed))
        click.echo(msgspec.json.encode({"pairs": written}) if as_json else f"{pairs_out}: {written} pairs")
        return 0
    learn = count or LEARN
    folder = prepare(out, make_briefs(learn, seed, "learn"), make_briefs(max(1, learn // 2), seed, "new"))
    found: list[dict[str, Any]] = []
    planned = steps(folder, budget)
    for number, step in enumerate(planned, 1):
        if step.name == "fit":
            shutil.rmtree(folder.router, ignore_errors=True)  # this demo's own, of an earlier run
        line = shlex.join(["adjudge", *step.args])
        if as_json:
            code, result = _told(step)
            found.append({"step": step.name, "command": line, "exit_code": code, "result": result})
        else:
            click.echo(f"\n{number}/{len(planned)}  {step.what_for}\n     $ {line}\n")
            code = _run(step.args)
        if code:
            break
    if as_json:
        click.echo(msgspec.json.encode({"files": {k: str(v) for k, v in folder._asdict().items()}, "steps": found}))
    elif not code:
        click.echo(_next(folder))
    return code


def _run(args: tuple[str, ...]) -> int:
    name, *rest = args
    code = _COMMANDS[name].main(args=rest, prog_name=f"adjudge {name}", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _told(step: Step) -> tuple[int, Any]:
    """Exit code and the JSON that the command prints."""
    said = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(said, write_through=True)):
        code = _run((*step.args, "--json"))
    return code, msgspec.json.decode(said.getvalue())


def _next(folder: Folder) -> str:
    return (
        f"\n{CLOSING}"
        f"  open {folder.report}\n"
        f"  adjudge demo --pairs 500 --pairs-out pairs.jsonl    # or pairs of your own\n"
        f"  adjudge arms --example > arms.toml                  # name your model in it\n"
        f"  adjudge judge pairs.jsonl --arms arms.toml --store judgments.db"
    )
