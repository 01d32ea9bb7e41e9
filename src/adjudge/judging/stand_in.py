"""A number for rollouts without a verdict, where the trainer cannot leave a rollout out (verl, OpenRLHF).

The mean of what the other rollouts of the same prompt got: the value that comes closest to no advantage, neither way.
It is marked as what it is in what the trainer logs. Where nothing of the prompt is known, the mean of the last rewards;
before there are any, the middle of the scale.
"""

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

RECENT = 512  # rewards of all prompts
OF_A_PROMPT = 32
PROMPTS = 1024


class StandIn:
    """`middle`: of the judge's scale."""

    def __init__(self, middle: float) -> None:
        self._middle = middle
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._by_prompt: OrderedDict[str, deque[float]] = OrderedDict()

    def fill(self, prompts: Sequence[str], rewards: Sequence[float | None]) -> list[float]:
        """The rewards, with a number for each None."""
        for prompt, reward in zip(prompts, rewards, strict=True):
            if reward is not None:
                self._recent.append(reward)
                self._by_prompt.setdefault(prompt, deque(maxlen=OF_A_PROMPT)).append(reward)
                self._by_prompt.move_to_end(prompt)
        while len(self._by_prompt) > PROMPTS:
            self._by_prompt.popitem(last=False)
        now: dict[str, list[float]] = {}
        for prompt, reward in zip(prompts, rewards, strict=True):
            now.setdefault(prompt, []).extend([] if reward is None else [reward])
        filled = zip(prompts, rewards, strict=True)
        return [self._mean(now[prompt], prompt) if reward is None else reward for prompt, reward in filled]

    def _mean(self, now: Sequence[float], prompt: str) -> float:
        sources: Iterable[Sequence[float] | deque[float]] = (now, self._by_prompt.get(prompt, ()), self._recent)
        known = next(itertools.filterfalse(lambda some: not some, sources), None)
        return math.fsum(known) / len(known) if known else self._middle
