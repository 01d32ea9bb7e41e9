"""How a judge may be used as a reward, and what became of it in each step: frozen values, and the words about them."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from adjudge.errors import ConfigError
from adjudge.lab.scoring import Score

OVER_BUDGET = "over budget"
LATE = "late"
_COUNTED = {
    "unread": "unread",
    "truncated": "truncated",
    "refused": "refused",
    OVER_BUDGET: "over_budget",
    LATE: "late",
}
_REMEDIES = {
    "unread": "read some of the judge's replies (Score.text, or the store) and mend its prompt, or set repair = true",
    "truncated": "raise the judge's max_tokens, thinking counts inside it",
    "refused": "read some of the judge's replies and mend its prompt, or take another judge",
    "failed": "see that the judge's server is up and takes the requests",
    "over_budget": "raise the cap of a step",
    "late": "raise deadline_s, or give the judge more concurrency",
}


class RewardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a judge is used as a reward. Raises ConfigError for what makes no sense.

    deadline_s: how long a call waits for the judge; what has not come by then has no reward. concurrency: portions
    (rollouts, or groups where a judge compares) under way at once. cap_judgments, cap_output_tokens, cap_usd: the most
    that one step may buy, None for no bound. cache: scores that are remembered. stop_after: so many steps in a row
    without any verdict end the training, 0 for never. step_size: rollouts of a step, for trainers that ask for a few of
    them at a time; 0 where each call holds a whole step.
    """

    deadline_s: float = 60.0
    concurrency: int = 64
    cap_judgments: int | None = None
    cap_output_tokens: int | None = None
    cap_usd: float | None = None
    cache: int = 16_384
    stop_after: int = 1
    step_size: int = 0

    def __post_init__(self) -> None:
        if not self.deadline_s > 0 or self.concurrency < 1:
            raise ConfigError(
                f"deadline_s {self.deadline_s:g} must be above 0 and concurrency {self.concurrency} at least 1"
            )
        for name in ("cap_judgments", "cap_output_tokens", "cap_usd", "cache", "stop_after", "step_size"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"{name} must be 0 or more, not {value:g}")

    @property
    def capped(self) -> bool:
        return not self.cap_judgments is self.cap_output_tokens is self.cap_usd is None


class StepFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rollouts of one step, and what their judgments cost.

    asked = verdicts + unread + truncated + refused + failed + over_budget + late. `cached` of them cost nothing: the
    same was judged before, or is being judged. `judgments` were bought, at so many tokens and dollars; the cost of
    `unpriced` ones is not known and is no part of `cost_usd`. What comes after the deadline is added when it comes.
    `seconds`: how long the trainer waited.
    """

    asked: int = 0
    cached: int = 0
    verdicts: int = 0
    unread: int = 0
    truncated: int = 0
    refused: int = 0
    failed: int = 0
    over_budget: int = 0
    late: int = 0
    judgments: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0

    def __add__(self, other: "StepFigures") -> "StepFigures":
        """
        >>> (StepFigures(asked=2, late=1) + StepFigures(asked=1)).asked
        3
        """
        return StepFigures(**{n: getattr(self, n) + getattr(other, n) for n in self.__struct_fields__})

    def metrics(self) -> dict[str, float]:
        """As trainers log them: shares of the rollouts, then totals."""
        kinds = ("verdicts", "cached", *_REMEDIES)
        shares = {f"judge/{kind}": getattr(self, kind) / max(self.asked, 1) for kind in kinds}
        totals = ("judgments", "output_tokens", "cost_usd", "unpriced", "seconds")
        return shares | {f"judge/{name}": float(getattr(self, name)) for name in totals}

    def silence(self) -> str:
        """What became of the rollouts, and what to do about the most frequent kind.

        >>> StepFigures(asked=3, truncated=3).silence()
        "3 truncated; raise the judge's max_tokens, thinking counts inside it"
        """
        counts = {kind: getattr(self, kind) for kind in _REMEDIES}
        told = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in counts.items() if n)
        return f"{told}; {_REMEDIES[max(counts, key=lambda kind: counts[kind])]}"


def count(scores: Iterable[Score]) -> StepFigures:
    """What became of rollouts, one score each. A reason that is not known is counted as failed."""
    kinds: Counter[str] = Counter()
    asked = cached = 0
    for score in scores:
        asked += 1
        cached += score.cached
        kinds["verdicts" if score.value is not None else _COUNTED.get(score.why, "failed")] += 1
    return StepFigures(asked=asked, cached=cached, **kinds)
