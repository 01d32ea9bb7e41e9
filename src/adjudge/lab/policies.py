"""Stage `policy-grpo`: a policy trained by GRPO against a judge, watched by gold.

    brief -> group of rollouts -> judge's reward (JudgeReward) -> GRPO step (TRL)
                 `- kept in rollouts.jsonl, a sample of each nth step with gold's score

What arXiv 2603.12246 does: reward the expected score over 0 to 9, eight rollouts a prompt, no KL penalty; in pairs the
share of the group that a rollout beats.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerControl, TrainerState

from adjudge.lab import wording
from adjudge.lab.preset import Audit, PolicySpec
from adjudge.lab.reward import JudgeReward
from adjudge.lab.reward_figures import RewardSettings
from adjudge.lab.rollouts import ROLLOUTS, Rollout, append_rollouts, read_rollouts
from adjudge.lab.scoring import Asked, Judge
from adjudge.lab.training import Tell, reinforce

DEADLINE_S = 600.0  # a judge in this process is waited for: nothing else could use the time


class Recorded(TrainerCallback):  # type: ignore[misc]  # transformers counts as absent for mypy
    """The reward function of a run, and its book: every rollout with its proxy, a sample of them with gold's score.

    A run that goes on from a checkpoint drops the rollouts after it, so that each stands once.
    """

    def __init__(self, reward: JudgeReward, gold: Judge, audit: Audit, path: Path, group: int) -> None:
        self.reward, self.gold, self.audit, self.path, self.group = reward, gold, audit, path, group

    async def rewards(
        self, completions: list[str], brief: list[str], trainer_state: TrainerState, **_: Any
    ) -> list[float | None]:
        step = trainer_state.global_step
        asked = [
            Asked(id=f"{step}-{k}", prompt=brief[k], response=completions[k].strip(), group=f"{step}-{k // self.group}")
            for k in range(len(completions))
        ]
        rewards = await self.reward.rewards(asked, step)
        golds = await self._audited(asked, step)
        append_rollouts(
            (
                Rollout(
                    step=step,
                    id=one.id,
                    group=one.group,
                    prompt=one.prompt,
                    response=one.response,
                    proxy=proxy,
                    gold=golds.get(one.id),
                )
                for one, proxy in zip(asked, rewards, strict=True)
            ),
            self.path,
        )
        return rewards

    async def _audited(self, asked: Sequence[Asked], step: int) -> dict[str, float | None]:
        """Gold's scores of this step's sample, by id."""
        if step % self.audit.every:
            return {}
        sample = sorted(asked, key=lambda one: hashlib.blake2b(one.id.encode()).digest())[: self.audit.sample]
        return {one.id: score.value for one, score in zip(sample, await self.gold.score(sample), strict=True)}

    def on_train_begin(self, _args: Any, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        kept = [r for r in read_rollouts(self.path) if r.step < state.global_step] if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        append_rollouts(kept, self.path)


def train_policy(
    spec: PolicySpec,
    judge: Judge,
    gold: Judge,
    briefs: Sequence[str],
    audit: Audit,
    start: Path,
    folder: Path,
    seed: int,
    tell: Tell,
) -> dict[str, float]:
    """GRPO from `start` against `judge`; rollouts in `folder`/rollouts.jsonl."""
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(start)
    rows = [{"prompt": wording.policy_prompt(brief), "brief": brief} for brief in briefs]
    reward = JudgeReward(judge, RewardSettings(deadline_s=DEADLINE_S, stop_after=3))
    book = Recorded(reward, gold, audit, folder / ROLLOUTS, spec.rl.group)
    return reinforce(model, tokenizer, rows, book.rewards, spec.rl, folder, seed=seed, callbacks=[book], tell=tell)


@torch.inference_mode()  # type: ignore[untyped-decorator]  # torch counts as absent for mypy
def write_responses(folder: Path, briefs: Sequence[str], seed: int, max_tokens: int, batch: int = 64) -> list[str]:
    """A policy's responses to briefs, drawn at temperature 1."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    torch.manual_seed(seed)
    found: list[str] = []
    for start in range(0, len(briefs), batch):
        prompts = [wording.policy_prompt(brief) for brief in briefs[start : start + batch]]
        given = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        made = model.generate(**given, max_new_tokens=max_tokens, do_sample=True, top_k=0)
        found += tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in found]


def gold_scores(gold: Judge, briefs: Sequence[str], responses: Sequence[str]) -> list[float]:
    """What gold says of responses to briefs; those without a verdict are left out."""
    asked = [Asked(id=str(k), prompt=b, response=r) for k, (b, r) in enumerate(zip(briefs, responses, strict=True))]
    return [score.value for score in asyncio.run(gold.score(asked)) if score.value is not None]
