"""What trainers need that ask for a few rollouts of a step at a time, and cannot leave one out."""

import itertools
from collections.abc import Sequence

from adjudge.errors import ConfigError
from adjudge.judging.stand_in import StandIn
from adjudge.lab.reward.beside import Beside
from adjudge.lab.reward.judge_reward import JudgeReward, Scored
from adjudge.lab.scoring import TOP, Asked


class PartialSteps:
    """A JudgeReward asked in parts: steps are counted by rollouts (`step_size` of its settings), gaps are filled.

    Raises ConfigError where the settings need a step and nobody says how large one is.
    """

    def __init__(self, reward: JudgeReward, trainer: str) -> None:
        settings = reward.settings
        if not settings.step_size and (settings.stop_after or settings.capped):
            raise ConfigError(
                f"{trainer} asks for parts of a step and does not say of which; set step_size to the rollouts of a "
                "step that come to one process"
            )
        self.beside = Beside(reward)
        self._trainer = trainer
        self._step_size = settings.step_size
        self._stand_in = StandIn(0.5 if reward.unit == "group" else TOP / 2)
        self._seen = 0
        self._numbers = itertools.count()

    async def judged(self, prompts: Sequence[str], responses: Sequence[str], rubrics: Sequence[str]) -> "Filled":
        asked, step = self._asked(prompts, responses, rubrics)
        return self._filled(prompts, await self.beside.judged_async(asked, step))

    def judged_now(self, prompts: Sequence[str], responses: Sequence[str], rubrics: Sequence[str]) -> "Filled":
        asked, step = self._asked(prompts, responses, rubrics)
        return self._filled(prompts, self.beside.judged(asked, step))

    def check_alone(self, instead: str) -> None:
        """Raises ConfigError for a judge that compares, where rollouts come one by one."""
        if self.beside.reward.unit == "group":
            raise ConfigError(
                f"judge {self.beside.reward.judge.name} compares the rollouts of a prompt, and {self._trainer} asks "
                f"for one at a time; {instead}, or take a judge that rates"
            )

    def close(self) -> None:
        self.beside.close()

    def _asked(
        self, prompts: Sequence[str], responses: Sequence[str], rubrics: Sequence[str]
    ) -> tuple[list[Asked], int]:
        step = self._seen // self._step_size if self._step_size else 0
        self._seen += len(prompts)
        asked = [
            Asked(str(next(self._numbers)), prompt, response, rubric=rubric)
            for prompt, response, rubric in zip(prompts, responses, rubrics, strict=True)
        ]
        return asked, step

    def _filled(self, prompts: Sequence[str], scored: Scored) -> "Filled":
        return Filled(self._stand_in.fill(prompts, scored.rewards), scored)


class Filled:
    """`values`: a number for each rollout; `judged`: 1 where it is a verdict's, 0 where it stands in for one."""

    def __init__(self, values: list[float], scored: Scored) -> None:
        self.values = values
        self.judged = [float(score.value is not None) for score in scored.scores]
