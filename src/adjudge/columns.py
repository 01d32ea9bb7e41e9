"""Records -> columns: what the statistics need of many judgments, as arrays, in one pass and without the texts.

Axes: N units (one record, that is one instance and one evaluator). Outcomes are codes: -1 not run, then the values of
`Outcome` in their order, so that 0 and 1 are A and B, 2 a tie, and of two outcomes without a verdict the larger is the
more serious.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from adjudge.types import Judgment, Outcome, Record, Side

Codes = NDArray[np.int8]
Floats = NDArray[np.float64]

ABSENT, TIE, UNREAD = -1, 2, 3
CODE: dict[Outcome | None, int] = {None: ABSENT} | {outcome: code for code, outcome in enumerate(Outcome)}


class ArmColumns(msgspec.Struct, frozen=True):
    """One arm's judgments, aligned with the units; NaN and ABSENT where there is none.

    Tokens are per verdict, dollars per judgment.
    """

    judged_N: NDArray[np.bool_]
    ab_N: Codes
    ba_N: Codes
    prompt_tokens_N: Floats
    output_tokens_N: Floats
    cost_usd_N: Floats

    def outcomes(self) -> Codes:
        """Judgment.outcome of every unit (N,); ABSENT where no order was run."""
        worst, only = np.maximum(self.ab_N, self.ba_N), np.minimum(self.ab_N, self.ba_N) == ABSENT
        agreed = np.where(self.ab_N == self.ba_N, self.ab_N, TIE)
        return np.where((worst >= UNREAD) | only, worst, agreed).astype(np.int8)

    def at(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "ArmColumns":
        return ArmColumns(*(getattr(self, field)[rows] for field in self.__struct_fields__))


class Columns(msgspec.Struct, frozen=True):
    """All judgments by unit. `gold_N` is 0 for A, 1 for B, -1 unknown; `instance_N` numbers the pairs by their id;
    `group_N` numbers the names in `groups`; `best_of_n_N` marks instances whose orders are no swap of two texts; `keys`
    are those that any pair carries beyond the schema. `repeats`: an instance stands in several units. `unbought`
    counts, by arm, the judgments that a cap kept from being bought; they are in no other column."""

    gold_N: Codes
    instance_N: NDArray[np.int64]
    group_N: NDArray[np.int64]
    best_of_n_N: NDArray[np.bool_]
    groups: tuple[str, ...]
    keys: frozenset[str]
    repeats: bool
    evaluators: dict[str, int]
    arms: dict[str, ArmColumns]
    unbought: dict[str, int]

    def at(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Columns":
        """The same columns for some of the units."""
        return Columns(
            gold_N=self.gold_N[rows],
            instance_N=self.instance_N[rows],
            group_N=self.group_N[rows],
            best_of_n_N=self.best_of_n_N[rows],
            groups=self.groups,
            keys=self.keys,
            repeats=self.repeats and len(np.unique(self.instance_N[rows])) < len(self.instance_N[rows]),
            evaluators=self.evaluators,
            arms={name: arm.at(rows) for name, arm in self.arms.items()},
            unbought=self.unbought,
        )


_NAN = float("nan")
_GOLD: dict[Side | None, int] = {None: -1, "A": 0, "B": 1}


class _Growing:
    """One arm's judgments while they are read: one flat array, which costs the collector nothing to keep."""

    def __init__(self) -> None:
        self._flat = array("d")
        self._extend = self._flat.extend

    def add(self, unit: int, judgment: Judgment) -> None:
        prompt, output, usd = judgment.prompt_tokens, judgment.output_tokens, judgment.cost_usd
        self._extend(
            (
                unit,
                CODE[judgment.ab],
                CODE[judgment.ba],
                _NAN if prompt is None else prompt,
                _NAN if output is None else output,
                _NAN if usd is None else usd,
            )
        )

    def spread(self, n: int) -> ArmColumns:
        """Aligned with n units."""
        unit, ab, ba, *costs = np.frombuffer(self._flat).reshape(-1, 6).T
        at = unit.astype(np.int64)
        judged_N, ab_N, ba_N = np.zeros(n, np.bool_), np.full(n, ABSENT, np.int8), np.full(n, ABSENT, np.int8)
        judged_N[at], ab_N[at], ba_N[at] = True, ab, ba
        costs_N = [np.full(n, _NAN) for _ in costs]
        for cost_N, cost in zip(costs_N, costs, strict=True):
            cost_N[at] = cost
        return ArmColumns(judged_N, ab_N, ba_N, *costs_N)


def gather(records: Iterable[Record], group: Callable[[Record], str], evaluator: str | None = None) -> Columns:
    """Read all records once. Those of another evaluator are counted in `evaluators` and left out."""
    evaluators: Counter[str] = Counter()
    keys = set[str]()
    groups: dict[str, int] = {}
    instances: dict[str, int] = {}
    gold, best_of_n, instance_N, group_N = array("b"), array("b"), array("q"), array("q")
    arms: defaultdict[str, _Growing] = defaultdict(_Growing)
    unbought: Counter[str] = Counter()
    for record in records:
        evaluators[record.evaluator] += 1
        if evaluator is not None and record.evaluator != evaluator:
            continue
        pair, unit = record.pair, len(gold)
        if pair.meta:
            keys.update(pair.meta)
        gold.append(_GOLD[pair.gold])
        instance_N.append(instances.setdefault(pair.id, len(instances)))
        group_N.append(groups.setdefault(group(record), len(groups)))
        best_of_n.append(pair.gold_index is not msgspec.UNSET or pair.responses is not None)
        for name, judgment in record.judgments.items():
            if judgment.error is None or judgment.bought:
                arms[name].add(unit, judgment)
            else:
                unbought[name] += 1
    return Columns(
        gold_N=np.array(gold, dtype=np.int8),
        instance_N=np.array(instance_N, dtype=np.int64),
        group_N=np.array(group_N, dtype=np.int64),
        best_of_n_N=np.array(best_of_n, dtype=np.bool_),
        groups=tuple(groups),
        keys=frozenset(keys),
        repeats=len(instances) < len(gold),
        evaluators=dict(evaluators),
        arms={name: growing.spread(len(gold)) for name, growing in arms.items()},
        unbought=dict(unbought),
    )


def appearances(columns: Columns) -> dict[str, int]:
    """How many judgments each arm has."""
    return {name: int(arm.judged_N.sum()) for name, arm in columns.arms.items()}
