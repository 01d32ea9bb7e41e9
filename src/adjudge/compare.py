"""Records -> the controlled comparison of arms (arXiv 2605.10805): accuracy, gain and cost on the same instances.

Two views, kept apart. `rows` is *paired*: every figure is taken over the instances that all compared arms judged, so
that their differences are due to the arms. `alone` is each arm over everything it judged.

Accuracy counts each order that was run once: right 1, tie 0.5, what is no verdict 0 (`unread="left-out"`: not counted).
Where verdicts of two arms are set against each other (McNemar, agreement, kappa, alpha) the pair counts once, by
`Judgment.outcome`: two orders that disagree are a tie.
"""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from itertools import combinations
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from adjudge import metrics
from adjudge.columns import ABSENT, TIE, UNREAD, ArmColumns, Columns, appearances, gather
from adjudge.errors import ConfigError, DataError
from adjudge.metrics import Estimate
from adjudge.types import Outcome, Record

Unread = Literal["wrong", "left-out"]
ALL = "all"


class ArmRow(msgspec.Struct, frozen=True, kw_only=True):
    """One arm over some instances.

    Counts: `n_rows` judgments, `n_orders` orders run, `n_verdicts` orders with a verdict, `n_both` judgments with a
    verdict in both orders. Shares are of the orders run; `null_share` is all that is no verdict. Means are over what is
    known, None when nothing is: tokens per verdict (one order), `cost_usd` per judgment.

    `accuracy` and `alpha_gold` (Krippendorff's, nominal, of the arm's verdict and the gold label) are None without
    gold.
    `consistency` is the share of n_both whose orders agree; `position_bias` the share of their verdicts that go to the
    response shown first, ties half, minus 1/2 (0: none, 0.5: always the first; arXiv 2306.05685 section 4 reports the
    same as consistency and bias toward first or second); None for best-of-n instances, which have no first of two.
    """

    n_rows: int
    n_orders: int
    n_verdicts: int
    n_both: int
    accuracy: Estimate | None
    tie_share: float
    null_share: float
    unread_share: float
    truncated_share: float
    refused_share: float
    failed_share: float
    prompt_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    consistency: Estimate | None
    position_bias: Estimate | None
    alpha_gold: float | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How often two arms give the same verdict, over the n instances where both give one; kappa is Cohen's."""

    n: int
    share: float | None
    kappa: float | None


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """`other` set against `base` on the paired instances.

    `gain` is the difference of the accuracies shown, with a paired bootstrap interval. `better` and `worse` count the
    instances where other earned more, or less, than base (mean reward of the orders). McNemar's test counts an instance
    as right only when its outcome is the gold label, so a tie, or two orders that disagree, is not right: `only_base` and
    `only_other` are its discordant counts (right by one arm only), `mcnemar_p` their exact two-sided p, None where
    instances repeat (several evaluators). The two views can part: an arm that is right in more orders and settles fewer
    pairs gains by the first and loses by the second. The ratios are mean cost of other over base where both are known:
    output tokens per verdict, dollars per judgment.
    """

    gain: Estimate | None
    better: int
    worse: int
    only_base: int
    only_other: int
    mcnemar_p: float | None
    cost_ratio: float | None
    usd_ratio: float | None
    agreement: Agreement


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The paired figures of one domain (or of all). `n` instances; `contrasts` sets every arm against the first, keyed
    (first, other); `alpha` is Krippendorff's over all arms when there are more than two."""

    domain: str
    n: int
    arms: dict[str, ArmRow]
    contrasts: dict[tuple[str, str], Contrast]
    alpha: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`arms`: the first is the reference (the cheap one). `rows`: "all" first, then the domains by name. `alone`: each
    arm over all its own judgments. `agreements`: every two arms on the instances that those two share."""

    evaluator: str
    arms: tuple[str, ...]
    by: str
    unread: Unread
    level: float
    rows: tuple[Row, ...]
    alone: dict[str, ArmRow]
    agreements: dict[tuple[str, str], Agreement]
    notes: tuple[str, ...]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The keys of every row's contrasts, in order."""
        return tuple((self.arms[0], other) for other in self.arms[1:])


