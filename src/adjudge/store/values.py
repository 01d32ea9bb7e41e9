"""What goes into a store and comes out of it, beside pairs and judgments."""

from enum import StrEnum
from typing import NamedTuple

from adjudge.types import Judgment, Pair


class Claim(StrEnum):
    MINE = "mine"  # this run is to buy it
    DONE = "done"  # bought before, with an outcome other than `failed`
    BUSY = "busy"  # being bought: by another run that is alive, or under an earlier claim of this one


class Wanted(NamedTuple):
    """A judgment that a run wants. `key` is digest(pair.content_key(), arm_key)."""

    key: str
    pair_key: str
    arm_key: str
    arm: str


class Bought(NamedTuple):
    wanted: Wanted
    pair: Pair
    judgment: Judgment


class RunInfo(NamedTuple):
    id: int
    interrupted: int  # judgments that were in flight when an earlier run of this store died; they are bought again


class Spend(NamedTuple):
    """What was bought, summed over judgments (every attempt at one, the failed ones too)."""

    judgments: int
    calls: int
    prompt_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced_calls: int  # calls whose usage or price is not known: never counted as free
    unmetered_calls: int  # attempts that may have been billed without saying what
