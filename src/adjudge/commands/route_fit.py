"""adjudge route fit: recorded judgments in, a router in a folder out."""

from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.console import Console

from adjudge.commands.embedding import open_embedder, with_embedder
from adjudge.commands.route_input import Opened, numbers, of_records, open_table
from adjudge.commands.route_table import show_fit
from adjudge.errors import BudgetError, ConfigError
from adjudge.routing import registry
from adjudge.routing.evaluate import reference_cost
from adjudge.routing.ladder import mix, upper_hull
from adjudge.routing.router import Router, bundle_table
from adjudge.routing.saved import Card, save


@click.command("fit")
@click.argument("records")
@of_records
@with_embedder
@click.option("--budget", metavar="C", required=True, help="Mean cost of a judgment, in mean costs of the first arm.")
@click.option("--variant", metavar="NAME", default=registry.DEFAULT, show_default=True, help="The router to fit.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of whatever the fit draws.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    records: str,
    budget: str,
    variant: str,
    seed: int,
    out: Path,
    as_json: bool,
    embed_url: str | None,
    embed_model: str | None,
    embed_key_env: str,
    **source: Any,
) -> None:
    """Fit a router on RECORDS (a file of records, or a store) and write it to a folder.

    The router serves any budget; --budget is the one it is used with where no other is given. Its figures are measured
    on instances that the part of the fit which decides there did not see.
    """
    asked = numbers(budget, "--budget")
    if len(asked) != 1:
        raise ConfigError(f"--budget {budget}: give one number")
    embedder = open_embedder(embed_url, embed_model, embed_key_env)
    opened = open_table(records, embedder=embedder, budgets=asked, **source)
    known = registry.parse(variant, opened.table.arms)
    if known.paced or known.base == registry.ORACLE:
        raise ConfigError(f"--variant {variant}: {_why_not(known)}")
    unit = reference_cost(opened.table)
    options = opened.options
    router = registry.fit(variant, opened.table, options, seed)
    card = save(
        out,
        variant,
        router,
        opened.table,
        budget=asked[0],
        reference_cost=unit,
        radii={"reward": options.radius_reward, "cost": options.radius_cost},
        embedder="" if embedder is None else embedder.name,
        validation=_figures(router, opened, asked[0], unit),
        made_from={"records": Path(records).name, "evaluator": opened.evaluator, "seed": seed},
    )
    if as_json:
        click.echo(msgspec.json.encode(_json(out, card, opened)))
    else:
        show_fit(out, card, opened.table, Console())


def _figures(router: Router, opened: Opened, budget: float, unit: float) -> dict[str, Any]:
    """What is expected at the budget, the whole curve, and each arm alone. Raises BudgetError, in relative costs."""
    cheapest = min(rung.cost for rung in router.rungs) / unit
    first = opened.table.arms[0]
    if budget < cheapest * (1 - 1e-9):
        raise BudgetError(
            f"budget {budget:g} is below {cheapest:.3g} x {first}, what the cheapest policy costs; raise --budget"
        )
    mixture = mix(router.rungs, budget * unit)
    reward_NK, cost_NK = bundle_table(opened.table, opened.table.bundles, np.ones(len(opened.table.purchases)))
    rungs = [router.rungs[k] for k in upper_hull(router.rungs)]
    return {
        "instances": len(opened.table.ids),
        "accuracy": sum(share * router.rungs[k].reward for k, share in mixture),
        "cost_rel": sum(share * router.rungs[k].cost for k, share in mixture) / unit,
        "curve": [{"cost_rel": rung.cost / unit, "accuracy": rung.reward} for rung in rungs],
        "arms": {
            arm: {"accuracy": float(right), "cost_rel": float(cost) / unit}
            for arm, right, cost in zip(opened.table.arms, reward_NK.mean(axis=0), cost_NK.mean(axis=0), strict=True)
        },
        "left_out": opened.table.left_out,
    }


def _json(out: Path, card: Card, opened: Opened) -> dict[str, Any]:
    found = msgspec.to_builtins(card)
    for heavy in ("router", "features", "purchases", "highest_costs", "mean_costs"):
        del found[heavy]
    return {"path": str(out), "features": len(card.features), "evaluator": opened.evaluator, **found}


def _why_not(known: registry.Known) -> str:
    if known.base == registry.ORACLE:
        return "the oracle sees the gold labels and cannot be fitted; choose a router"
    return "pacing is done when a router is used, so fit it without"
