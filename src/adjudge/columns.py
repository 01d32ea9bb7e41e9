"""Records -> columns: what the statistics need of many judgments, as arrays, in one pass and without the texts.

Axes: N units (one record, that is one instance and one evaluator). Outcomes are codes: -1 not run, then the values of
`Outcome` in their order, so that 0 and 1 are A and B, 2 a tie, and of two outcomes without a verdict the larger is the
more serious.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from adjudge.types import Judgment, Outcome, Record

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
    `group_N` numbers the names in `groups`; `best_of_n_N` marks instances whose orders are no swap of two texts."""

    gold_N: Codes
    instance_N: NDArray[np.int64]
    group_N: NDArray[np.int64]
    best_of_n_N: NDArray[np.bool_]
    groups: tuple[str, ...]
    evaluators: dict[str, int]
    arms: dict[str, ArmColumns]

    def at(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Columns":
        """The same columns for some of the units."""
        return Columns(
            gold_N=self.gold_N[rows],
            instance_N=self.instance_N[rows],
            group_N=self.group_N[rows],
            best_of_n_N=self.best_of_n_N[rows],
            groups=self.groups,
            evaluators=self.evaluators,
            arms={name: arm.at(rows) for name, arm in self.arms.items()},
        )


_Cells = tuple[int, int, int, float, float, float]
_NAN = float("nan")


def gather(records: Iterable[Record], group: Callable[[Record], str], evaluator: str | None = None) -> Columns:
    """Read all records once. Those of another evaluator are counted in `evaluators` and left out."""
    evaluators: Counter[str] = Counter()
    gold: list[int] = []
    groups: dict[str, int] = {}
    instances: dict[str, int] = {}
    instance_N: list[int] = []
    group_N: list[int] = []
    best_of_n: list[bool] = []
    cells: dict[str, list[_Cells]] = {}
    for record in records:
        evaluators[record.evaluator] += 1
        if evaluator is not None and record.evaluator != evaluator:
            continue
        pair, unit = record.pair, len(gold)
        gold.append(-1 if pair.gold is None else int(pair.gold == "B"))
        instance_N.append(instances.setdefault(pair.id, len(instances)))
        group_N.append(groups.setdefault(group(record), len(groups)))
        best_of_n.append(pair.gold_index is not msgspec.UNSET or pair.responses is not None)
        for name, judgment in record.judgments.items():
            cells.setdefault(name, []).append(_cells(unit, judgment))
    return Columns(
        gold_N=np.array(gold, dtype=np.int8),
        instance_N=np.array(instance_N, dtype=np.int64),
        group_N=np.array(group_N, dtype=np.int64),
        best_of_n_N=np.array(best_of_n, dtype=np.bool_),
        groups=tuple(groups),
        evaluators=dict(evaluators),
        arms={name: _columns(rows, len(gold)) for name, rows in cells.items()},
    )


def _cells(unit: int, judgment: Judgment) -> _Cells:
    prompt, output, usd = judgment.prompt_tokens, judgment.output_tokens, judgment.cost_usd
    return (
        unit,
        CODE[judgment.ab],
        CODE[judgment.ba],
        _NAN if prompt is None else prompt,
        _NAN if output is None else output,
        _NAN if usd is None else usd,
    )


def _columns(rows: list[_Cells], n: int) -> ArmColumns:
    units, ab, ba, prompt, output, usd = zip(*rows, strict=True)
    at = np.array(units, dtype=np.int64)

    def codes(values: tuple[int, ...]) -> Codes:
        column = np.full(n, ABSENT, dtype=np.int8)
        column[at] = values
        return column

    def numbers(values: tuple[float, ...]) -> Floats:
        column = np.full(n, _NAN)
        column[at] = values
        return column

    judged = np.zeros(n, dtype=np.bool_)
    judged[at] = True
    return ArmColumns(judged, codes(ab), codes(ba), numbers(prompt), numbers(output), numbers(usd))


def appearances(columns: Columns) -> dict[str, int]:
    """How many judgments each arm has."""
    return {name: int(arm.judged_N.sum()) for name, arm in columns.arms.items()}
