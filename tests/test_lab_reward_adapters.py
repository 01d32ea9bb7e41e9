"""Judges as rewards of TRL, verl and OpenRLHF: the shapes that each asks for, and nothing made up for what is None."""

import asyncio
import inspect
import re
import threading
from types import SimpleNamespace

import pytest

from adjudge.errors import ConfigError, DataError, RewardError
from adjudge.judging.stand_in import StandIn
from adjudge.lab.adapters.openrlhf import OpenRlhfReward
from adjudge.lab.adapters.trl import TrlReward
from adjudge.lab.adapters.verl import VerlReward
from adjudge.lab.reward import arm_judge
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.lab.reward.beside import Beside
from adjudge.lab.reward.figures import RewardSettings
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.store.store import Store
from adjudge.types import Reply, Usage
from tests.judging import by_length, shown
from tests.lab_arms import SETTINGS, Model, asked

PART = RewardSettings(step_size=4)


def fussy(ask):
    """Rates by length, and says nothing that can be read of what begins with a question mark."""
    if any(re.search(r"<<<RESPONSE \w{12}>>>\n\?", message.content) for message in ask.messages):
        return Reply(text="Hm.", usage=Usage(1, 2))
    return by_length(ask)


@pytest.fixture
def model(monkeypatch):
    made = Model(fussy)
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: made)
    return made


def reward(name="rate", settings=None, **more):
    return JudgeReward(ArmJudge(SETTINGS, name), settings, **more)


# -- beside the training


def test_any_thread_or_loop_may_ask_and_late_scores_arrive_between_the_calls(model):
    beside = Beside(reward())
    assert beside.judged(asked("aa", "aaa")).rewards == [2.0, 3.0]
    assert asyncio.run(beside.judged_async(asked("aaaa"))).rewards == [4.0]
    assert asyncio.run(beside.judged_async(asked("aa"))).figures.cached == 1
    beside.start(asked("aaaaa"))
    assert beside.judged(asked("aaaaa")).figures.cached == 1
    beside.close()
    assert model.closed
    assert not any(thread.name == "judge" for thread in threading.enumerate())
    beside.close()


# -- TRL


def test_trl_is_given_a_reward_per_completion_and_none_where_there_is_no_verdict(model):
    judge = TrlReward(reward())
    extra, metrics = {}, {}
    rewards = asyncio.run(
        judge(
            prompts=["p", "p", [{"role": "user", "content": "q"}]],
            completions=["aa", "?", [{"role": "assistant", "content": "aaaa"}]],
            completion_ids=[[1], [2], [3]],
            rubric=["Is long.", None, ""],
            topic=["x", "y", "z"],
            trainer_state=SimpleNamespace(global_step=5),
            log_extra=extra.__setitem__,
            log_metric=metrics.__setitem__,
        )
    )
    assert rewards == [2.0, None, 4.0]
    assert judge.__name__ == "rate"
    assert inspect.iscoroutinefunction(judge.__call__)
    assert extra["judge_outcome"] == ["verdict", "unread", "verdict"]
    assert extra["judge_reply"][0] == "2"
    assert metrics["judge/verdicts"] == pytest.approx(2 / 3)
    assert metrics["judge/judgments"] == 3
    first = [ask for ask in model.asks if ask.kind == "score"]
    assert [shown(ask).get("RUBRIC") for ask in first] == ["Is long.", None, None]
    assert [shown(ask)["PROMPT"] for ask in first] == ["p", "p", "q"]
    assert judge.beside.reward.figures(5).asked == 3
    judge.close()


def test_trl_completions_of_equal_prompts_are_a_group(model):
    judge = TrlReward(reward("compare"))
    assert asyncio.run(judge(["p", "p", "q", "q"], ["aa", "a", "a", "aaa"], [])) == [1.0, 0.0, 0.0, 1.0]
    judge.close()


def test_the_judge_may_be_shown_another_column_than_the_prompt(model):
    judge = TrlReward(reward(), prompt_column="brief")
    asyncio.run(judge(["<|brief|>p"], ["aa"], [], brief=["the brief"]))
    assert shown(model.asks[0])["PROMPT"] == "the brief"
    judge.close()


def test_trl_ends_where_a_step_has_no_verdict(model):
    judge = TrlReward(reward())
    with pytest.raises(RewardError, match="2 unread"):
        asyncio.run(judge(["p", "p"], ["?", "? x"], []))
    judge.close()


def test_rollouts_that_ended_early_are_judged_while_others_are_generated(model):
    judge = TrlReward(reward())
    judge.begin(["p"], ["aa"], step=1)
    rewards = asyncio.run(judge(["p", "p"], ["aa", "aaa"], [], trainer_state=SimpleNamespace(global_step=1)))
    assert rewards == [2.0, 3.0]
    assert len(model.asks) == 2
    judge.close()


@pytest.mark.filterwarnings("ignore")
def test_a_real_grpo_step_of_trl_is_rewarded(model, tmp_path):
    pytest.importorskip("trl", reason="the extra `lab` is not installed")
    from bench.tiny_grpo import trainer

    store = Store.open(str(tmp_path / "j.db"))
    judge = TrlReward(reward("rate", store=store))
    seen = []

    class Watched:
        __name__ = "watched"

        async def __call__(self, **given):
            rewards = await judge(**given)
            if given["trainer_state"].global_step == 0:
                rewards[1] = None  # TRL has to leave one out
            seen.append(rewards)
            return rewards

    training = trainer(Watched(), tmp_path / "out", prompts=2, group=2, steps=2)
    training.train()
    judge.close()
    assert [len(rewards) for rewards in seen] == [4, 4]
    (first, second), _ = ([row for row in training.state.log_history if "reward" in row], None)
    known = [value for value in seen[0] if value is not None]
    assert first["reward"] == pytest.approx(sum(known) / 3)
    assert second["reward"] == pytest.approx(sum(seen[1]) / 4)
    assert first["judge/verdicts"] == 1.0
    kept = [record.pair for record in store.records()]
    assert {pair.meta["step"] for pair in kept} == {0, 1}
    assert len(kept) == len({(pair.prompt, pair.texts) for pair in kept}), "each judgment once"
    store.close()


