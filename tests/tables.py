"""Tables drawn for tests of routing, whose truth is known, and a router that is fitted without looking."""

import numpy as np

from adjudge.routing.evidence import fit_weights
from adjudge.routing.ladder import Rung
from adjudge.routing.router import State, still_missing
from adjudge.routing.table import Purchase, Table


def drawn_table(n: int = 200, seed: int = 0, both: bool = True, arms=("cheap", "dear"), domains="xyz") -> Table:
    """n instances of the domains in turn, each in two rows where `both`: later arms are more often right and dearer,
    later domains dearer."""
    rng = np.random.default_rng(seed)
    leads = 2 if both else 1
    domain_I = np.array(list(domains))[np.arange(n) % len(domains)]
    gold_I = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    orders = (0, 1) if both else (0,)
    purchases = tuple(Purchase(arm, o) for arm in arms for o in orders)
    said_IU = np.empty((n, len(purchases)))
    cost_IU = np.empty((n, len(purchases)))
    for u, p in enumerate(purchases):
        k = arms.index(p.arm)
        right = rng.random(n) < 0.6 + 0.25 * k / max(len(arms) - 1, 1)
        said_IU[:, u] = np.where(right, gold_I, -gold_I)
        mean = (1 + 4.0 * k) * (1 + 0.5 * (np.arange(n) % len(domains)))
        cost_IU[:, u] = mean * rng.gamma(4, 0.25, n)
    swap = [purchases.index(Purchase(p.arm, p.order ^ 1 if both else 0)) for p in purchases]
    instance_N = np.repeat(np.arange(n), leads)
    second_N = np.tile(np.arange(leads), n) == 1
    return Table(
        ids=tuple(f"p{i}" for i in range(n)),
        instance_N=instance_N,
        domain_N=domain_I[instance_N],
        arms=tuple(arms),
        purchases=purchases,
        bundles=tuple((purchases.index(Purchase(arm)),) for arm in arms),
        said_NU=np.where(second_N[:, None], said_IU[:, swap][instance_N], said_IU[instance_N]),
        rating_NUR=None,
        cost_NU=np.where(second_N[:, None], cost_IU[:, swap][instance_N], cost_IU[instance_N]),
        gold_N=gold_I[instance_N],
        gold_index_N=None,
        x_ND=np.empty((len(instance_N), 0)),
    )


class Ladder:
    """Rung k buys bundle k of the table that it was fitted on, whatever the row."""

    def __init__(self, purchases, bundles, rungs, weight_U):
        self.purchases, self.bundles, self.rungs, self.weight_U = purchases, bundles, rungs, weight_U

    def decide(self, seen, rung, draw_N):
        return still_missing(self.bundles, np.full(len(draw_N), rung), seen.bought_NU)

    def weights(self, rung):
        return self.weight_U

    def state(self):
        card = {"bundles": self.bundles, "rungs": self.rungs, "purchases": self.purchases}
        return State(card, {"weight_U": self.weight_U})


def fit(table: Table, settings=None, seed: int = 0) -> Ladder:
    """A rung an arm, with what it costs and earns on these very rows."""
    right_NU = np.sign(table.said_NU) == table.gold_N[:, None]
    rungs = tuple(
        Rung(1.0 / (k + 1), float(table.cost_NU[:, list(b)].sum(axis=1).mean()), float(right_NU[:, b[0]].mean()))
        for k, b in enumerate(table.bundles)
    )
    return Ladder(table.purchases, table.bundles, rungs, fit_weights(table, range(len(table.purchases))))


def restore(state: State) -> Ladder:
    card = state.card
    purchases = tuple(Purchase(*p) for p in card["purchases"])
    return Ladder(
        purchases,
        tuple(tuple(b) for b in card["bundles"]),
        tuple(Rung(*r) for r in card["rungs"]),
        state.arrays["weight_U"],
    )
