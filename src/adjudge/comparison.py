"""What `compare` finds, as values; the same as plain JSON."""

from typing import Any, Literal

import msgspec

from adjudge.metrics import Estimate

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

    `gain` is the difference of the accuracies shown, with a paired bootstrap interval, over the `n` instances that have
    a gold label and an order that counts. `better` and `worse` count those where other earned more, or less, than base
    (mean reward of the orders).

    McNemar's test counts an instance as right only when its outcome is the gold label, so neither a tie nor two orders
    that disagree are right: `only_base` and `only_other` are its discordant counts (right by one arm only), `mcnemar_p`
    their exact two-sided p, None where instances repeat (several evaluators). It can part from the gain: an arm that is
    right in more orders and settles fewer pairs gains by the one and loses by the other.

    The ratios are mean cost of other over base where both are known: output tokens per verdict, dollars per judgment.
    """

    gain: Estimate | None
    n: int
    better: int
    worse: int
    only_base: int
    only_other: int
    mcnemar_p: float | None
    cost_ratio: float | None
    usd_ratio: float | None
    agreement: Agreement

    @property
    def side(self) -> Literal[-1, 0, 1]:
        """1 where other is shown to gain, -1 where it is shown to lose; 0: the interval includes zero."""
        if self.gain is None or not self.gain.excludes(0):
            return 0
        return 1 if self.gain.value > 0 else -1


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
    resamples: int = 2000
    seed: int = 0

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The keys of every row's contrasts, in order."""
        return tuple((self.arms[0], other) for other in self.arms[1:])


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
        "resamples": comparison.resamples,
        "seed": comparison.seed,
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


def points(gain: float) -> str:
    """A difference of accuracies in percentage points.

    >>> points(0.1268), points(-0.0004)
    ('+12.7', '+0.0')
    """
    return f"{round(100 * gain, 1) + 0.0:+.1f}"


def times(ratio: float) -> str:
    """
    >>> times(38.07), times(0.734)
    ('38.1 x', '0.73 x')
    """
    return f"{ratio:.1f} x" if ratio >= 1 else f"{ratio:.2f} x"
