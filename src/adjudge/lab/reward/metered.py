"""What a judge of the lab may say of itself beyond its scores. Each part is optional; `JudgeReward` asks for it."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from adjudge.judging.bounds import Spending
from adjudge.lab.reward.figures import LATE, OVER_BUDGET, StepFigures
from adjudge.lab.scoring import Asked, Score
from adjudge.types import Judgment, Pair

Unit = Literal["one", "group", "all"]


class Purchase(NamedTuple):
    """A judgment that was bought, as a store keeps it. The pair's `meta` says which rollouts it holds."""

    pair: Pair
    judgment: Judgment
    arm_key: str


class Wish(NamedTuple):
    """A judgment that is to be bought, or is there already."""

    pair: Pair
    arm_key: str
    arm: str


class Detailed(Score, frozen=True):
    """A score with the judgments that were bought for it; one that several scores rest on stands in the first."""

    bought: tuple[Purchase, ...] = ()


@runtime_checkable
class Portioned(Protocol):
    """A judge that says what it wants at once: "one" response (a server is asked call by call), a whole "group" (its
    responses are set against each other), or "all" (it works in batches, as a judge without a say is taken to)."""

    @property
    def unit(self) -> Unit: ...


@runtime_checkable
class Metered(Protocol):
    """A judge whose judgments can be kept as those of `adjudge judge`, and whose cost is bounded beforehand."""

    @property
    def evaluator(self) -> str: ...

    @property
    def priced(self) -> bool:
        """Whether the price of all that it may ask is known."""
        ...

    @property
    def definitions(self) -> dict[str, tuple[str, str]]:
        """arm key -> (arm's name, its definition as JSON), as `Store.begin_run` takes them."""
        ...

    def wishes(self, asked: Sequence[Asked]) -> list[Wish]:
        """The judgments that scoring these takes, in the order in which they are asked for."""
        ...

    def settled(self, asked: Sequence[Asked], judgments: Sequence[Judgment]) -> Sequence[Score]:
        """One score each, by the judgments of its wishes, in their order."""
        ...

    def worst(self, asked: Sequence[Asked]) -> Spending:
        """The most that judging these can take. Raises ConfigError where it cannot be said."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A judge that holds connections."""

    async def close(self) -> None: ...


def group_of(one: Asked) -> tuple[str, str, str]:
    """What the responses have in common that may be set against each other."""
    return one.prompt, one.rubric, one.group


def by_group(asked: Sequence[Asked]) -> dict[tuple[str, str, str], list[Asked]]:
    found: dict[tuple[str, str, str], list[Asked]] = {}
    for one in asked:
        found.setdefault(group_of(one), []).append(one)
    return found


def spent(scores: Sequence[Score]) -> StepFigures:
    """What scores cost, those left out for which nothing was asked."""
    judgments = unpriced = 0
    bought = [score for score in scores if not score.cached and score.why not in (LATE, OVER_BUDGET)]
    for score in bought:
        judgments += len(score.bought) if isinstance(score, Detailed) else 1
        if isinstance(score, Detailed):
            unpriced += sum(purchase.judgment.cost_usd is None for purchase in score.bought)
    return StepFigures(
        judgments=judgments,
        unpriced=unpriced,
        prompt_tokens=sum(score.usage.prompt_tokens for score in bought),
        output_tokens=sum(score.usage.output_tokens for score in bought),
        cost_usd=math.fsum(score.cost_usd for score in bought),
    )


def unbilled(scores: Sequence[Score]) -> bool:
    """Whether anything was bought that did not say what it cost."""
    calls = [c for s in scores if isinstance(s, Detailed) for bought in s.bought for c in bought.judgment.calls]
    return any(call.usage is None or call.unmetered_calls for call in calls)