class _How(msgspec.Struct, frozen=True):
    unread: Unread
    level: float
    resamples: int
    seed: int


def compare(
    records: Iterable[Record],
    arms: Sequence[str] | None = None,
    *,
    evaluator: str | None = None,
    by: str = "domain",
    unread: Unread = "wrong",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare arms on the records of one evaluator; records are read once and not kept.

    arms: names, cheap one first; ["all"] for every arm, the fewest output tokens first; None when there are just two.
    by: "domain", "source", "evaluator" (then all evaluators count, one row each) or a key of the pairs' meta.
    Raises DataError when there is nothing to compare, ConfigError on an unknown arm or evaluator or where one must be
    named.
    """
    columns = gather(records, _group(by), evaluator)
    name = _evaluator(columns, evaluator, by)
    chosen = _choose(columns, arms)
    how = _How(unread, level, resamples, seed)
    columns = msgspec.structs.replace(columns, arms={arm: columns.arms[arm] for arm in chosen})
    shared = columns.at(np.logical_and.reduce([arm.judged_N for arm in columns.arms.values()]))
    if not len(shared.gold_N) and len(chosen) == 2:
        raise DataError(f"no instance was judged by both {chosen[0]!r} and {chosen[1]!r}", remedy="compare other arms")
    groups = sorted(set(shared.group_N.tolist()), key=lambda g: shared.groups[g])
    rows = [_row(ALL, shared, how)] + [_row(shared.groups[g], shared.at(shared.group_N == g), how) for g in groups]
    return Comparison(
        evaluator=name,
        arms=chosen,
        by=by,
        unread=unread,
        level=level,
        rows=tuple(rows),
        alone={arm: _arm_row(columns.at(columns.arms[arm].judged_N), arm, how) for arm in chosen},
        agreements={(x, y): _agreement(columns.arms[x], columns.arms[y]) for x, y in combinations(chosen, 2)},
        notes=_notes(columns, shared, chosen),
    )


def _group(by: str) -> Callable[[Record], str]:
    if by == "domain":
        return lambda record: record.pair.domain or "(none)"
    if by == "source":
        return lambda record: record.pair.source or "(none)"
    if by == "evaluator":
        return lambda record: record.evaluator
    return lambda record: str(record.pair.meta.get(by, "(none)"))


def _evaluator(columns: Columns, evaluator: str | None, by: str) -> str:
    known = columns.evaluators
    if not known:
        raise DataError("there are no records", remedy="judge or import some first")
    listed = ", ".join(f"{name} ({count})" for name, count in known.items())
    if evaluator is not None:
        if evaluator not in known:
            raise ConfigError(f"no evaluator {evaluator!r}{_nearest(evaluator, known)}; known: {listed}")
        return evaluator
    if len(known) > 1 and by != "evaluator":
        raise ConfigError(f"the records are of {len(known)} evaluators; name one with --evaluator: {listed}")
    return ", ".join(known)


def _choose(columns: Columns, arms: Sequence[str] | None) -> tuple[str, ...]:
    counts = appearances(columns)
    listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
    if not counts:
        raise DataError("the records hold no judgments", remedy="judge the pairs first")
    if arms is None and len(counts) > 2:
        raise ConfigError(f"name the arms to compare with --arms CHEAP,REASONING (or all): {listed}")
    if arms is None or list(arms) == [ALL]:
        return tuple(sorted(counts, key=lambda arm: _tokens(columns.arms[arm])))
    for arm in arms:
        if arm not in counts:
            raise ConfigError(f"no arm {arm!r}{_nearest(arm, counts)}; known: {listed}")
    if len(set(arms)) < len(arms):
        raise ConfigError(f"an arm is named twice: {', '.join(arms)}")
    return tuple(arms)


def _tokens(arm: ArmColumns) -> float:
    tokens = metrics.mean(arm.output_tokens_N)
    return float("inf") if tokens is None else tokens


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _notes(columns: Columns, shared: Columns, arms: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if len(arms) > 1:
        for name, count in appearances(columns).items():
            if count > len(shared.gold_N):
                lost = count - len(shared.gold_N)
                notes.append(
                    f"{lost:,} of {count:,} judgments of {name} are not paired: another arm did not judge them"
                )
    for name in arms:
        arm = columns.arms[name]
        idle = int((arm.judged_N & (arm.outcomes() == ABSENT)).sum())
        if idle:
            notes.append(f"{idle:,} judgments of {name} recorded no order at all: neither right nor wrong")
    without = int((shared.gold_N < 0).sum())
    if without:
        notes.append(f"{without:,} of {len(shared.gold_N):,} instances have no gold label and do not count in accuracy")
    return tuple(notes)


# -- figures of one arm


def _reward(columns: Columns, arm: ArmColumns, unread: Unread) -> tuple[metrics.Ints, metrics.Ints]:
    """(right_N in halves, orders_N) over the orders that count towards accuracy."""
    right, orders = np.zeros(len(columns.gold_N), dtype=np.int64), np.zeros(len(columns.gold_N), dtype=np.int64)
    for codes in (arm.ab_N, arm.ba_N):
        right += np.where(codes == TIE, 1, 2 * (codes == columns.gold_N))
        orders += (codes != ABSENT) & ((codes < UNREAD) | (unread == "wrong"))
    known = columns.gold_N >= 0
    return _per_instance(columns, right * known), _per_instance(columns, orders * known)


def _per_instance(columns: Columns, values_N: metrics.Ints) -> metrics.Ints:
    """Sums by instance: the same pair judged by several evaluators is one cluster."""
    sums = np.bincount(columns.instance_N, weights=values_N)
    return sums[np.bincount(columns.instance_N) > 0].astype(np.int64)


def _arm_row(columns: Columns, name: str, how: _How) -> ArmRow:
    arm = columns.arms[name]
    codes = np.concatenate([arm.ab_N, arm.ba_N])
    counts = np.bincount(codes[codes != ABSENT], minlength=len(Outcome))
    orders = int(counts.sum())
    shares = dict(zip(Outcome, (counts / max(orders, 1)).tolist(), strict=True))
    outcome = arm.outcomes()
    known = (columns.gold_N >= 0) & (outcome >= 0) & (outcome < UNREAD)
    both = (np.minimum(arm.ab_N, arm.ba_N) != ABSENT) & (np.maximum(arm.ab_N, arm.ba_N) < UNREAD)
    return ArmRow(
        n_rows=int(arm.judged_N.sum()),
        n_orders=orders,
        n_verdicts=int(counts[:UNREAD].sum()),
        n_both=int(both.sum()),
        accuracy=metrics.share(*_reward(columns, arm, how.unread), how.level),
        tie_share=shares[Outcome.TIE],
        null_share=float(counts[UNREAD:].sum()) / max(orders, 1),
        unread_share=shares[Outcome.UNREAD],
        truncated_share=shares[Outcome.TRUNCATED],
        refused_share=shares[Outcome.REFUSED],
        failed_share=shares[Outcome.FAILED],
        prompt_tokens=metrics.mean(arm.prompt_tokens_N),
        output_tokens=metrics.mean(arm.output_tokens_N),
        cost_usd=metrics.mean(arm.cost_usd_N),
        consistency=metrics.share(
            _per_instance(columns, 2 * (both & (arm.ab_N == arm.ba_N))), _per_instance(columns, both), how.level
        ),
        position_bias=_position_bias(columns, arm, both & ~columns.best_of_n_N, how),
        alpha_gold=metrics.alpha(np.stack([outcome[known], columns.gold_N[known]])),
    )


def _position_bias(columns: Columns, arm: ArmColumns, both: NDArray[np.bool_], how: _How) -> Estimate | None:
    first = np.where(arm.ab_N == TIE, 1, 2 * (arm.ab_N == 0)) + np.where(arm.ba_N == TIE, 1, 2 * (arm.ba_N == 1))
    share = metrics.share(_per_instance(columns, first * both), _per_instance(columns, 2 * both), how.level)
    return share and Estimate(share.value - 0.5, share.low - 0.5, share.high - 0.5)


# -- figures of two arms and more


def _row(domain: str, columns: Columns, how: _How) -> Row:
    names = list(columns.arms)
    verdicts = np.stack([np.where(a.outcomes() < UNREAD, a.outcomes(), ABSENT) for a in columns.arms.values()])
    return Row(
        domain=domain,
        n=len(columns.gold_N),
        arms={name: _arm_row(columns, name, how) for name in names},
        contrasts={(names[0], other): _contrast(columns, names[0], other, how) for other in names[1:]},
        alpha=metrics.alpha(verdicts) if len(names) > 2 else None,
    )


def _contrast(columns: Columns, base: str, other: str, how: _How) -> Contrast:
    x, y = columns.arms[base], columns.arms[other]
    counted = (columns.gold_N >= 0) & (x.outcomes() != ABSENT) & (y.outcomes() != ABSENT)
    if how.unread == "left-out":
        counted &= (x.outcomes() < UNREAD) & (y.outcomes() < UNREAD)
    x_right, y_right = x.outcomes() == columns.gold_N, y.outcomes() == columns.gold_N
    repeated = len(np.unique(columns.instance_N)) < len(columns.instance_N)
    only_x, only_y = int((counted & x_right & ~y_right).sum()), int((counted & y_right & ~x_right).sum())
    x_reward, y_reward = _reward(columns, x, how.unread), _reward(columns, y, how.unread)
    ahead = np.sign(y_reward[0] * x_reward[1] - x_reward[0] * y_reward[1])
    return Contrast(
        gain=metrics.paired_gain(x_reward, y_reward, level=how.level, resamples=how.resamples, seed=how.seed),
        better=int((ahead > 0).sum()),
        worse=int((ahead < 0).sum()),
        only_base=only_x,
        only_other=only_y,
        mcnemar_p=metrics.mcnemar(only_x, only_y) if counted.any() and not repeated else None,
        cost_ratio=_ratio(x.output_tokens_N, y.output_tokens_N),
        usd_ratio=_ratio(x.cost_usd_N, y.cost_usd_N),
        agreement=_agreement(x, y),
    )


def _ratio(base_N: metrics.Floats, other_N: metrics.Floats) -> float | None:
    known = ~np.isnan(base_N) & ~np.isnan(other_N)
    total = float(base_N[known].sum())
    return float(other_N[known].sum()) / total if total else None


def _agreement(x: ArmColumns, y: ArmColumns) -> Agreement:
    x_N, y_N = x.outcomes(), y.outcomes()
    both = (np.minimum(x_N, y_N) != ABSENT) & (np.maximum(x_N, y_N) < UNREAD)
    x_N, y_N = x_N[both].astype(np.int64), y_N[both].astype(np.int64)
    return Agreement(n=len(x_N), share=float((x_N == y_N).mean()) if len(x_N) else None, kappa=metrics.kappa(x_N, y_N))


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The object that `adjudge compare --json` prints, made of plain values.

    The keys `gain` to `cost_ratio` of a row are those of the second arm against the first, None where there is one arm;
    `contrasts` has every arm against the first.
    """
    plain = msgspec.to_builtins
    pairs = [{"base": x, "other": y, **plain(a)} for (x, y), a in comparison.agreements.items()]
    return {
        "rows": [_row_json(row) for row in comparison.rows],
        "evaluator": comparison.evaluator,
        "arms": list(comparison.arms),
        "by": comparison.by,
        "unread": comparison.unread,
        "level": comparison.level,
        "alone": plain(comparison.alone),
        "agreements": pairs,
        "notes": list(comparison.notes),
    }


def _row_json(row: Row) -> dict[str, Any]:
    plain = msgspec.to_builtins
    first = next(iter(row.contrasts.values()), None)
    gain = first.gain if first else None
    return {
        "domain": row.domain,
        "n": row.n,
        "accuracy": {name: arm.accuracy and arm.accuracy.value for name, arm in row.arms.items()},
        "output_tokens": {name: arm.output_tokens for name, arm in row.arms.items()},
        "gain": gain and gain.value,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "cost_ratio": first and first.cost_ratio,
        "mcnemar_p": first and first.mcnemar_p,
        "alpha": row.alpha,
        "arms": plain(row.arms),
        "contrasts": [{"base": x, "other": y, **plain(c)} for (x, y), c in row.contrasts.items()],
    }
