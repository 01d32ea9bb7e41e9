"""A JudgeReward as a reward function of TRL (1.16): `GRPOTrainer(reward_funcs=TrlReward(reward), ...)`.

TRL asks for the rewards of a whole generation batch at once and awaits them; a reward of None leaves that rollout out
of its group's baseline and gives it no advantage. Generation and judging overlap only where rollouts come one by one:
in a `rollout_func` of one's own call `begin` for each as it ends. Of several processes each judges its own slice of
the batch, under caps of its own; groups that are compared must not be cut, so let the batch of a device be a multiple
of `num_generations`.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

from adjudge.lab.adapters.texts import Said, text_of
from adjudge.lab.reward.beside import Beside
from adjudge.lab.reward.judge_reward import JudgeReward, Scored
from adjudge.lab.scoring import Asked

REPLY_SHOWN = 2000  # characters of a judge's reply in the table of completions


class LogExtra(Protocol):
    def __call__(self, column: str, values: list[Any]) -> None: ...


class LogMetric(Protocol):
    def __call__(self, name: str, value: float) -> None: ...


class TrlReward:
    """`prompt_column`: a column of the data set that the judge is shown in place of the prompt; `rubric_column`: one
    with a rubric for each row, used where it exists. Logs shares and cost as `judge/...`, and what became of each
    rollout, with the judge's reply, in the table of completions."""

    def __init__(self, reward: JudgeReward, *, prompt_column: str = "", rubric_column: str = "rubric") -> None:
        self.__name__ = reward.judge.name  # TRL's name for it in the logs
        self.beside = Beside(reward)
        self._prompt_column, self._rubric_column = prompt_column, rubric_column
        self._numbers = itertools.count()
        self._steps = itertools.count()

    async def __call__(
        self,
        prompts: Sequence[Said],
        completions: Sequence[Said],
        completion_ids: Sequence[Sequence[int]] = (),  # noqa: ARG002 -- TRL's signature
        *,
        trainer_state: Any = None,
        log_extra: LogExtra | None = None,
        log_metric: LogMetric | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward per completion, None where there is no verdict. Raises as JudgeReward.rewards: training ends."""
        shown = columns.get(self._prompt_column, prompts) if self._prompt_column else prompts
        asked = self._asked(shown, completions, columns.get(self._rubric_column))
        step = next(self._steps) if trainer_state is None else int(trainer_state.global_step)
        scored = await self.beside.judged_async(asked, step)
        _log(scored, log_extra, log_metric)
        return scored.rewards

    def begin(self, prompts: Sequence[Said], completions: Sequence[Said], step: int, rubrics: Any = None) -> None:
        """Start to judge rollouts that have ended, while others are being generated; for a judge that compares, whole
        groups. What the trainer asks for later is then known, or on its way."""
        self.beside.start(self._asked(prompts, completions, rubrics), step)

    def close(self) -> None:
        """Write what is left and close the judge."""
        self.beside.close()

    def _asked(self, prompts: Sequence[Said], completions: Sequence[Said], rubrics: Any) -> list[Asked]:
        rubrics = rubrics if rubrics is not None else itertools.repeat("")
        return [
            Asked(str(next(self._numbers)), text_of(prompt), text_of(completion), rubric=rubric or "")
            for prompt, completion, rubric in zip(prompts, completions, rubrics, strict=False)
        ]


def _log(scored: Scored, log_extra: LogExtra | None, log_metric: LogMetric | None) -> None:
    if log_metric is not None:
        for name, value in scored.figures.metrics().items():
            log_metric(name, value)
    if log_extra is not None:
        log_extra("judge_outcome", [score.why or "verdict" for score in scored.scores])
        log_extra("judge_reply", [score.text[:REPLY_SHOWN] for score in scored.scores])
