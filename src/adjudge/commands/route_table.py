"""What the route commands print: tables for a terminal of any width, and what follows from them in words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from adjudge.commands.compare_table import GAP, Column, fitting
from adjudge.comparison import points
from adjudge.report.text import visible
from adjudge.routing.registry import ALWAYS, DEFAULT, ORACLE
from adjudge.routing.saved import Card
from adjudge.routing.table import Table

NOTHING = "-"
MOST_SHOWN = 20
BASELINES = ("static", "random")
Found = Mapping[str, Any]


def show_evaluation(found: Found, about: Found, console: Console) -> None:
    """Print, per split, the accuracy of every router at every budget, what was really spent, and the words."""
    unit = f"budgets and costs in mean {about['cost'].replace('_', ' ')} of {about['reference']}"
    _say(
        console,
        f"{about['instances']:,} instances of {about['evaluator']}, {_counted(about['seeds'], 'seed')}; {unit}",
        "bold",
    )
    console.print()
    for split in dict.fromkeys(cell["split"] for cell in found["summary"]):
        rows = [cell for cell in found["summary"] if cell["split"] == split]
        routers = [r for r in dict.fromkeys(cell["router"] for cell in rows) if not r.startswith(ALWAYS)]
        if routers:
            _sheet(console, f"{split}: accuracy in % at each budget", _by_budget(found, rows, routers, split))
            title = f"{split}: overrun in % of the budget (the dearest domain's)"
            _sheet(console, title, _overruns(rows, routers, about["budgets"]))
        if len(about["budgets"]) == 1 and routers:
            _sheet(console, f"{split}: against the baselines, in points", _against(found, rows, routers))
    alone = [c for c in found["summary"] if c["router"].startswith(ALWAYS)]
    if alone:
        _sheet(console, "Each arm alone, 95 % intervals", _alone(alone))
    for line in _words(found, about):
        _say(console, line)
    for note in _notes(found, about):
        _say(console, note, "dim")


def _by_budget(found: Found, rows: Sequence[Found], routers: Sequence[str], split: str) -> list[Column]:
    of = {(cell["router"], cell["budget"]): cell for cell in rows}
    area = {a["router"]: a["area"] for a in found["areas"] if a["split"] == split}
    reached = {r["router"]: r for r in found["reached"] if r["split"] == split}
    budgets = sorted({cell["budget"] for cell in rows})
    columns = [Column("router", routers)]
    for place, budget in enumerate(budgets):
        cells = [_accuracy(found, of[router, budget]) for router in routers]
        columns.append(Column(f"{budget:g}", cells, drop=0 if place in (0, len(budgets) - 1) else 3))
    if len(budgets) > 1:
        columns.append(Column("mean", [f"{100 * area[router]:.1f}" for router in routers], drop=2))
    columns.append(Column("best arm's at", [_share_of_best(reached[router]) for router in routers], drop=4))
    return columns


def _accuracy(found: Found, cell: Found) -> Text:
    """Accuracy, starred where it differs from the best static choice by more than chance, in brackets where the budget
    could not be met."""
    shown = f"{100 * cell['accuracy']:.1f}"
    if cell.get("note"):
        return Text(f"({shown})", style="dim")
    gain = _gain(found, cell["router"], "static", cell)
    if gain is None or gain[1] <= 0 <= gain[2]:
        return Text(f"{shown} ")
    return Text(f"{shown}*", style="green" if gain[0] > 0 else "red")


def _overruns(rows: Sequence[Found], routers: Sequence[str], budgets: Sequence[float]) -> list[Column]:
    of = {(cell["router"], cell["budget"]): cell for cell in rows}
    columns = [Column("router", routers)]
    for place, budget in enumerate(budgets):
        cells = [f"{_signed(of[r, budget]['overrun'])} ({_signed(of[r, budget]['overrun_worst'])})" for r in routers]
        columns.append(Column(f"{budget:g}", cells, drop=0 if place in (0, len(budgets) - 1) else 3))
    if any(cell["refused"] for cell in rows):
        refused = [max(of[r, budget]["refused"] for budget in budgets) for r in routers]
        columns.append(Column("refused", [f"{100 * share:.1f} %" if share else NOTHING for share in refused]))
    return columns


def _against(found: Found, rows: Sequence[Found], routers: Sequence[str]) -> list[Column]:
    of = {cell["router"]: cell for cell in rows}
    columns = [
        Column("router", routers),
        Column("accuracy", [_interval(of[router]) for router in routers]),
        Column("cost", [f"{of[router]['cost_rel']:.2f}" for router in routers]),
    ]
    for other in BASELINES:
        if other in of:
            gains = [_gain(found, router, other, of[router]) for router in routers]
            columns.append(Column(f"over {other}", [_difference(gain) for gain in gains], drop=2))
    regrets = [of[router]["regret"] for router in routers]
    oracle = [NOTHING if regret is None else f"{100 * regret:.1f}" for regret in regrets]
    return [*columns, Column("below oracle", oracle, drop=4)]


def _alone(cells: Sequence[Found]) -> list[Column]:
    """One row an arm, of random folds where there are, and any budget: an arm alone knows none."""
    first = {cell["router"]: cell for cell in sorted(cells, key=lambda cell: cell["split"] == "random")}
    names = list(dict.fromkeys(cell["router"] for cell in cells))
    return [
        Column("arm", [name.removeprefix(f"{ALWAYS}:") for name in names]),
        Column("accuracy", [_interval(first[name]) for name in names]),
        Column("cost", [f"{first[name]['cost_rel']:.2f}" for name in names]),
    ]


def _words(found: Found, about: Found) -> Iterator[str]:
    best = found["best_arm"]
    yield (
        f"The best single arm is {best['arm']}: {100 * best['accuracy']:.1f} % at "
        f"{_amount(best['cost_rel'])} x the cost of {about['reference']}."
    )
    for split in dict.fromkeys(cell["split"] for cell in found["summary"]):
        lead = _leader(found, split)
        if lead is None:
            continue
        reached = next(r for r in found["reached"] if r["split"] == split and r["router"] == lead)
        yield f"{split}: {lead} {_reach_in_words(reached, best['arm'])}"
        for other in BASELINES:
            cells = [c for c in found["summary"] if c["split"] == split and c["router"] == lead != other]
            gains = [(cell["budget"], _gain(found, lead, other, cell)) for cell in cells]
            known = [(budget, gain) for budget, gain in gains if gain is not None]
            sure = [f"{_points(g[0])} at budget {budget:g}" for budget, g in known if not g[1] <= 0 <= g[2]]
            if known:
                yield f"  Points over {other} beyond chance: {', '.join(sure) or 'at no budget'}."


def _leader(found: Found, split: str) -> str | None:
    """The router that the words are about: the one that is fitted by default, or else the one of the greatest area
    that anyone could use."""
    areas = [
        (a["area"], a["router"])
        for a in found["areas"]
        if a["split"] == split and a["router"] != ORACLE and not a["router"].startswith(ALWAYS)
    ]
    return DEFAULT if DEFAULT in [router for _, router in areas] else max(areas)[1] if areas else None


def _reach_in_words(reached: Found, arm: str) -> str:
    if reached["share"] is None:
        return f"does not reach the accuracy of {arm} at these budgets."
    high = "more than these budgets" if reached["share_high"] is None else f"{100 * reached['share_high']:.0f} %"
    low = NOTHING if reached["share_low"] is None else f"{100 * reached['share_low']:.0f}"
    return f"reaches the accuracy of {arm} at {100 * reached['share']:.0f} % of its cost [{low}, {high}]."


def _notes(found: Found, about: Found) -> Iterator[str]:
    cells = [cell for cell in found["summary"] if not cell["router"].startswith(ALWAYS)]
    if any(cell["router"] == "static" for cell in cells):
        yield "*: the interval of the paired difference from static, the best fixed set of purchases, excludes zero."
    if any(cell.get("note") for cell in cells):
        yield "In brackets: the budget is below what the router's cheapest policy costs, so that policy is shown."
    yield "best arm's at: share of the best single arm's cost at which the router is as accurate, within these budgets."
    if about["left_out"]:
        yield f"Left out: {'; '.join(f'{n:,} records {why}' for why, n in about['left_out'].items())}."
    for note in about["notes"]:
        yield f"Note: {note}."


def show_fit(out: Path, card: Card, table: Table, console: Console) -> None:
    """Print what a fitted router promises, beside its arms."""
    figures = card.validation
    _say(console, f"{out}: {card.kind} fitted on {figures['instances']:,} instances", "bold")
    unit = f"cost in mean {card.cost_unit.replace('_', ' ')} of {card.arms[0]} ({card.reference_cost:,.4g})"
    console.print()
    curve = figures["curve"]
    _sheet(
        console,
        f"What it promises, {unit}",
        [
            Column("cost", [f"{step['cost_rel']:.2f}" for step in _thinned(curve)]),
            Column("accuracy %", [f"{100 * step['accuracy']:.1f}" for step in _thinned(curve)]),
        ],
    )
    arms = figures["arms"]
    _sheet(
        console,
        "Its arms alone",
        [
            Column("arm", list(arms)),
            Column("cost", [_amount(arm["cost_rel"]) for arm in arms.values()]),
            Column("accuracy %", [f"{100 * arm['accuracy']:.1f}" for arm in arms.values()]),
        ],
    )
    promise = f"{100 * figures['accuracy']:.1f} % at {figures['cost_rel']:.2f}"
    _say(console, f"At budget {card.budget:g} it promises {promise}, measured out of fold on the records of the fit.")
    if table.left_out:
        left_out = "; ".join(f"{n:,} records {why}" for why, n in table.left_out.items())
        _say(console, f"Left out: {left_out}.", "dim")
    _say(console, f"Next: adjudge route decide {out} pairs.jsonl")


def show_decisions(found: Found, console: Console) -> None:
    """Print what is bought first, counted and for the first pairs."""
    decisions = found["decisions"]
    bought: dict[str, list[Found]] = {}
    for decision in decisions:
        bought.setdefault(decision["buy"], []).append(decision)
    groups = sorted(bought.items(), key=lambda item: -len(item[1]))
    _say(console, f"{len(decisions):,} pairs, {found['router']} at budget {found['budget']:g}", "bold")
    console.print()
    _sheet(
        console,
        f"Bought first; costs in mean {found['cost'].replace('_', ' ')} of {found['reference']}",
        [
            Column("purchase", [name for name, _ in groups]),
            Column("pairs", [f"{len(group):,}" for _, group in groups]),
            Column("share %", [f"{100 * len(group) / len(decisions):.1f}" for _, group in groups]),
            Column("costs", [_amount(group[0]["first_cost_rel"]) for _, group in groups]),
        ],
    )
    shown = decisions[:MOST_SHOWN]
    _sheet(
        console,
        "Each pair" if len(shown) == len(decisions) else f"The first {len(shown)} pairs",
        [
            Column("pair", [decision["id"] for decision in shown]),
            Column("buys first", [decision["buy"] for decision in shown]),
            Column("accuracy %", [f"{100 * decision['accuracy']:.1f}" for decision in shown], drop=1),
            Column("gain, points", [_points(decision["gain"]) for decision in shown]),
            Column("cost", [_amount(decision["cost_rel"]) for decision in shown]),
        ],
    )
    _say(
        console, "gain: predicted accuracy above the cheapest policy's; cost: of the whole judgment, predicted.", "dim"
    )
    if found["predicted"] == "rung":
        _say(
            console, "This router predicts no single pair before it has bought: figures are its policy's means.", "dim"
        )


# -- cells and sheets


def _gain(found: Found, router: str, other: str, cell: Found) -> tuple[float, float, float] | None:
    """(gain, low, high) of a router over another at a cell's budget and split, from whichever side it was written."""
    for difference in found["differences"]:
        if difference["budget"] != cell["budget"] or difference["split"] != cell["split"]:
            continue
        values = difference["gain"], difference["gain_low"], difference["gain_high"]
        if (difference["router"], difference["against"]) == (router, other):
            return values
        if (difference["router"], difference["against"]) == (other, router):
            return -values[0], -values[2], -values[1]
    return None


