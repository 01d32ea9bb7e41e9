"""Buy while tied: walk a short path of purchases; go on only while the verdict is tied or an arm's orders disagree.

The plain rule of a careful practitioner, with no threshold and no weights: every verdict counts by its own strength,
ratings are averaged. A step of the path is one purchase, or both orders of an arm at once. After each step the row is
settled if one side (or response) alone is ahead and the arm asked last does not contradict itself with the order. The
rungs are paths on the hull of the fitting rows, found by a beam search, or the one path that is given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.parts import card_of, explore, narrowed, nested, purchases_in, rungs_in
from adjudge.routing.evidence import following, weigh
from adjudge.routing.ladder import Rung
from adjudge.routing.router import STOP, State, still_missing
from adjudge.routing.table import Bools, Ints, Purchase, Seen, Table

Path = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """`path`: the steps, each of one or more purchases as `str(Purchase)` writes them ("mercury", "mercury'" for the
    other order, "mini_k8[2]" for a draw); chosen by the fit where it is empty, among those of at most `longest` steps.
    `observe`: the arm of the first step, where the fit chooses. `width`: paths kept at each length."""

    path: tuple[tuple[str, ...], ...] = ()
    observe: str = ""
    longest: int = 4
    width: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class WhileTied:
    """`paths` belong to the rungs, one each."""

    kind: ClassVar[str] = "while-tied"
    purchases: tuple[Purchase, ...]
    rungs: tuple[Rung, ...]
    paths: tuple[Path, ...]

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:
        next_N = np.full(len(draw_N), STOP)
        open_N = np.arange(len(draw_N))
        taken: list[int] = []
        for step in self.paths[rung]:
            bought_NU = seen.bought_NU[open_N]
            next_N[open_N] = still_missing([step], np.zeros(len(open_N), int), bought_NU)
            taken += step
            done_N = bought_NU[:, list(step)].all(axis=1)
            open_N = open_N[done_N]
            open_N = open_N[~_settled(self.purchases, seen.at(open_N), taken)]
            if not len(open_N):
                break
        return next_N

    def weights(self, rung: int) -> Array:  # noqa: ARG002 - all alike
        return np.ones(len(self.purchases))

    def state(self) -> State:
        return State(card_of(self.purchases, self.rungs, paths=self.paths), {})


def restore(state: State) -> WhileTied:
    """The router whose state this was."""
    card = state.card
    return WhileTied(purchases_in(card), rungs_in(card), nested(card["paths"]))


class _Walk(NamedTuple):
    """What a path's steps so far did: rows that are settled keep their reward and cost."""

    open_N: Bools
    reward_N: Array
    cost_N: Array


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> WhileTied:  # noqa: ARG001 - nothing is random
    """The paths on the hull of the fitting rows, or the given one. Raises ConfigError for a purchase or an arm that the
    table lacks."""
    walks: dict[Path, _Walk] = {}

    def walk(path: Path) -> _Walk:
        if path not in walks:
            walks[path] = _walked(table, path, walk(path[:-1]) if len(path) > 1 else None)
        return walks[path]

    def measure(path: Path) -> Rung:
        found = walk(path)
        return Rung(0.0, float(found.cost_N.mean()), float(found.reward_N.mean()))

    def grow(path: Path) -> Iterator[Path]:
        for step in _steps(table.purchases, [u for made in path for u in made]):
            yield (*path, step)

    if settings.path:
        found = [(path := _named(table.purchases, settings.path), measure(path))]
    else:
        starts = [(s,) for s in _steps(table.purchases, ()) if settings.observe in ("", table.purchases[s[0]].arm)]
        if not starts:
            raise ConfigError(
                f"the table has no arm {settings.observe!r} to observe; there are: {', '.join(table.arms)}"
            )
        found = explore(starts, grow, measure, depth=settings.longest, width=settings.width)
    return WhileTied(table.purchases, tuple(rung for _, rung in found), tuple(path for path, _ in found))


def _walked(table: Table, path: Path, before: _Walk | None) -> _Walk:
    """The rows that the steps before left open take one step more."""
    if before is None:
        before = _Walk(np.ones(len(table), bool), np.zeros(len(table)), np.zeros(len(table)))
    taken = [u for step in path for u in step]
    rows = np.flatnonzero(before.open_N)
    part = narrowed(table.at(rows), taken)
    seen = part.seen(np.ones(part.cost_NU.shape, bool))
    open_N, reward_N, cost_N = before.open_N.copy(), before.reward_N.copy(), before.cost_N.copy()
    reward_N[rows] = weigh(seen, np.ones(len(taken))).reward(part)
    cost_N[rows] += table.cost_NU[rows][:, list(path[-1])].sum(axis=1)
    open_N[rows] = ~_settled(part.purchases, seen, range(len(taken)))
    return _Walk(open_N, reward_N, cost_N)


def _settled(purchases: Sequence[Purchase], seen: Seen, taken: Sequence[int]) -> Bools:
    """Whether the purchases `taken`, all made, leave one winner, and the arm of the last of them agrees with itself."""
    columns = list(taken)
    rating_NUR = None if seen.rating_NUR is None else seen.rating_NUR[:, columns]
    said_NU = seen.said_NU[:, columns]
    part = Seen(seen.x_ND, np.ones(said_NU.shape, bool), said_NU, rating_NUR, seen.cost_NU[:, columns])
    one_ahead_N = weigh(part, np.ones(len(columns))).wins_NR.sum(axis=1) == 1
    same_arm = [i for i, u in enumerate(columns) if purchases[u].arm == purchases[columns[-1]].arm]
    named_NU = np.sign(np.nan_to_num(said_NU[:, same_arm]))
    agrees_N = np.ptp(named_NU, axis=1) < 2
    return np.asarray(one_ahead_N & agrees_N)


def _steps(purchases: Sequence[Purchase], taken: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """One purchase more, or both orders of an arm."""
    for u in following(purchases, taken):
        yield (u,)
        other = purchases[u]._replace(order=1)
        if purchases[u].order == 0 and other in purchases:
            yield (u, purchases.index(other))


def _named(purchases: Sequence[Purchase], path: tuple[tuple[str, ...], ...]) -> Path:
    names = [str(purchase) for purchase in purchases]
    for name in (name for step in path for name in step):
        if name not in names:
            raise ConfigError(f"no purchase {name!r} to put on a path; there are: {', '.join(names)}")
    return tuple(tuple(names.index(name) for name in step) for step in path)
