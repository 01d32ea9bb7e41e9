"""adjudge route decide: for each pair, what a fitted router would buy first."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from adjudge.commands.counting import counted
from adjudge.commands.route_input import numbers, open_embedder, with_embedder
from adjudge.commands.route_table import show_decisions
from adjudge.errors import BudgetError, ConfigError
from adjudge.pairs.read import read
from adjudge.routing.deciding import Decided, decide_first
from adjudge.routing.features import Embedder, extract
from adjudge.routing.saved import Card, Saved, check_features, load
from adjudge.routing.table import Purchase
from adjudge.types import Pair


@click.command("decide")
@click.argument("folder", metavar="DIR")
@click.argument("pairs")
@click.option("--budget", metavar="C", help="Mean cost of a judgment; left out: that of the fit.")
@click.option("--format", "form", help="Format of the pairs; left out: recognised by content.")
@with_embedder
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    folder: str,
    pairs: str,
    budget: str | None,
    form: str | None,
    as_json: bool,
    embed_url: str | None,
    embed_model: str | None,
    embed_key_env: str,
) -> None:
    """Say for each of PAIRS what the router in DIR would buy first, with what it expects to gain and to pay.

    Nothing is bought. What comes after the first purchase depends on what that says; `adjudge judge --arm route:DIR`
    buys step by step.
    """
    saved = load(Path(folder))
    asked = _budget(saved, budget)
    rows = list(counted("{} pairs read", read(pairs, format=form)))
    found = extract(rows, _embedder(saved, folder, open_embedder(embed_url, embed_model, embed_key_env)))
    check_features(saved.card, found.names, folder)
    unit = saved.card.reference_cost
    decided = decide_first(saved.router, found.x_ID, [p.id for p in rows], asked * unit, saved.card.responses)
    answer = _answer(saved, rows, decided, asked)
    if as_json:
        click.echo(msgspec.json.encode(answer))
    else:
        show_decisions(answer, Console())


def _embedder(saved: Saved, folder: str, given: Embedder | None) -> Embedder | None:
    """The embedder that is given. Raises ConfigError where it is not the one that the router was fitted with."""
    name = "" if given is None else given.name
    if name == saved.card.embedder:
        return given
    if saved.card.embedder:
        raise ConfigError(
            f"{folder}: the router reads embeddings of {saved.card.embedder}, not of {name or 'none'}; "
            f"give --embed-url and --embed-model {saved.card.embedder}"
        )
    raise ConfigError(f"{folder}: the router was fitted without embeddings; leave --embed-url and --embed-model out")


def _budget(saved: Saved, text: str | None) -> float:
    """The budget asked for. Raises ConfigError where it is no number, BudgetError where nothing can meet it."""
    asked = [saved.card.budget] if text is None else numbers(text, "--budget")
    if len(asked) != 1:
        raise ConfigError(f"--budget {text}: give one number")
    cheapest = min(rung.cost for rung in saved.router.rungs) / saved.card.reference_cost
    if asked[0] < cheapest * (1 - 1e-9):
        raise BudgetError(
            f"budget {asked[0]:g} is below {cheapest:.3g} x {saved.card.arms[0]}, what the cheapest policy costs; "
            f"raise --budget"
        )
    return asked[0]


def _answer(saved: Saved, rows: list[Pair], decided: Decided, budget: float) -> dict[str, Any]:
    card, unit = saved.card, saved.card.reference_cost
    decisions = []
    for i, pair in enumerate(rows):
        place = int(decided.first_N[i])
        purchase = Purchase(*card.purchases[place])
        decisions.append(
            {
                "id": pair.id,
                "buy": str(purchase),
                "arm": purchase.arm,
                "order": purchase.order,
                "draw": purchase.draw,
                "rung": int(decided.rung_N[i]),
                "accuracy": round(float(decided.reward_N[i]), 6),
                "gain": round(float(decided.reward_N[i] - decided.cheapest_N[i]), 6),
                "cost_rel": round(float(decided.cost_N[i]) / unit, 6),
                "first_cost_rel": round(card.mean_costs[place] / unit, 6),
            }
        )
    return {
        "router": card.kind,
        "budget": budget,
        "cost": card.cost_unit,
        "reference": card.arms[0],
        "reference_cost": unit,
        "predicted": _how(card, decided),
        "decisions": decisions,
    }


def _how(card: Card, decided: Decided) -> str:
    """What the predictions are of: the pair, or only the rung."""
    return "pair" if decided.by_pair and card.features else "rung"
