"""Records -> the controlled comparison of arms (arXiv 2605.10805): accuracy, gain and cost on the same instances.

Two views, kept apart. `rows` is *paired*: every figure is taken over the instances that all compared arms judged, so
that their differences are due to the arms. `alone` is each arm over everything it judged.

Accuracy counts each order that was run once: right 1, tie 0.5, what is no verdict 0 (`unread="left-out"`: not counted).
Where verdicts of two arms are set against each other (McNemar, agreement, kappa, alpha) the pair counts once, by
`Judgment.outcome`: two orders that disagree are a tie.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from adjudge import metrics
from adjudge.columns import ABSENT, CODE, TIE, UNREAD, ArmColumns, Columns, appearances, gather
from adjudge.comparison import ALL, Agreement, ArmRow, Comparison, Contrast, Row, Unread
from adjudge.errors import ConfigError, DataError
from adjudge.metrics import Estimate
from adjudge.types import Outcome, Record

NO_GROUP = "(none)"
MAX_ROWS = 1000


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
    _check_by(columns, by)
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
        resamples=resamples,
        seed=seed,
        rows=tuple(rows),
        alone={arm: _alone(columns, rows[0], arm, how) for arm in chosen},
        agreements={(x, y): _agreement(columns.arms[x], columns.arms[y]) for x, y in combinations(chosen, 2)},
        notes=(*_notes(columns, shared, chosen), *_failures(shared, how), *_parted(rows[0], how)),
    )


def _group(by: str) -> Callable[[Record], str]:
    if by == "domain":
        return lambda record: record.pair.domain or NO_GROUP
    if by == "source":
        return lambda record: record.pair.source or NO_GROUP
    if by == "evaluator":
        return lambda record: record.evaluator
    return lambda record: str(record.pair.meta.get(by, NO_GROUP))


def _check_by(columns: Columns, by: str) -> None:
    known = {"domain", "source", "evaluator"} | columns.keys
    if by not in known:
        raise ConfigError(f"no pair carries the key {by!r}{_nearest(by, known)}; known: {_listed(sorted(known))}")
    if len(columns.groups) > MAX_ROWS:
        raise ConfigError(f"{by!r} has {len(columns.groups):,} values, over {MAX_ROWS:,}; give --by a coarser key")


def _evaluator(columns: Columns, evaluator: str | None, by: str) -> str:
    known = columns.evaluators
    if not known:
        raise DataError("there are no records", remedy="judge or import some first")
    listed = _listed(f"{name} ({count})" for name, count in known.items())
    if evaluator is not None:
        if evaluator not in known:
            raise ConfigError(f"no evaluator {evaluator!r}{_nearest(evaluator, known)}; known: {listed}")
        return evaluator
    if len(known) > 1 and by != "evaluator":
        raise ConfigError(f"the records are of {len(known)} evaluators; name one with --evaluator: {listed}")
    return next(iter(known)) if len(known) == 1 else _listed(known)


def _choose(columns: Columns, arms: Sequence[str] | None) -> tuple[str, ...]:
    counts = appearances(columns)
    listed = _listed(f"{name} ({count})" for name, count in counts.items())
    if not counts:
        raise DataError("the records hold no judgments", remedy="judge the pairs first")
    if arms is None and len(counts) > 2:
        raise ConfigError(f"name the arms to compare with --arms CHEAP,REASONING (or all): {listed}")
    if arms is None or list(arms) == [ALL]:
        return tuple(sorted(counts, key=lambda arm: _tokens(columns.arms[arm])))
    if not arms:
        raise ConfigError(f"no arm is named; known: {listed}")
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


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = [name if name.isprintable() else repr(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _notes(columns: Columns, shared: Columns, arms: Sequence[str]) -> Iterator[str]:
    counts = {name: count for name, count in appearances(columns).items() if count > len(shared.gold_N)}
    if counts and len(arms) > 1:
        lost = [f"{count - len(shared.gold_N):,} of {count:,} of {name}" for name, count in counts.items()]
        yield f"judgments left unpaired because another arm did not judge the pair: {', '.join(lost)}"
    idle = {name: int((arm.judged_N & (arm.outcomes() == ABSENT)).sum()) for name, arm in columns.arms.items()}
    if any(idle.values()):
        listed = [f"{count:,} of {name}" for name, count in idle.items() if count]
        yield f"judgments that recorded neither order, and count in no share: {', '.join(listed)}"
    if columns.unbought:
        listed = [f"{count:,} of {name}" for name, count in columns.unbought.items()]
        yield f"judgments that a cap kept from being bought, left out here: {', '.join(listed)}; raise --cap-usd"
    without = int((shared.gold_N < 0).sum())
    if without and without == len(shared.gold_N):
        yield "no pair has a gold label, so nothing is said about accuracy"
    elif without:
        yield f"{without:,} of {len(shared.gold_N):,} pairs have no gold label and count in no accuracy"


def _failures(shared: Columns, how: _How) -> Iterator[str]:
    """What no answer came for says nothing about the judge."""
    failed = {name: int((arm.outcomes() == CODE[Outcome.FAILED]).sum()) for name, arm in shared.arms.items()}
    if any(failed.values()):
        listed = ", ".join(f"{count:,} of {len(shared.gold_N):,} of {name}" for name, count in failed.items() if count)
        counted = "count as wrong (--unread left-out: not at all)" if how.unread == "wrong" else "count in no accuracy"
        yield (
            f"judgments that failed: {listed}; they {counted} and draw the means of tokens and cost down; "
            "run `adjudge judge` again to have them"
        )


def _parted(overall: Row, how: _How) -> Iterator[str]:
    """Where McNemar's test and the gain point in opposite directions, which needs an explanation."""
    for (base, other), contrast in overall.contrasts.items():
        settled, p = contrast.only_other - contrast.only_base, contrast.mcnemar_p
        if contrast.gain is None or p is None or p >= 1 - how.level or contrast.gain.value * settled >= 0:
            continue
        more, fewer = (other, base) if contrast.gain.value > 0 else (base, other)
        counts = f"{contrast.only_other:,} won, {contrast.only_base:,} lost by {other}"
        yield (
            f"{more} earns more per order than {fewer} and yet is right on fewer pairs outright ({counts}): "
            "it ties more, or its orders disagree more"
        )


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
    if not columns.repeats:
        return values_N.astype(np.int64)
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


def _alone(columns: Columns, overall: Row, name: str, how: _How) -> ArmRow:
    judged = columns.arms[name].judged_N
    return overall.arms[name] if judged.sum() == overall.n else _arm_row(columns.at(judged), name, how)


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
    only_x, only_y = int((counted & x_right & ~y_right).sum()), int((counted & y_right & ~x_right).sum())
    x_reward, y_reward = _reward(columns, x, how.unread), _reward(columns, y, how.unread)
    ahead = np.sign(y_reward[0] * x_reward[1] - x_reward[0] * y_reward[1])
    return Contrast(
        gain=metrics.paired_gain(x_reward, y_reward, level=how.level, resamples=how.resamples, seed=how.seed),
        n=int(((x_reward[1] > 0) | (y_reward[1] > 0)).sum()),
        better=int((ahead > 0).sum()),
        worse=int((ahead < 0).sum()),
        only_base=only_x,
        only_other=only_y,
        mcnemar_p=metrics.mcnemar(only_x, only_y) if counted.any() and not columns.repeats else None,
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


__all__ = ["ALL", "Agreement", "ArmRow", "Comparison", "Contrast", "Row", "compare"]
