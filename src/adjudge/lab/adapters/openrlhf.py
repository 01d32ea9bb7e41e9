"""A JudgeReward as OpenRLHF's remote reward (`--remote_rm_url`).

OpenRLHF posts {"query": [..], "prompts": [..], "labels": [..]}, a query being the prompt and the response as the
policy's tokenizer writes them, special tokens included; it reads {"rewards": [..], "scores": [..], "extra_logs": {..}}.
Current versions (openrlhf/utils/agent.py) ask for one rollout at a time, as soon as it has been generated. `answer`
takes what is posted and gives what is to be answered; who serves it is another matter.

OpenRLHF knows no rollout without a reward: one without a verdict gets a stand-in (stand_in.py), and `judged` 0 in the
logs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adjudge.errors import DataError
from adjudge.judging.queries import response_of
from adjudge.lab.adapters.partial import Filled, PartialSteps
from adjudge.lab.reward.judge_reward import JudgeReward


class OpenRlhfReward:
    """`prompt_of`: the prompt that the judge is shown, of the prompt as it was posted (with the chat template's marks);
    `labels_are_rubrics`: what is posted as `labels` is a rubric for each prompt.

    Raises ConfigError where the reward's settings do not say how many rollouts make a step.
    """

    def __init__(
        self,
        reward: JudgeReward,
        *,
        prompt_of: Callable[[str], str] = str,
        labels_are_rubrics: bool = False,
    ) -> None:
        self._parts = PartialSteps(reward, "OpenRLHF")
        self._prompt_of, self._labels_are_rubrics = prompt_of, labels_are_rubrics

    async def answer(self, posted: Mapping[str, Any]) -> dict[str, Any]:
        """What to answer to what was posted. Raises DataError for what is no such request."""
        prompts, responses, rubrics = self._read(posted.get("query"), posted.get("prompts"), posted.get("labels"))
        return _answer(await self._parts.judged(prompts, responses, rubrics))

    def reward_func(self, queries: Sequence[str], prompts: Sequence[str], labels: Any = None) -> dict[str, Any]:
        """The same for a `reward_func` in a file of one's own, which OpenRLHF calls in a thread."""
        return _answer(self._parts.judged_now(*self._read(queries, prompts, labels)))

    def close(self) -> None:
        """Write what is left and close the judge."""
        self._parts.close()

    def _read(self, queries: Any, prompts: Any, labels: Any) -> tuple[list[str], list[str], list[str]]:
        for name, texts in (("query", queries), ("prompts", prompts)):
            if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
                raise DataError(f"a reward request's {name!r} is no list of texts", remedy="use OpenRLHF 0.6 or later")
        if len(queries) != len(prompts):
            raise DataError(f"a reward request has {len(queries):,} queries and {len(prompts):,} prompts")
        if len(queries) == 1:
            self._parts.check_alone("set it up so that a request holds the whole group")
        rubrics = list(labels) if self._labels_are_rubrics and labels else [""] * len(prompts)
        responses = [response_of(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
        return [self._prompt_of(prompt) for prompt in prompts], responses, [rubric or "" for rubric in rubrics]


def _answer(filled: Filled) -> dict[str, Any]:
    return {"rewards": filled.values, "scores": filled.values, "extra_logs": {"judged": filled.judged}}