# -- trainers that cannot leave a rollout out


def test_what_stands_in_is_the_mean_of_the_prompts_other_rewards():
    fill = StandIn(4.5).fill
    assert fill(["p", "q"], [None, None]) == [4.5, 4.5], "nothing is known"
    assert fill(["p", "p", "p", "q"], [2.0, None, 4.0, 9.0]) == [2.0, 3.0, 4.0, 9.0]
    assert fill(["p", "r"], [None, None]) == [3.0, 5.0], "of the prompt before, of all before"


@pytest.mark.parametrize("adapter", [VerlReward, OpenRlhfReward])
@pytest.mark.parametrize("settings", [RewardSettings(), RewardSettings(stop_after=0, cap_judgments=3)])
def test_a_trainer_that_does_not_say_the_step_needs_its_size(adapter, settings):
    with pytest.raises(ConfigError, match="step_size"):
        adapter(reward(settings=settings))


def test_verl_is_given_a_score_and_whether_it_is_a_verdicts(model):
    judge = VerlReward(reward(settings=PART))
    assert inspect.iscoroutinefunction(judge.compute_score), "verl looks at it to await it"

    async def work():
        return await asyncio.gather(
            *(
                judge.compute_score(data_source="d", solution_str=text, ground_truth=None, extra_info={"prompt": "p"})
                for text in ("aa", "aaaa")
            )
        )

    assert asyncio.run(work()) == [{"score": 2.0, "judged": 1.0}, {"score": 4.0, "judged": 1.0}]
    unread = judge.compute_score_now("d", "?", None, {"prompt": [{"role": "user", "content": "p"}]}, reward_router="x")
    assert unread == {"score": 3.0, "judged": 0.0}
    judge.close()


def test_verl_steps_are_counted_by_rollouts(model):
    judge = VerlReward(reward(settings=RewardSettings(step_size=2, cap_judgments=1)))
    rows = [judge.compute_score_now("d", "a" * n, None, {"prompt": "p"}) for n in range(1, 5)]
    assert [row["judged"] for row in rows] == [1.0, 0.0, 1.0, 0.0]
    judge.close()


def test_verls_batch_manager_gives_whole_groups_to_a_judge_that_compares(model):
    judge = VerlReward(reward("compare", PART))
    with pytest.raises(ConfigError, match="batch"):
        judge.compute_score_now("d", "aa", None, {"prompt": "p"})
    infos = [{"prompt": "p"}, {"prompt": "q"}, {"prompt": "p"}, {"prompt": "q"}]
    rows = asyncio.run(judge.compute_scores(["d"] * 4, ["aa", "a", "a", "aaa"], [None] * 4, infos))
    assert [row["score"] for row in rows] == [1.0, 0.0, 0.0, 1.0]
    assert judge.compute_scores_now(["d"] * 4, ["aa", "a", "a", "aaa"], [None] * 4, infos) == rows
    judge.close()


def test_verl_without_the_prompt_is_told_where_to_put_it(model):
    with pytest.raises(DataError, match=r"no 'prompt', only \['index'\].*prompt_key"):
        VerlReward(reward(settings=PART)).compute_score_now("d", "aa", None, {"index": 3})


def test_openrlhf_is_answered_in_its_form(model):
    judge = OpenRlhfReward(reward(settings=PART), prompt_of=lambda text: text.strip("<|user> \n"))
    prompt = "<|user|> Say a. <|assistant|>"
    posted = {
        "query": [f"<s>{prompt}aaa<|im_end|>\n<|endoftext|>", f"{prompt}aaaaa</s>", f"{prompt}?"],
        "prompts": [prompt] * 3,
        "labels": [None] * 3,
    }
    assert asyncio.run(judge.answer(posted)) == {
        "rewards": [3.0, 5.0, 4.0],
        "scores": [3.0, 5.0, 4.0],
        "extra_logs": {"judged": [1.0, 1.0, 0.0]},
    }
    assert [shown(ask)["RESPONSE"] for ask in model.asks if ask.kind == "score"] == ["aaa", "aaaaa", "?"]
    judge.close()


def test_openrlhfs_labels_may_be_rubrics(model):
    judge = OpenRlhfReward(reward(settings=PART), labels_are_rubrics=True)
    assert judge.reward_func(["paa"], ["p"], ["Is long."])["rewards"] == [2.0]
    assert shown(model.asks[0])["RUBRIC"] == "Is long."
    judge.close()


@pytest.mark.parametrize(
    ("posted", "says"),
    [
        ({"query": ["paa"]}, "'prompts' is no list of texts"),
        ({"query": "paa", "prompts": ["p"]}, "'query' is no list"),
        ({"query": ["paa", "pa"], "prompts": ["p"]}, "2 queries and 1 prompts"),
        ({"query": ["xaa"], "prompts": ["p"]}, "does not hold its prompt"),
    ],
)
def test_what_is_no_reward_request_is_refused(model, posted, says):
    with pytest.raises(DataError, match=says):
        asyncio.run(OpenRlhfReward(reward(settings=PART)).answer(posted))
