"""Records -> a table of what could be bought for each instance, what it would have said, and what it would have cost.

What is bought is a **purchase**: one verdict of one arm, in the presentation order that is drawn first or in the other
one; or one draw of a rating arm that recorded several. Tokens in records are per verdict, so the second order of an arm
is charged as a second purchase. Where arms were recorded in both orders an instance stands in two rows, one for each
order that may come first; both belong to one instance, and to one fold.

Best-of-n verdicts name one of n responses, and two judges that are wrong may name different ones. Where the recorded
texts tell which was named, that is kept, as a rating of 1 for it and 0 for the others. The letters of another order
mean other responses, in a way that records do not tell, so an instance's other order is then a row of its own and not
a second purchase.

Axes: N rows, U purchases, R responses of a best-of-n instance, D features. Rewards are fractions; costs are in the unit
of `cost` (output_tokens, total_tokens or cost_usd).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from adjudge.errors import DataError
from adjudge.routing.ambiguity import Array
from adjudge.routing.strength import named, ratings, strength
from adjudge.types import Judgment, Order, Outcome, Record

CostUnit = Literal["output_tokens", "total_tokens", "cost_usd"]
COST_UNITS: tuple[CostUnit, ...] = get_args(CostUnit)
_COST_FIELDS = {
    "output_tokens": ("output_tokens",),
    "total_tokens": ("prompt_tokens", "output_tokens"),
    "cost_usd": ("cost_usd",),
}
Bools = NDArray[np.bool_]
NEARLY_ALL = 0.98
Ints = NDArray[np.int64]


class Purchase(NamedTuple):
    """`order` 0 is the presentation order drawn first, 1 the other. `draw` numbers the draws of a rating arm."""

    arm: str
    order: int = 0
    draw: int | None = None

    @property
    def place(self) -> int:
        """How many purchases of the same arm come before this one."""
        return self.order if self.draw is None else self.draw

    def __str__(self) -> str:
        if self.draw is not None:
            return f"{self.arm}[{self.draw + 1}]"
        return f"{self.arm}'" if self.order else self.arm


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a router may know of N rows before it decides: features, and what the purchases made so far said.

    said_NU: the signed strength of each verdict, in [-1, 1]: above 0 for A, below 0 for B, 0 for a tie; NaN where there
    is no verdict or nothing was bought. rating_NUR: ratings instead, on best-of-n sets. cost_NU: 0 where not bought.
    """

    x_ND: Array
    bought_NU: Bools
    said_NU: Array
    rating_NUR: Array | None
    cost_NU: Array

    def at(self, rows: NDArray[Any]) -> "Seen":
        rating = None if self.rating_NUR is None else self.rating_NUR[rows]
        return Seen(self.x_ND[rows], self.bought_NU[rows], self.said_NU[rows], rating, self.cost_NU[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """See the module. `bundles`: for each arm, the purchases that make one verdict of it (all its draws, one order).
    `gold_N` is 1 for A, -1 for B; `gold_index_N` the place of the right response, with ratings. `votes`: the ratings
    are responses that were named. `left_out` says how
    many records were, by reason."""

    ids: tuple[str, ...]
    instance_N: Ints
    domain_N: NDArray[np.str_]
    arms: tuple[str, ...]
    purchases: tuple[Purchase, ...]
    bundles: tuple[tuple[int, ...], ...]
    said_NU: Array
    rating_NUR: Array | None
    cost_NU: Array
    gold_N: Array
    gold_index_N: Ints | None
    x_ND: Array
    votes: bool = False
    features: tuple[str, ...] = ()
    cost_unit: CostUnit = "output_tokens"
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.instance_N)

    def at(self, rows: NDArray[Any]) -> "Table":
        """The same table for some of its rows."""
        return replace(
            self,
            instance_N=self.instance_N[rows],
            domain_N=self.domain_N[rows],
            said_NU=self.said_NU[rows],
            rating_NUR=None if self.rating_NUR is None else self.rating_NUR[rows],
            cost_NU=self.cost_NU[rows],
            gold_N=self.gold_N[rows],
            gold_index_N=None if self.gold_index_N is None else self.gold_index_N[rows],
            x_ND=self.x_ND[rows],
        )

    def with_features(self, x_ID: Array, names: Sequence[str]) -> "Table":
        """The table with features of its instances, shape (I, D): the row of `ids[i]` is x_ID[i]."""
        return replace(self, x_ND=np.asarray(x_ID, float)[self.instance_N], features=tuple(names))

    def seen(self, bought_NU: Bools) -> Seen:
        """What is known once these purchases were made."""
        rating = None
        if self.rating_NUR is not None:
            rating = np.where(bought_NU[:, :, None], self.rating_NUR, np.nan)
        said_NU = np.where(bought_NU, self.said_NU, np.nan)
        return Seen(self.x_ND, bought_NU, said_NU, rating, np.where(bought_NU, self.cost_NU, 0.0))

    def arm_costs(self) -> Array:
        """Cost of one verdict of each arm, shape (N, K)."""
        return np.stack([self.cost_NU[:, bundle].sum(axis=1) for bundle in self.bundles], axis=1)


def tabulate(
    records: Iterable[Record],
    arms: Sequence[str] = (),
    *,
    cost_unit: CostUnit = "output_tokens",
) -> Table:
    """The table of the records that have a gold label and a judgment, with its cost, of every arm.

    `arms`: in this order, the first is the reference of relative costs; none names all arms that every record has.
    Raises DataError for an arm that no record has (with those there are), several evaluators, records without gold, and
    where nothing is left.
    """
    kept = list(records)
    arms = tuple(arms) or _common_arms(kept)
    _check_arms(kept, arms)
    left_out: Counter[str] = Counter()
    rows = []
    for record in kept:
        if why := _unusable(record, arms, cost_unit):
            left_out[why] += 1
        else:
            rows.append(record)
    if not rows:
        reasons = ", ".join(f"{n} {why}" for why, n in left_out.most_common())
        raise DataError(f"no record can be used ({reasons})", remedy="name other arms with --arms, or give gold labels")
    rated = [[ratings(r.judgments[arm]) for arm in arms] for r in rows]
    by_index = all(isinstance(r.pair.gold_index, int) for r in rows)
    if all(all(r) for r in rated) and (by_index or not any(r.pair.responses for r in rows)):
        return _rated(rows, arms, rated, by_index, cost_unit, dict(left_out))
    voted = _voted(rows, arms, cost_unit, dict(left_out))
    return voted or _signed(rows, arms, cost_unit, dict(left_out))


def _voted(rows: list[Record], arms: tuple[str, ...], unit: CostUnit, left_out: dict[str, int]) -> Table | None:
    """Best-of-n verdicts that name a response: one purchase an arm. None where the records are no such ones."""
    both = all(r.judgments[a].ab is not None and r.judgments[a].ba is not None for r in rows for a in arms)
    if not both and any(r.judgments[a].ab is None for r in rows for a in arms):
        return None
    orders: tuple[Order, ...] = ("ab", "ba") if both else ("ab",)
    votes = [[_vote(record, arms, order) for order in orders] for record in rows]
    if not any(v.beyond for pair in votes for v in pair):
        return None
    agreed = [all(v.right is not None for v in pair) for pair in votes]
    if np.mean(agreed) < NEARLY_ALL:
        return None
    rows = [record for record, fits in zip(rows, agreed, strict=True) if fits]
    votes = [pair for pair, fits in zip(votes, agreed, strict=True) if fits]
    if len(agreed) > len(rows):
        left_out["whose letters and verdicts do not agree"] = len(agreed) - len(rows)
    flat = [v for pair in votes for v in pair]
    width = 1 + max(max([*v.named_K, v.right or 0]) for v in flat)
    named_NK = np.array([v.named_K for v in flat])
    rating = np.where(named_NK[:, :, None] < 0, np.nan, named_NK[:, :, None] == np.arange(width))
    purchases = tuple(Purchase(arm) for arm in arms)
    cost = np.repeat([[cost_of(r.judgments[arm], unit) for arm in arms] for r in rows], len(orders), axis=0)
    right = np.array([v.right for v in flat], np.int64)
    of_arm = tuple((u,) for u in range(len(arms)))
    said = np.full(cost.shape, np.nan)
    leads = tuple(range(len(orders)))
    table = _table(rows, arms, purchases, of_arm, said, rating, cost, leads, unit, left_out, right)
    return replace(table, votes=True)


class _Vote(NamedTuple):
    """Which response each arm names, -1 for none; the right one, None where letters and verdicts contradict each other
    (where nobody names it, one that nobody names); whether a letter cannot be a side's."""

    named_K: list[int]
    right: int | None
    beyond: bool


def _vote(record: Record, arms: tuple[str, ...], order: Order) -> _Vote:
    right: set[int] = set()
    wrong: set[int] = set()
    places: list[int] = []
    beyond = False
    for arm in arms:
        judgment = record.judgments[arm]
        outcome: Outcome = getattr(judgment, order)
        place = named(judgment, order) if outcome.is_verdict else None
        places.append(-1 if place is None else place)
        if place is not None:
            (right if outcome.value == record.pair.gold else wrong).add(place)
            beyond = beyond or (place >= 2 and outcome is not Outcome.TIE)
    if len(right) > 1 or right & wrong:
        return _Vote(places, None, beyond)
    spare = next(place for place in range(len(arms) + 1) if place not in wrong)
    return _Vote(places, right.pop() if right else spare, beyond)


def _signed(rows: list[Record], arms: tuple[str, ...], unit: CostUnit, left_out: dict[str, int]) -> Table:
    """Verdicts: one purchase an arm and order."""
    both = [all(r.judgments[a].ab is not None and r.judgments[a].ba is not None for r in rows) for a in arms]
    leads = (0, 1) if any(both) else (0,)
    purchases = tuple(Purchase(arm, o) for arm, two in zip(arms, both, strict=True) for o in ((0, 1) if two else (0,)))
    said, cost = [], []
    for record in rows:
        spoken = {arm: _spoken(record.judgments[arm], two) for arm, two in zip(arms, both, strict=True)}
        for lead in leads:
            said.append([spoken[p.arm][p.order ^ lead if len(spoken[p.arm]) == 2 else 0] for p in purchases])
            cost.append([cost_of(record.judgments[p.arm], unit) for p in purchases])
    of_arm = tuple(tuple(u for u, p in enumerate(purchases) if p == Purchase(arm)) for arm in arms)
    return _table(
        rows, arms, purchases, of_arm, np.array(said, float), None, np.array(cost, float), leads, unit, left_out
    )


def _rated(
    rows: list[Record],
    arms: tuple[str, ...],
    rated: list[list[tuple[tuple[float, ...], ...]]],
    by_index: bool,
    unit: CostUnit,
    left_out: dict[str, int],
) -> Table:
    """Ratings per response: one purchase an arm and draw."""
    blocks = [_ratings_of([row[k] for row in rated]) for k in range(len(arms))]
    holder = [_recorded_in(blocks, k) for k in range(len(arms))]
    purchases: list[Purchase] = []
    first: dict[int, int] = {}
    for k in dict.fromkeys(holder):
        first[k] = len(purchases)
        purchases += [Purchase(arms[k], 0, j) for j in range(blocks[k].shape[1])]
    bundles = tuple(tuple(first[k] + j for j in range(block.shape[1])) for k, block in zip(holder, blocks, strict=True))
    rating = np.concatenate([blocks[k] for k in first], axis=1)
    cost = np.array(
        [[cost_of(r.judgments[p.arm], unit) / blocks[arms.index(p.arm)].shape[1] for p in purchases] for r in rows]
    )
    gold_index = np.array([r.pair.gold_index if by_index else int(r.pair.gold == "B") for r in rows], np.int64)
    said = np.full(cost.shape, np.nan)
    return _table(rows, arms, tuple(purchases), bundles, said, rating, cost, (0,), unit, left_out, gold_index)


def _ratings_of(rated: list[tuple[tuple[float, ...], ...]]) -> Array:
    """An arm's ratings, shape (N, draws, R); NaN where a draw could not be read."""
    draws = max(len(drawn) for scores in rated for drawn in scores)
    found = np.full((len(rated), draws, max(map(len, rated))), np.nan)
    for i, scores in enumerate(rated):
        for r, drawn in enumerate(scores):
            found[i, : len(drawn), r] = drawn
    return found


def _recorded_in(blocks: list[Array], k: int) -> int:
    """The arm that holds this one's draws as the first of its own, where there is one: they are then bought once.

    A draw that could not be read is not recorded, which moves those behind it: nearly all rows are enough.
    """
    for other in sorted(range(len(blocks)), key=lambda j: -blocks[j].shape[1]):
        same = blocks[other][:, : blocks[k].shape[1]]
        if same.shape == blocks[k].shape:
            level = (same == blocks[k]) | (np.isnan(same) & np.isnan(blocks[k]))
            if level.all(axis=(1, 2)).mean() >= NEARLY_ALL:
                return other
    return k


def _table(
    rows: list[Record],
    arms: tuple[str, ...],
    purchases: tuple[Purchase, ...],
    bundles: tuple[tuple[int, ...], ...],
    said_NU: Array,
    rating_NUR: Array | None,
    cost_NU: Array,
    leads: tuple[int, ...],
    unit: CostUnit,
    left_out: dict[str, int],
    gold_index_N: Ints | None = None,
) -> Table:
    instance_N = np.repeat(np.arange(len(rows)), len(leads))
    return Table(
        ids=tuple(r.pair.id for r in rows),
        instance_N=instance_N,
        domain_N=np.array([r.pair.domain for r in rows])[instance_N],
        arms=arms,
        purchases=purchases,
        bundles=bundles,
        said_NU=said_NU,
        rating_NUR=rating_NUR,
        cost_NU=cost_NU,
        gold_N=np.array([1.0 if r.pair.gold == "A" else -1.0 for r in rows])[instance_N],
        gold_index_N=gold_index_N,
        x_ND=np.empty((len(instance_N), 0)),
        cost_unit=unit,
        left_out=left_out,
    )


def _spoken(judgment: Judgment, two: bool) -> tuple[float, ...]:
    """The signed strengths of an arm's verdicts: of both orders, or of the one that was run."""
    if two:
        return (said_by(judgment, "ab"), said_by(judgment, "ba"))
    return (said_by(judgment, "ab" if judgment.ab is not None else "ba"),)


def said_by(judgment: Judgment, order: Order) -> float:
    """The signed strength of what was said in this order, as in `Seen`; NaN where that is no verdict."""
    outcome: Outcome | None = getattr(judgment, order)
    if outcome is None or not outcome.is_verdict:
        return np.nan
    if outcome is Outcome.TIE:
        return 0.0
    return strength(judgment, order) * (1.0 if outcome is Outcome.A else -1.0)


def cost_of(judgment: Judgment, unit: CostUnit) -> float:
    """Of one verdict, NaN where it is not known. A judgment's dollars are for all its orders."""
    parts = [getattr(judgment, name) for name in _COST_FIELDS[unit]]
    if None in parts:
        return np.nan
    cost = float(sum(parts))
    return cost / max(len(judgment.orders), 1) if unit == "cost_usd" else cost


def _unusable(record: Record, arms: tuple[str, ...], unit: CostUnit) -> str:
    if record.pair.gold is None:
        return "without a gold label"
    if record.pair.gold_index is None:
        return "whose right response is not known"
    for arm in arms:
        judgment = record.judgments.get(arm)
        if judgment is None or not judgment.bought or not judgment.orders:
            return f"without a judgment of {arm}"
        if np.isnan(cost_of(judgment, unit)):
            return f"without the {unit} of {arm}"
    return ""


def _common_arms(records: list[Record]) -> tuple[str, ...]:
    """The arms that most records have, in their order: all that stand in at least half of them."""
    found = Counter(arm for record in records for arm in record.judgments)
    return tuple(arm for arm, n in found.items() if 2 * n >= len(records))


def _check_arms(records: list[Record], arms: tuple[str, ...]) -> None:
    evaluators = sorted({record.evaluator for record in records})
    if len(evaluators) > 1:
        raise DataError(
            f"the records are of {len(evaluators)} evaluators",
            remedy=f"choose one with --evaluator: {', '.join(evaluators)}",
        )
    known = Counter(arm for record in records for arm in record.judgments)
    for arm in arms:
        if arm not in known:
            raise DataError(f"no record has arm {arm!r}", remedy=f"there are: {', '.join(sorted(known)) or 'none'}")
    if len(set(arms)) < len(arms):
        raise DataError(f"an arm is named twice: {', '.join(arms)}", remedy="name each once")
    if len(arms) < 2:
        raise DataError("routing needs two arms or more", remedy=f"there are: {', '.join(sorted(known)) or 'none'}")
