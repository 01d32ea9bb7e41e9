"""A JudgeReward as verl's reward: `compute_score` for each rollout, `compute_scores` for the manager `batch`.

verl finds the function by file and name. A file of one's own makes the judge and names one of these methods:

    compute_score = VerlReward(reward).compute_score

verl knows no rollout without a reward, so one without a verdict gets a stand-in (stand_in.py) and `judged` 0, which
verl logs. It does not pass the prompt either: put its text into each row's `extra_info`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.errors import DataError
from adjudge.lab.adapters.partial import Filled, PartialSteps
from adjudge.lab.adapters.texts import text_of
from adjudge.lab.reward.judge_reward import JudgeReward


class VerlReward:
    """`prompt_key`, `rubric_key`: where `extra_info` holds the prompt and, if it does, a rubric.

    Raises ConfigError where the reward's settings do not say how many rollouts make a step.
    """

    def __init__(self, reward: JudgeReward, *, prompt_key: str = "prompt", rubric_key: str = "rubric") -> None:
        self._parts = PartialSteps(reward, "verl")
        self._prompt_key, self._rubric_key = prompt_key, rubric_key

    async def compute_score(
        self,
        data_source: str,  # noqa: ARG002 -- verl's signature
        solution_str: str,
        ground_truth: Any,  # noqa: ARG002
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, float]:
        """{"score", "judged"} of one rollout, judged as soon as it has been generated."""
        self._parts.check_alone('use compute_scores with reward_manager "batch"')
        prompts, rubrics = self._read([extra_info])
        return _rows(await self._parts.judged(prompts, [solution_str], rubrics))[0]

    def compute_score_now(
        self,
        data_source: str,  # noqa: ARG002
        solution_str: str,
        ground_truth: Any,  # noqa: ARG002
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, float]:
        """The same for callers that wait; verl calls it in a pool of threads."""
        self._parts.check_alone('use compute_scores_now with reward_manager "batch"')
        prompts, rubrics = self._read([extra_info])
        return _rows(self._parts.judged_now(prompts, [solution_str], rubrics))[0]

    async def compute_scores(
        self,
        data_sources: Sequence[str],  # noqa: ARG002
        solution_strs: Sequence[str],
        ground_truths: Sequence[Any],  # noqa: ARG002
        extra_infos: Sequence[Mapping[str, Any] | None],
        **_: Any,
    ) -> list[dict[str, float]]:
        """{"score", "judged"} of each rollout of a chunk; those of one prompt in it are a group."""
        prompts, rubrics = self._read(extra_infos)
        return _rows(await self._parts.judged(prompts, solution_strs, rubrics))

    def compute_scores_now(
        self,
        data_sources: Sequence[str],  # noqa: ARG002
        solution_strs: Sequence[str],
        ground_truths: Sequence[Any],  # noqa: ARG002
        extra_infos: Sequence[Mapping[str, Any] | None],
        **_: Any,
    ) -> list[dict[str, float]]:
        """The same for callers that wait."""
        prompts, rubrics = self._read(extra_infos)
        return _rows(self._parts.judged_now(prompts, solution_strs, rubrics))

    def close(self) -> None:
        """Write what is left and close the judge."""
        self._parts.close()

    def _read(self, extra_infos: Sequence[Mapping[str, Any] | None]) -> tuple[list[str], list[str]]:
        infos = [info or {} for info in extra_infos]
        for info in infos:
            if self._prompt_key not in info:
                raise DataError(
                    f"verl's extra_info holds no {self._prompt_key!r}, only {sorted(info)}",
                    remedy="put the prompt's text there when the data set is made, or name its key: prompt_key",
                )
        return [text_of(i[self._prompt_key]) for i in infos], [i.get(self._rubric_key) or "" for i in infos]


def _rows(filled: Filled) -> list[dict[str, float]]:
    rows = zip(filled.values, filled.judged, strict=True)
    return [{"score": value, "judged": judged} for value, judged in rows]