def _difference(gain: tuple[float, float, float] | None) -> Text:
    if gain is None:
        return Text(NOTHING)
    style = "" if gain[1] <= 0 <= gain[2] else "green" if gain[0] > 0 else "red"
    return Text(f"{_points(gain[0])} [{_points(gain[1]):>5}, {_points(gain[2]):>5}]", style=style)


def _interval(cell: Found) -> str:
    low, high = 100 * cell["accuracy_low"], 100 * cell["accuracy_high"]
    return f"{100 * cell['accuracy']:.1f} [{low:4.1f}, {high:5.1f}]"


def _share_of_best(reached: Found) -> str:
    return NOTHING if reached["share"] is None else f"{100 * reached['share']:.0f} %"


def _points(value: float) -> str:
    return points(value)


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _amount(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _thinned(curve: Sequence[Found]) -> list[Found]:
    """At most MOST_SHOWN steps of a curve, evenly taken, both ends among them."""
    if len(curve) <= MOST_SHOWN:
        return list(curve)
    return [curve[round(k * (len(curve) - 1) / (MOST_SHOWN - 1))] for k in range(MOST_SHOWN)]


def _sheet(console: Console, title: str, columns: Sequence[Column]) -> None:
    """A titled table with the columns that fit; what did not is said."""
    safe = [Column(_safe(c.header), [x if isinstance(x, Text) else _safe(x) for x in c.cells], c.drop) for c in columns]
    kept = fitting(safe, console.width)
    others = sum(GAP + column.width for column in kept[1:])
    grid = Grid(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
    label = kept[0]
    room = max(8, console.width - others)
    grid.add_column(label.header, no_wrap=True, overflow="ellipsis", width=min(label.width, room))
    for column in kept[1:]:
        grid.add_column(column.header, no_wrap=True, justify="right", width=column.width)
    for cells in zip(*(column.cells for column in kept), strict=True):
        grid.add_row(*cells)
    _say(console, title, "bold")
    console.print(grid)
    if len(kept) < len(columns):
        gone = ", ".join(column.header for column in safe if column not in kept)
        _say(console, f"Left out for want of width: {gone}; --json has everything.", "dim")
    console.print()


def _safe(text: str) -> str:
    """Names come from files: what would steer the terminal or break a line is written out."""
    return visible(text).replace("\n", " ").replace("\t", " ")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(_safe(text), style=style))
