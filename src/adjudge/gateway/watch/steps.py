"""What grew by how much and when, in bounded memory: one step a second or a minute, none where nothing happened."""

from collections import deque
from collections.abc import Mapping

import msgspec


class Step(msgspec.Struct):
    """`t`: when it began, seconds since 1970. `v`: by the place of a name; what a count grew by in it, and what a level
    was at its end."""

    t: int
    v: dict[int, float]


class Steps:
    """The last `kept` steps of `step_s` seconds each. A level that is not told in a step was what it was before."""

    def __init__(self, step_s: int, kept: int) -> None:
        self.step_s, self.kept = step_s, kept
        self._steps: deque[Step] = deque(maxlen=kept)
        self._levels: dict[int, float] = {}

    def enter(self, now_s: float, grown: Mapping[int, float], levels: Mapping[int, float]) -> None:
        """Add to the step of this moment; a clock that was set back goes on with the last step."""
        start = int(now_s) // self.step_s * self.step_s
        while self._steps and self._steps[0].t <= start - self.kept * self.step_s:
            self._steps.popleft()
        if not grown and levels == self._levels:
            return
        if not self._steps or self._steps[-1].t < start:
            self._steps.append(Step(start, {}))
        values = self._steps[-1].v
        for place, growth in grown.items():
            values[place] = values.get(place, 0.0) + growth
        values.update(levels)
        self._levels = dict(levels)

    def since(self, t: int) -> list[Step]:
        """The steps that began at `t` or later, the oldest first."""
        found = []
        for step in reversed(self._steps):
            if step.t < t:
                break
            found.append(step)
        return found[::-1]
