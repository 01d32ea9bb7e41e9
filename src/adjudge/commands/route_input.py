"""What the commands that route have in common: records to a table, lists of words, the bar of long work."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from adjudge.commands.counting import QUIET_S, counted
from adjudge.errors import ConfigError
from adjudge.routing.baselines.self_routing import arms_that_ask
from adjudge.routing.features import Embedder, with_text
from adjudge.routing.registry import Options
from adjudge.routing.table import COST_UNITS, CostUnit, Table, tabulate
from adjudge.store.sources import open_records
from adjudge.types import Record

F = TypeVar("F", bound=Callable[..., Any])


class Opened(NamedTuple):
    table: Table
    evaluator: str
    options: Options


def of_records(function: F) -> F:
    """The options that say which records count, and what they cost."""
    for decorate in (
        click.option(
            "--arms", metavar="A,B,..", default="all", show_default=True, help="The first is the unit of cost."
        ),
        click.option("--evaluator", help="The judge model, or family, whose records count."),
        click.option(
            "--cost",
            "cost_unit",
            type=click.Choice(COST_UNITS),
            default=COST_UNITS[0],
            show_default=True,
            help="What is counted as cost.",
        ),
        click.option("--observe", metavar="ARM", default="", help="The arm to buy first; left out: chosen by the fit."),
        click.option(
            "--radius-reward", type=click.FloatRange(0), help="How far the mix may shift for rewards, in nats."
        ),
        click.option("--radius-cost", type=click.FloatRange(0), help="The same for costs."),
    ):
        function = decorate(function)
    return function


def open_table(
    ref: str,
    arms: str,
    evaluator: str | None,
    cost_unit: CostUnit,
    observe: str,
    radius_reward: float | None,
    radius_cost: float | None,
    embedder: Embedder | None,
    budgets: Sequence[float],
) -> Opened:
    """The table of the records, with the features of their texts. Raises DataError and ConfigError."""
    records = list(counted("{} records read", open_records(ref, evaluator=evaluator)))
    names = chosen_arms(words(arms, "--arms"), records)
    if observe and observe not in names:
        raise ConfigError(f"--observe {observe}: no such arm; there are: {', '.join(names)}")
    table = tabulate(records, names, cost_unit=cost_unit)
    options = Options(
        observe=observe,
        radius_reward=radius_reward,
        radius_cost=radius_cost,
        budgets=tuple(budgets),
        asking=tuple(arm for arm in arms_that_ask(records) if arm in table.arms),
    )
    return Opened(with_text(table, records, embedder), records[0].evaluator, options)


def chosen_arms(names: Sequence[str], records: Sequence[Record]) -> list[str]:
    """The arms named; `all` stands for those of at least half of the records that were not named before it."""
    held = Counter(arm for record in records for arm in record.judgments)
    every = [arm for arm, n in held.items() if 2 * n >= len(records)]
    found: list[str] = []
    for name in names:
        found += [arm for arm in every if arm not in names] if name == "all" and "all" not in held else [name]
    return found


def words(text: str, option: str) -> list[str]:
    """The words of a comma-separated list. Raises ConfigError where there is none."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise ConfigError(f"{option} names nothing; give a list as A,B")
    return list(dict.fromkeys(found))


def numbers(text: str, option: str) -> list[float]:
    """The numbers of a comma-separated list, rising."""
    found = []
    for word in words(text, option):
        try:
            value = float(word)
        except ValueError:
            raise ConfigError(f"{option}: {word!r} is no number; write it as 2,3,4.5") from None
        if not 0 < value < float("inf"):
            raise ConfigError(f"{option}: {word} must be above 0, in mean costs of the first arm")
        found.append(value)
    return sorted(set(found))


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work of known length, once it takes over a second and stderr is a terminal. Yields the
    function that is told (done, total)."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    began, seen = time.monotonic(), sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        if seen and time.monotonic() - began > QUIET_S:
            bar.start()
            bar.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        if bar.live.is_started:  # stopping what was never started prints a line
            bar.stop()
