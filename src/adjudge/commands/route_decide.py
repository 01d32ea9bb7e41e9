"""adjudge route decide: for each pair, what a fitted router would buy first."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from adjudge.commands.counting import counted
from adjudge.commands.embedding import open_embedder, with_embedder
from adjudge.commands.route_saved import asked_budget, its_embedder
from adjudge.commands.route_table import show_decisions
from adjudge.pairs.read import read
from adjudge.routing.deciding import Decided, decide_first
from adjudge.routing.features import extract
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
    asked = asked_budget(saved, budget)
    rows = list(counted("{} pairs read", read(pairs, format=form)))
    found = extract(rows, its_embedder(saved, folder, open_embedder(embed_url, embed_model, embed_key_env)))
    check_features(saved.card, found.names, folder)
    unit = saved.card.reference_cost
    decided = decide_first(saved.router, found.x_ID, [p.id for p in rows], asked * unit, saved.card.responses)
    answer = _answer(saved, rows, decided, asked)
    if as_json:
        click.echo(msgspec.json.encode(answer))
    else:
        show_decisions(answer, Console())


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
