"""How good the judgments are: against the most expensive arm, where it judged them too, and against labels.

Without labels nothing says which of two verdicts is right. But where they are the same, the cheaper one lost nothing;
so what a router loses against always buying the most expensive arm is at most the share of disagreements, a tie against
a side counting half. That bound is `regret_most`. Where a label is known for an audited judgment, the loss itself is:
`regret_labelled`.

Counted are the last KEPT audits and labels. A label that is given again replaces the one before.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from adjudge.types import Outcome, Side, reward

KEPT = 10_000
LEVEL = 0.95
T = TypeVar("T")


class Audited(NamedTuple):
    """A routed judgment and what the most expensive arm said of the same pair; costs in dollars, None: not known."""

    outcome: Outcome
    dear: Outcome
    cost_usd: float | None
    dear_usd: float | None

    @property
    def result(self) -> str:
        """same | tie (one of them said so) | other | no_verdict (one of them gave none)"""
        if not (self.outcome.is_verdict and self.dear.is_verdict):
            return "no_verdict"
        if self.outcome == self.dear:
            return "same"
        return "tie" if Outcome.TIE in (self.outcome, self.dear) else "other"


class Labelled(NamedTuple):
    """A judgment whose better side somebody has told."""

    arm: str
    outcome: Outcome
    gold: Side

    @property
    def result(self) -> str:
        """right | tie | wrong | no_verdict"""
        if not self.outcome.is_verdict:
            return "no_verdict"
        return {1.0: "right", 0.5: "tie"}.get(reward(self.outcome, self.gold), "wrong")


class Share(msgspec.Struct, frozen=True):
    """A mean of n values with its 95 % interval (Wilson's; on the safe side where some values lie between the ends)."""

    n: int
    value: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True):
    """`agreement`: same verdict, of the audits in which both gave one. `saved`: the share of the most expensive arm's
    cost that the router did not spend on the audited pairs. `accuracy`: by arm, ties half, no verdict 0."""

    audits: int = 0
    agreement: Share | None = None
    regret_most: Share | None = None
    regret_labelled: Share | None = None
    saved: float | None = None
    accuracy: dict[str, Share] = {}


class Known:
    """Audits and labels by the routed judgment's key."""

    def __init__(self) -> None:
        self._audits: OrderedDict[str, Audited] = OrderedDict()
        self._labels: OrderedDict[str, Labelled] = OrderedDict()
        self._figures: Quality | None = Quality()

    def audited(self, key: str, audited: Audited) -> None:
        _keep(self._audits, key, audited)
        self._figures = None

    def labelled(self, key: str, labelled: Labelled) -> None:
        _keep(self._labels, key, labelled)
        self._figures = None

    def figures(self) -> Quality:
        """As of now; worked out anew only where something was added."""
        if self._figures is None:
            both = [(one, self._labels[key]) for key, one in self._audits.items() if key in self._labels]
            self._figures = quality(self._audits.values(), self._labels.values(), both)
        return self._figures


def quality(audits: Iterable[Audited], labels: Iterable[Labelled], both: Iterable[tuple[Audited, Labelled]]) -> Quality:
    """The figures of these audits and labels; `both`: those judgments that have either."""
    audits = list(audits)
    lost = {"same": 0.0, "tie": 0.5, "other": 1.0}
    losses = [lost[one.result] for one in audits if one.result in lost]
    by_arm: dict[str, list[float]] = {}
    for label in labels:
        by_arm.setdefault(label.arm, []).append(reward(label.outcome, label.gold))
    gained = [reward(one.dear, label.gold) - reward(one.outcome, label.gold) for one, label in both]
    paid = [(one.cost_usd, one.dear_usd) for one in audits if one.cost_usd is not None and one.dear_usd is not None]
    dear_usd = math.fsum(dear for _, dear in paid)
    return Quality(
        audits=len(audits),
        agreement=_share([float(loss == 0) for loss in losses]),
        regret_most=_share(losses),
        regret_labelled=_difference(gained),
        saved=1 - math.fsum(cost for cost, _ in paid) / dear_usd if dear_usd > 0 else None,
        accuracy={arm: found for arm, some in sorted(by_arm.items()) if (found := _share(some)) is not None},
    )


def _share(values: list[float]) -> Share | None:
    if not values:
        return None
    from adjudge.metrics import wilson  # it takes its time to import, which a gateway does not have at its start

    found = wilson(math.fsum(values) / len(values), len(values), LEVEL)
    return Share(len(values), found.value, found.low, found.high)


def _difference(values: list[float]) -> Share | None:
    """Of rewards, so -1 to 1: Wilson's interval as a share of that range, which holds at few values too."""
    found = _share([(value + 1) / 2 for value in values])
    return None if found is None else Share(found.n, *(2 * x - 1 for x in (found.value, found.low, found.high)))


def _keep(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT:
        kept.popitem(last=False)
