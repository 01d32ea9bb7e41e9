"""Which purchases, in which order: a beam search over paths, each judged by what its stopping policy is worth.

Every price of reward has a beam of its own. A path grows by one purchase at a time (of an arm, its next order or
draw) as long as some path of the beam gains, with patience for purchases that help only together: one more vote against
one changes nothing, two may.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import fit_weights, following, same_weights
from adjudge.routing.stopping import Step, fit_gain, multipliers, outcomes, steps, way
from adjudge.routing.table import Table

Path = tuple[int, ...]
CURVE = 12  # policies of a path that are looked at
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
    curves = _Curves(table)
    found: list[Path] = [(u,) for u in following(table.purchases, ()) if observe in ("", table.purchases[u].arm)]
    starts = tuple(found)
    for price in np.geomspace(high, low, settings.prices) / dearest:
        path = _beam(curves, starts, float(price), settings)
        if path not in found:
            found.append(path)
    return found


def _beam(curves: "_Curves", starts: Sequence[Path], price: float, settings: Search) -> Path:
    """All starts are followed for one purchase: an arm that seldom gives a verdict may be a good first one."""
    beam = sorted(((curves.value(path, price), path) for path in starts), reverse=True)
    best_value, best = beam[0]
    stale = 0
    while beam and len(beam[0][1]) < settings.longest and stale <= settings.patience:
        longer = {(*path, u) for _, path in beam for u in following(curves.table.purchases, path)}
        beam = sorted(((curves.value(path, price), path) for path in longer), reverse=True)[: settings.width]
        if beam and beam[0][0] > best_value + settings.least_gain:
            best_value, best = beam[0]
            stale = 0
        else:
            stale += 1
    return best


class _Curves:
    """Mean cost and reward of each path's policies, from stopping at once to buying everything; each found once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._found: dict[Path, tuple[Array, Array]] = {}
        self._steps: dict[Path, list[Step]] = {}

    def value(self, path: Path, price: float) -> float:
        """Reward less price times cost of the path's best policy."""
        if path not in self._found:
            self._found[path] = self._measure(path)
        cost_V, reward_V = self._found[path]
        return float((reward_V - price * cost_V).max())

    def _measure(self, path: Path) -> tuple[Array, Array]:
        weight_U = fit_weights(self.table, path)
        known = steps(self.table, path, weight_U, self._steps.get(path[:-1], ()))
        if same_weights(self.table):
            self._steps[path] = known
        cost_NT = self.table.cost_NU[:, list(path)]
        found = way(known, cost_NT, cost_NT.mean(axis=0), fit_gain(known, self.table.x_ND.shape[1]))
        both = [outcomes(found, m) for m in multipliers(found.worth_NT, CURVE)]
        return np.array([cost.mean() for _, cost in both]), np.array([reward.mean() for reward, _ in both])
