"""Tables for tests of routing: small, drawn by a seed, and with something in them to be learned.

Every instance has a difficulty. The dear arm does not mind it, the cheap one does, and the first feature tells it.
"""

from dataclasses import replace

import numpy as np

from adjudge.routing.table import Purchase, Table

FEATURES = ("difficulty", "length", "noise")


def signed(instances: int = 160, arms: tuple[str, ...] = ("cheap", "middling", "dear"), seed: int = 0) -> Table:
    """Verdicts in both orders: two rows an instance, two purchases an arm. Every tenth verdict of the cheap arm is a
    tie, every twentieth of the others was not read; one in ten names the place and not the side."""
    rng = np.random.default_rng(seed)
    hard_I, gold_I = rng.random(instances), rng.choice([-1.0, 1.0], instances)
    said, cost = [], []
    for k in range(len(arms)):
        right_I = 0.9 - hard_I * 0.6 * (len(arms) - 1 - k) / (len(arms) - 1)
        base_I = np.where(rng.random(instances) < right_I, gold_I, -gold_I)
        biased_I = rng.random(instances) < 0.1
        ab_I, ba_I = base_I.copy(), base_I.copy()
        ab_I[biased_I], ba_I[biased_I] = 1.0, -1.0
        odd_I = rng.random((instances, 2)) < (0.1 if k == 0 else 0.05)
        for side_I, odd in ((ab_I, odd_I[:, 0]), (ba_I, odd_I[:, 1])):
            side_I[odd] = 0.0 if k == 0 else np.nan
        sure_I = rng.choice([0.5, 1.0], instances)
        said.append(np.stack([ab_I * sure_I, ba_I * sure_I], axis=1))
        cost.append(4.0**k * (50 + 100 * rng.random(instances)) * (1 + hard_I))
    said_IU = np.concatenate(said, axis=1)
    swapped_IU = said_IU.reshape(instances, len(arms), 2)[:, :, ::-1].reshape(instances, -1)
    rows = np.arange(2 * instances)
    instance_N = rows // 2
    said_NU = np.where((rows % 2 == 0)[:, None], said_IU[instance_N], swapped_IU[instance_N])
    x_ID = np.stack([hard_I, rng.random(instances) * 100, rng.normal(size=instances)], axis=1)
    return Table(
        ids=tuple(f"p{i}" for i in range(instances)),
        instance_N=instance_N,
        domain_N=np.where(hard_I > 0.5, "hard", "easy")[instance_N],
        arms=arms,
        purchases=tuple(Purchase(arm, order) for arm in arms for order in (0, 1)),
        bundles=tuple((2 * k,) for k in range(len(arms))),
        said_NU=said_NU,
        rating_NUR=None,
        cost_NU=np.repeat(np.stack(cost, axis=1), 2, axis=1)[instance_N],
        gold_N=gold_I[instance_N],
        gold_index_N=None,
        x_ND=x_ID[instance_N],
        features=FEATURES,
    )


def rated(instances: int = 200, seed: int = 0) -> Table:
    """Ratings of four responses: of two families of judges one draw, or three of it, is an arm. One draw in fifty could
    not be read."""
    rng = np.random.default_rng(seed)
    hard_I, right_I = rng.random(instances), rng.integers(0, 4, instances)
    families = (("small", 1.2, 30.0), ("large", 3.0, 200.0))
    rating, cost, purchases = [], [], []
    for name, gap, price in families:
        truth_IR = np.full((instances, 4), 5.0)
        truth_IR[np.arange(instances), right_I] += gap * (1.2 - hard_I)
        for draw in range(3):
            drawn_IR = np.clip(np.round(truth_IR + rng.normal(0, 1.0, truth_IR.shape)), 1, 10)
            drawn_IR[rng.random(instances) < 0.02] = np.nan
            rating.append(drawn_IR)
            cost.append(price * (0.8 + 0.4 * rng.random(instances)) * (1 + hard_I))
            purchases.append(Purchase(f"{name}_k3", 0, draw))
    arms = tuple(f"{name}_k{k}" for name, _, _ in families for k in (1, 3))
    return Table(
        ids=tuple(f"r{i}" for i in range(instances)),
        instance_N=np.arange(instances),
        domain_N=np.where(hard_I > 0.5, "hard", "easy"),
        arms=arms,
        purchases=tuple(purchases),
        bundles=((0,), (0, 1, 2), (3,), (3, 4, 5)),
        said_NU=np.full((instances, 6), np.nan),
        rating_NUR=np.stack(rating, axis=1),
        cost_NU=np.stack(cost, axis=1),
        gold_N=rng.choice([-1.0, 1.0], instances),
        gold_index_N=right_I.astype(np.int64),
        x_ND=np.stack([hard_I, rng.random(instances) * 100, rng.normal(size=instances)], axis=1),
        features=FEATURES,
    )


def permuted(table: Table, order: tuple[int, ...]) -> Table:
    """The same table with its arms, and their purchases, in another order: arm `order[k]` comes k-th."""
    columns = list(dict.fromkeys(u for k in order for u in _family(table, k)))
    place = {u: at for at, u in enumerate(columns)}
    return replace(
        table,
        arms=tuple(table.arms[k] for k in order),
        purchases=tuple(table.purchases[u] for u in columns),
        bundles=tuple(tuple(place[u] for u in table.bundles[k]) for k in order),
        said_NU=table.said_NU[:, columns],
        rating_NUR=None if table.rating_NUR is None else table.rating_NUR[:, columns],
        cost_NU=table.cost_NU[:, columns],
    )


def _family(table: Table, k: int) -> list[int]:
    name = table.purchases[table.bundles[k][0]].arm
    return [u for u, purchase in enumerate(table.purchases) if purchase.arm == name]


def swapped(table: Table) -> Table:
    """Responses A and B have changed places, verdicts and gold with them."""
    return replace(table, said_NU=-table.said_NU, gold_N=-table.gold_N)
