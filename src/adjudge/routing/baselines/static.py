"""Static portfolios: one fixed set of purchases for every row, all verdicts of it combined.

The sets that no mixture of others beats on the fitting rows, found by a beam search that adds one purchase at a time
(of an arm, its next order or draw); weights of verdicts are fitted, >= 0 (see evidence.py). What it reaches needs no
features and no decision: a router that buys several arms a row has to beat it. Rewards of the rungs are out of fold as
to the weights; the choice of sets has seen all fitting rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adjudge.routing.baselines.fixed import Fixed, restore
from adjudge.routing.baselines.parts import all_bought, explore, folds_of, narrowed, rising
from adjudge.routing.evidence import fit_weights, following
from adjudge.routing.ladder import Rung
from adjudge.routing.table import Ints, Table

__all__ = ["Settings", "fit", "restore"]

Set = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """`most`: purchases of a set; the draws that make one verdict of an arm start as one set. `width`: sets kept at
    each size."""

    most: int = 6
    width: int = 8
    folds: int = 5


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> Fixed:
    """One rung for each set on the hull."""

    def grow(chosen: Set) -> Iterator[Set]:
        for u in following(table.purchases, chosen):
            yield tuple(sorted((*chosen, u)))

    def measure(chosen: Set) -> Rung:
        part, everything = narrowed(table, chosen), range(len(chosen))
        reward = all_bought(part, fit_weights(part, everything)).reward(part).mean()
        return Rung(0.0, float(part.cost_NU.sum(axis=1).mean()), float(reward))

    starts = [(u,) for u in following(table.purchases, ())] + [tuple(sorted(b)) for b in table.bundles]
    found = explore(dict.fromkeys(starts), grow, measure, depth=settings.most, width=settings.width)
    folds = folds_of(table, settings.folds, seed)
    rungs = [rung._replace(reward=_out_of_fold(table, chosen, folds, rung.reward)) for chosen, rung in found]
    order = rising(rungs)
    return Fixed(
        table.purchases,
        tuple(rungs[k] for k in order),
        tuple(found[k][0] for k in order),
        np.stack([fit_weights(table, found[k][0]) for k in order]),
    )


def _out_of_fold(table: Table, chosen: Set, folds: list[tuple[Ints, Ints]], known: float) -> float:
    """Mean reward of a set with weights that did not see the row; `known` where there is one arm, or no fold."""
    if len({table.purchases[u].arm for u in chosen}) == 1 or not folds:
        return known
    part, everything = narrowed(table, chosen), range(len(chosen))
    reward_N = np.empty(len(table))
    for fitting, held in folds:
        weight_U = fit_weights(part.at(fitting), everything)
        out = part.at(held)
        reward_N[held] = all_bought(out, weight_U).reward(out)
    return float(reward_N.mean())
