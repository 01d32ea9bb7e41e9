"""adjudge demo: pairs, judging, comparison and report on the embedded model: no key, no GPU, no network."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console

from adjudge import config
from adjudge.commands.compare_table import show
from adjudge.commands.judging import Counted, closing_lines, judge_pairs
from adjudge.compare import compare
from adjudge.comparison import Comparison, to_json
from adjudge.config import Settings
from adjudge.demo.folder import Folder, prepare
from adjudge.demo.pairs import MOST_PAIRS, make_pairs
from adjudge.demo.words import CLOSING, findings
from adjudge.judging.progress import Summary
from adjudge.pairs import own
from adjudge.report.page import Made, write_report
from adjudge.store.store import Store
from adjudge.types import Pair

DEFAULT_PAIRS = 10
UNDER_WAY = 3
"""Judgments under way, two questions each: no slot of the model waits, and Ctrl-C does not take long."""


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="adjudge-demo", show_default=True)
@click.option("--pairs", "count", type=click.IntRange(1, MOST_PAIRS), default=DEFAULT_PAIRS, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the pairs that are made.")
@click.option(
    "--pairs-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only write the pairs to this file (.jsonl, .jsonl.gz, .parquet), for a judge of your own.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(out: Path, count: int, seed: int, pairs_out: Path | None, as_json: bool) -> int:
    """Judge pairs whose labels are true by construction, with a small model in this process; compare; write a report.

    It takes a minute or two on two cores. Ctrl-C stops it; the same command goes on where it was.

    \b
    adjudge demo
    adjudge demo --pairs 50 --out out/demo
    adjudge demo --pairs 500 --pairs-out pairs.jsonl
    """
    pairs = make_pairs(count, seed)
    if pairs_out is not None:
        written = own.write(pairs_out, pairs)
        click.echo(msgspec.json.encode({"pairs": written}) if as_json else f"{pairs_out}: {written} pairs")
        return 0
    folder = prepare(out, pairs)
    say = _silent if as_json else click.echo
    domains = ", ".join(dict.fromkeys(pair.domain for pair in pairs))
    say(f"1/4  {len(pairs)} pairs made, labels true by construction ({domains}): {folder.pairs}")
    say("2/4  SmolLM2-135M-Instruct judges each in both orders, without and with reasoning ...")
    settings = config.load(folder.arms)
    summary = _judge(pairs, folder, settings)
    for line in closing_lines(summary, settings):
        say(f"     {line}")
    if summary.stopped:
        return 1
    say("3/4  Where does reasoning pay?\n")
    comparison, words = _compared(folder)
    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(width=120 if plain else None, highlight=False, markup=False, quiet=as_json)
    show(comparison, console)
    _report(folder, comparison)
    say(f"\n4/4  The report, with every judgment in it: {folder.report}\n")
    if as_json:
        click.echo(msgspec.json.encode(_json(folder, summary, comparison, words)))
    for line in words:
        console.print(line)
    console.print(_next(folder), soft_wrap=True)  # commands are there to be copied: never folded
    return 0 if summary.complete else 1


def _judge(pairs: list[Pair], folder: Folder, settings: Settings) -> Summary:
    store = Store.open(str(folder.store))
    try:
        return judge_pairs(Counted(pairs, len(pairs)), settings.choose(["all"]), settings, store, concurrency=UNDER_WAY)
    finally:
        store.close()


def _compared(folder: Folder) -> tuple[Comparison, list[str]]:
    settings = config.load(folder.arms)
    arms = list(settings.arms)
    store = Store.open(str(folder.store), create=False)
    try:
        comparison = compare(store.records(settings.evaluator, texts=False), arms)
        verdicts_only = compare(store.records(settings.evaluator, texts=False), arms, unread="left-out")
    finally:
        store.close()
    return comparison, findings(comparison, verdicts_only)


def _report(folder: Folder, comparison: Comparison) -> None:
    store = Store.open(str(folder.store), create=False)
    try:
        made = Made(shlex.join(["adjudge", *sys.argv[1:]]), datetime.now(UTC))
        write_report(store.records(comparison.evaluator), comparison, folder.report, made=made, notes=[CLOSING])
    finally:
        store.close()


def _json(folder: Folder, summary: Summary, comparison: Comparison, words: list[str]) -> dict[str, object]:
    return {
        "files": {name: str(path) for name, path in folder._asdict().items()},
        "complete": summary.complete,
        "judging": {**msgspec.to_builtins(summary), "spend": summary.spend._asdict()},
        "comparison": to_json(comparison),
        "findings": words,
    }


def _next(folder: Folder) -> str:
    return (
        f"\nNext:\n"
        f"  open {folder.report}\n"
        f"  adjudge compare {folder.store} --arms instruct,reasoning\n"
        f"  adjudge arms --example > arms.toml    # name your model in it, then judge these pairs or your own:\n"
        f"  adjudge judge {folder.pairs} --arms arms.toml --store judgments.db"
    )


def _silent(_line: str) -> None:
    pass
