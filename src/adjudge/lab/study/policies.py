"""Stages that make policies: what they start from, and `policy-grpo`, training against a judge, watched by gold.

    brief -> group of rollouts -> judge's reward (JudgeReward) -> GRPO step (TRL)
                 `- kept in rollouts.jsonl, a sample of each nth step with gold's score

What arXiv 2603.12246 does: reward the expected score over 0 to 9, eight rollouts a prompt, no KL penalty; in pairs the
share of the group that a rollout beats.
"""

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerControl, TrainerState

from adjudge.errors import DataError
from adjudge.judging.win_rates import win_rates
from adjudge.lab.audit.auditor import Auditor
from adjudge.lab.audit.callback import AuditCallback
from adjudge.lab.audit.rollouts import ROLLOUTS, Rollout, append_rollouts, cut_half_line, read_rollouts, write_rollouts
from adjudge.lab.audit.step import Plan, drawn
from adjudge.lab.models.training import Tell, fine_tune, reinforce
from adjudge.lab.preset import Model, PolicySpec
from adjudge.lab.reward.figures import RewardSettings
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.lab.scoring import Asked, Judge
from adjudge.lab.study.gold import told_why
from adjudge.lab.study.labels import part_seed
from adjudge.lab.world import wording
from adjudge.lab.world.items import draw_items
from adjudge.types import Outcome

DEADLINE_S = 600.0  # a judge in this process is waited for: nothing else could use the time


def make_start(model: Model, base: Path, folder: Path, seed: int, tell: Tell) -> dict[str, float]:
    """Stage `policy-sft`: the base taught to write responses to briefs, as many as it has seen, and nothing else."""
    assert model.policy is not None, "only a preset with model.policy has this stage"
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    start = AutoModelForCausalLM.from_pretrained(base)
    items = draw_items(part_seed(seed, 13), model.texts, rambling=0)
    examples = [(wording.policy_prompt(brief.text()), f" {response}") for brief, response in items]
    return fine_tune(start, tokenizer, examples, model.policy, folder, seed=seed, tell=tell)


class Recorded(TrainerCallback):  # type: ignore[misc]  # transformers counts as absent for mypy
    """The reward function of a run, and its book: every rollout with its proxy, a sample of them with gold's score.

    A run that goes on from a checkpoint drops the rollouts after it, so that each stands once.
    """

    def __init__(self, reward: JudgeReward, gold: Judge, spec: PolicySpec, plan: Plan, path: Path) -> None:
        self.reward, self.gold, self.spec, self.plan, self.path = reward, gold, spec, plan, path
        self.latest: list[Rollout] = []

    async def rewards(
        self, completions: list[str], brief: list[str], trainer_state: TrainerState, **_: Any
    ) -> list[float | None]:
        step, group = trainer_state.global_step, self.spec.rl.group
        asked = [
            Asked(id=f"{step}-{k}", prompt=brief[k], response=completions[k].strip(), group=f"{step}-{k // group}")
            for k in range(len(completions))
        ]
        rewards = await self.reward.rewards(asked, step)
        if self.spec.pairwise:
            rewards = [
                share for at in range(0, len(rewards), group) for share in shares_beaten(rewards[at : at + group])
            ]
        rollouts = [
            Rollout(step=step, id=one.id, group=one.group, prompt=one.prompt, response=one.response, proxy=proxy)
            for one, proxy in zip(asked, rewards, strict=True)
        ]
        self.latest = await self._audited(rollouts) if step % self.plan.every == 0 else rollouts
        append_rollouts(self.latest, self.path)
        return rewards

    async def _audited(self, rollouts: list[Rollout]) -> list[Rollout]:
        """The same rollouts, a sample of them with gold's scores."""
        sample = [Asked(id=r.id, prompt=r.prompt, response=r.response) for r in drawn(rollouts, self.plan)]
        golds = {one.id: score.value for one, score in zip(sample, await self.gold.score(sample), strict=True)}
        return [msgspec.structs.replace(r, gold=golds.get(r.id)) for r in rollouts]

    def of_step(self, step: int) -> list[Rollout]:
        """The rollouts of the step that has just ended, where gold judged any; none of others."""
        found = [r for r in self.latest if r.step == step]
        return found if any(r.gold is not None for r in found) else []

    def on_train_begin(self, _args: Any, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        cut_half_line(self.path)
        there = self.path.exists() and self.path.stat().st_size
        kept = [r for r in read_rollouts(self.path) if r.step < state.global_step] if there else []
        write_rollouts(kept, self.path)


def shares_beaten(scores: Sequence[float | None]) -> list[float | None]:
    """Of each score the share of the group's others that it beats, a tie one half; what is None takes no part.

    >>> shares_beaten([9.0, 4.0, 4.0, None])
    [1.0, 0.25, 0.25, None]
    """
    won: dict[tuple[int, int], Outcome] = {}
    for (i, one), (j, other) in itertools.combinations(enumerate(scores), 2):
        if one is not None and other is not None:
            won[i, j] = Outcome.TIE if one == other else Outcome.A if one > other else Outcome.B
    return win_rates(won, [1] * len(scores))


def train_policy(
    spec: PolicySpec,
    judge: Judge,
    gold: Judge,
    briefs: Sequence[str],
    plan: Plan,
    start: Path,
    folder: Path,
    *,
    seed: int,
    stop: bool = False,
    tell: Tell = lambda _step, _steps: None,
) -> dict[str, float]:
    """GRPO from `start` against `judge`; rollouts in `folder`/rollouts.jsonl. `stop`: the alarm ends it."""
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(start)
    rows = [{"prompt": wording.policy_prompt(brief), "brief": brief} for brief in briefs]
    reward = JudgeReward(judge, RewardSettings(deadline_s=DEADLINE_S, stop_after=3))
    folder.mkdir(parents=True, exist_ok=True)
    book = Recorded(reward, gold, spec, plan, folder / ROLLOUTS)
    callbacks: list[TrainerCallback] = [book]
    if stop:
        callbacks.append(AuditCallback(Auditor(folder / "alarm", None, plan, plan.watch(spec.rl.steps)), book.of_step))
    return reinforce(model, tokenizer, rows, book.rewards, spec.rl, folder, seed=seed, callbacks=callbacks, tell=tell)


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
    """What gold says of responses to briefs; those without a verdict are left out.

    Raises DataError where that is more than half of them."""
    asked = [Asked(id=str(k), prompt=b, response=r) for k, (b, r) in enumerate(zip(briefs, responses, strict=True))]
    scores = asyncio.run(gold.score(asked))
    found = [score.value for score in scores if score.value is not None]
    if len(found) < len(asked) / 2:
        raise DataError(
            f"gold judged {len(found):,} of {len(asked):,} responses to held-out briefs{told_why(scores)}",
            remedy="see why, then run the same command again",
        )
    return found
