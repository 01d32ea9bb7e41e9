"""Which purchases, in which order: a beam search over paths, each judged by what its stopping policy is worth.

Every price of reward has a beam of its own. A path grows by one purchase at a time (of an arm, its next order or
draw) as long as some path of the beam gains, with patience for purchases that help only together: one more vote against
one changes nothing, two may.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import fit_weights, following
from adjudge.routing.stopping import fit_gain, multipliers, outcomes, steps, worth
from adjudge.routing.table import Table

Path = tuple[int, ...]
DEAREST_WORTH = (0.004, 1.0)  # range of prices: reward that the cost of the dearest arm must buy


@dataclass(frozen=True, slots=True)
class Search:
    """`width`: paths kept at each length. `longest`: purchases of a path. `patience`: lengths without a gain after
    which a beam ends. `least_gain`: reward, in value at the multiplier, that a longer path must add. `rows`: at most so
    many are searched on, drawn by the seed. `prices`: how many prices of reward get a beam."""

    width: int = 2
    longest: int = 10
    patience: int = 2
    least_gain: float = 7e-4
    rows: int = 3000
    prices: int = 8


def search(table: Table, seed: int, *, observe: str, settings: Search) -> list[Path]:
    """The best path at each of several prices of reward, and the first purchase of each arm alone; without repeats.

    Raises ConfigError for an arm to observe that is none of the table's.
    """
    if observe and observe not in table.arms:
        raise ConfigError(f"there is no arm {observe!r} to observe; there are: {', '.join(table.arms)}")
    if len(table) > settings.rows:
        chosen = np.random.default_rng(seed).choice(len(table), settings.rows, replace=False)
        table = table.at(np.sort(chosen))
    dearest = float(table.arm_costs().mean(axis=0).max())
    low, high = DEAREST_WORTH
    values: dict[Path, _Curve] = {}
    found = _starts(table, observe)
    for price in np.geomspace(high, low, settings.prices) / dearest:
        path = _beam(table, float(price), observe, settings, values)
        if path not in found:
            found.append(path)
    return found


def _beam(table: Table, price: float, observe: str, settings: Search, values: dict[Path, "_Curve"]) -> Path:
    def value(path: Path) -> float:
        if path not in values:
            values[path] = _curve(table, path)
        return float((values[path].reward_V - price * values[path].cost_V).max())

    beam = sorted(((value(path), path) for path in _starts(table, observe)), reverse=True)[: settings.width]
    best_value, best = beam[0]
    stale = 0
    while beam and len(beam[0][1]) < settings.longest and stale <= settings.patience:
        longer = {(*path, u) for _, path in beam for u in following(table.purchases, path)}
        beam = sorted(((value(path), path) for path in longer), reverse=True)[: settings.width]
        if beam and beam[0][0] > best_value + settings.least_gain:
            best_value, best = beam[0]
            stale = 0
        else:
            stale += 1
    return best


def _starts(table: Table, observe: str) -> list[Path]:
    return [(u,) for u in following(table.purchases, ()) if observe in ("", table.purchases[u].arm)]


class _Curve(NamedTuple):
    """Mean cost and reward of a path's policies, from stopping at once to buying everything."""

    cost_V: Array
    reward_V: Array


def _curve(table: Table, path: Path) -> _Curve:
    weight_U = fit_weights(table, path)
    known, cost_NT = steps(table, path, weight_U), table.cost_NU[:, list(path)]
    worth_NT = worth(known, cost_NT.mean(axis=0), fit_gain(known, table.x_ND.shape[1]))
    both = [outcomes(known, cost_NT, worth_NT, m) for m in multipliers(worth_NT)]
    return _Curve(np.array([cost.mean() for _, cost in both]), np.array([reward.mean() for reward, _ in both]))
