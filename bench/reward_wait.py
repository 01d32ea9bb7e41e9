"""How long a GRPO step of TRL waits for its judge: async and batched, against the same judge called one by one.

    python -m bench.reward_wait [--prompts 16] [--group 4] [--steps 3] [--rounds 3]

One JSON object on stdout. The judge is an arm that rates, on the scripted server in its own process on loopback, which
answers each call after `latency_s`. The policy is a random language model of 30,000 parameters; its steps are real
ones of TRL's GRPOTrainer on the CPU (generation, rewards, gradient). `one_by_one` is a plain reward function that asks
the judge for one rollout after the other, as a synchronous client in a loop does; `batched` is JudgeReward by its TRL
adapter. Both run on the same policy, prompts and seed, in turns, so that a slow moment of the machine hits both; ratios
are of neighbours. `reward_s` is the time within the reward function, `step_s` that of the whole step. The first step of
each training opens connections and warms torch up and is left out.

At a latency of 1 s only `batched` runs (64 calls in turn take over a minute): `reward_over_call` is the reward's time
over that of a single judge call, measured beside it, `step_over_call` the whole step's over it.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from adjudge.config import from_dict
from adjudge.lab.adapters.trl import TrlReward
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.lab.reward.beside import Beside
from adjudge.lab.reward.figures import RewardSettings
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.lab.scoring import Asked
from bench.tiny_grpo import trainer
from tests import scripted

RATINGS = tuple(str(rating) for rating in range(10))


class OneByOne:
    """A reward function that waits for each rollout's score before it asks for the next."""

    __name__ = "one_by_one"

    def __init__(self, reward: JudgeReward) -> None:
        self.beside = Beside(reward)
        self.waited_s: list[float] = []

    def __call__(self, prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list[float | None]:
        began = time.perf_counter()
        rewards = []
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            one = Asked(f"{trainer_state.global_step}-{i}", prompt, completion)
            rewards += self.beside.judged([one], trainer_state.global_step).rewards
        self.waited_s.append(time.perf_counter() - began)
        return rewards


class Batched(TrlReward):
    """The adapter, with a clock."""

    def __init__(self, reward: JudgeReward) -> None:
        super().__init__(reward)
        self.waited_s: list[float] = []

    async def __call__(self, *given: Any, **columns: Any) -> list[float | None]:
        began = time.perf_counter()
        rewards = await super().__call__(*given, **columns)
        self.waited_s.append(time.perf_counter() - began)
        return rewards


def judge_reward(url: str) -> JudgeReward:
    arm = {
        "server": "s",
        "model": "m",
        "protocol": "pointwise",
        "max_tokens": 8,
        "price": {"input": 1.0, "output": 4.0},
    }
    settings = from_dict({"servers": {"s": {"url": url}}, "arms": {"judge": arm}})
    return JudgeReward(ArmJudge(settings, "judge"), RewardSettings(deadline_s=120.0))


def measured(reward: OneByOne | Batched, given: argparse.Namespace) -> dict[str, float]:
    """Medians over the steps of one training, the first left out."""
    from transformers import TrainerCallback

    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        training = trainer(reward, Path(folder), prompts=given.prompts, group=given.group, steps=given.steps + 1)
        training.add_callback(Clock())
        training.train()
    reward.beside.close()
    steps = [later - earlier for earlier, later in itertools.pairwise(ended)]
    figures = reward.beside.reward.figures(given.steps)
    assert figures.verdicts == given.prompts * given.group, figures
    return {"reward_s": statistics.median(reward.waited_s[1:]), "step_s": statistics.median(steps[1:])}


def one_call_s(url: str) -> float:
    """Median time of a single judgment, the connection open."""

    async def work() -> list[float]:
        judge = judge_reward(url).judge
        times = []
        for i in range(4):
            began = time.perf_counter()
            await judge.score([Asked(str(i), "p", f"response {i}")])
            times.append(time.perf_counter() - began)
        await judge.close()  # type: ignore[attr-defined]
        return times[1:]

    return statistics.median(asyncio.run(work()))


def side_by_side(given: argparse.Namespace) -> dict[str, Any]:
    rounds: list[dict[str, dict[str, float]]] = []
    with scripted.process(scripted.Script(latency_s=0.05, says=RATINGS)) as server:
        for _ in range(given.rounds):
            slow = measured(OneByOne(judge_reward(server.url)), given)
            rounds.append({"one_by_one": slow, "batched": measured(Batched(judge_reward(server.url)), given)})
    found: dict[str, Any] = {
        way: {what: spread([one[way][what] for one in rounds]) for what in ("reward_s", "step_s")}
        for way in ("one_by_one", "batched")
    }
    for what, name in (("reward_s", "less_waiting"), ("step_s", "faster_step")):
        found[name] = spread([one["one_by_one"][what] / one["batched"][what] for one in rounds])
    return found


def at_one_second(given: argparse.Namespace) -> dict[str, Any]:
    rounds, calls = [], []
    with scripted.process(scripted.Script(latency_s=1.0, says=RATINGS)) as server:
        for _ in range(given.rounds):
            calls.append(one_call_s(server.url))
            rounds.append(measured(Batched(judge_reward(server.url)), given))
    ratios = {
        f"{what}_over_call": spread([one[f"{what}_s"] / call for one, call in zip(rounds, calls, strict=True)])
        for what in ("reward", "step")
    }
    return {"call_s": spread(calls)} | {w: spread([one[w] for one in rounds]) for w in ("reward_s", "step_s")} | ratios


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found = {"at_50_ms": side_by_side(given), "at_1_s": at_one_second(given)}
    print(json.dumps({**found, "given": vars(given)}, indent=1))


if __name__ == "__main__":
    main()
