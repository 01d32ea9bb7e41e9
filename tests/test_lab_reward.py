"""A judge as a reward: every rollout gets a verdict's value or None, in time, within the budget, judged once, kept."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.errors import AdjudgeError, ConfigError, RewardError, StoreError
from adjudge.judging.bounds import Spending
from adjudge.lab.reward.figures import RewardSettings, StepFigures
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.lab.reward.metered import group_of
from adjudge.lab.reward.purse import Purse
from adjudge.lab.scoring import Asked, Score
from adjudge.store.store import Store
from adjudge.types import Outcome, Usage
from tests import clock


class Rater:
    """Scores a response by its first word: a number, or what becomes of it; takes `seconds` for each call."""

    name = "rater"

    def __init__(self, unit="one", seconds=0.0):
        self.unit, self.seconds = unit, seconds
        self.calls: list[tuple[str, ...]] = []
        self.under_way = self.most_under_way = 0

    async def score(self, asked):
        self.calls.append(tuple(one.id for one in asked))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        return [self.one(one) for one in asked]

    def one(self, one):
        word = one.response.split()[0]
        if word.isalpha() and word not in ("nan", "inf"):
            return Score(None, word, text=one.response)
        return Score(float(word), text=one.response, usage=Usage(100, 10), cost_usd=0.001)


def asked(*responses, prompt="p", group=""):
    return [Asked(f"r{i}", prompt, response, group=group) for i, response in enumerate(responses)]


def made_up(work):
    return clock.run(work())


def rewarded(responses, judge=None, **settings):
    """(rewards, figures, judge) of one call in made-up time."""
    judge = judge or Rater()

    async def work():
        reward = JudgeReward(judge, RewardSettings(**settings))
        scored = await reward.judged(asked(*responses), 1)
        await reward.close()
        return scored

    scored = clock.run(work())
    return scored.rewards, scored.figures, judge


def test_what_is_no_verdict_is_none_and_counted_by_kind():
    responses = ["7", "unread", "truncated", "refused", "failed", "odd", "0"]
    rewards, figures, _ = rewarded(responses)
    assert rewards == [7.0, None, None, None, None, None, 0.0]
    assert (figures.asked, figures.verdicts, figures.unread, figures.truncated) == (7, 2, 1, 1)
    assert (figures.refused, figures.failed) == (1, 2), "a reason of the judge's own is a failure"
    assert (figures.judgments, figures.output_tokens, figures.cost_usd) == (7, 20, pytest.approx(0.002))


@pytest.mark.parametrize("unit", ["one", "group", "all"])
def test_every_rollout_is_counted_once(unit):
    responses = ["7", "7", "unread", "failed", "3 x", "3 x", "9"]
    _, f, _ = rewarded(responses, Rater(unit), cap_judgments=4, stop_after=0)
    assert f.asked == 7
    assert f.asked == f.verdicts + f.unread + f.truncated + f.refused + f.failed + f.over_budget + f.late


def test_rollouts_are_judged_at_once_and_no_more_than_the_concurrency():
    judge = Rater(seconds=1.0)
    _, figures, _ = rewarded([f"{i}" for i in range(10)], judge, concurrency=5)
    assert judge.most_under_way == 5
    assert figures.seconds == pytest.approx(2.0)


# -- judged once


def test_the_same_is_judged_once_within_a_call_and_across_steps():
    judge = Rater(seconds=1.0)

    async def work():
        reward = JudgeReward(judge)
        first = await reward.judged(asked("5", "5", "6"), 1)
        again = await reward.judged(asked("6", "5", "8"), 2)
        other_prompt = await reward.judged(asked("5", prompt="q"), 3)
        return first, again, other_prompt

    first, again, other_prompt = made_up(work)
    assert first.rewards == [5.0, 5.0, 6.0]
    assert [score.cached for score in first.scores] == [False, True, False]
    assert again.rewards == [6.0, 5.0, 8.0]
    assert (again.figures.cached, again.figures.judgments, again.figures.cost_usd) == (2, 1, pytest.approx(0.001))
    assert other_prompt.figures.cached == 0
    assert len(judge.calls) == 4


def test_what_two_calls_want_at_the_same_time_is_judged_once():
    judge = Rater(seconds=1.0)

    async def work():
        reward = JudgeReward(judge)
        return await asyncio.gather(reward.rewards(asked("5"), 1), reward.rewards(asked("5"), 1))

    assert made_up(work) == [[5.0], [5.0]]
    assert len(judge.calls) == 1


def test_a_failure_is_tried_again_and_an_unread_reply_is_not():
    judge = Rater()

    async def work():
        reward = JudgeReward(judge, RewardSettings(stop_after=0))
        for step in (1, 2):
            await reward.rewards(asked("failed", "unread"), step)

    made_up(work)
    assert judge.calls == [("r0",), ("r1",), ("r0",)]


def test_the_cache_forgets_what_was_used_least_lately():
    judge = Rater()

    async def work():
        reward = JudgeReward(judge, RewardSettings(cache=2))
        for responses in (["1", "2"], ["1"], ["3"], ["1"], ["2"]):
            await reward.rewards(asked(*responses))

    made_up(work)
    assert len(judge.calls) == 4, "1, 2, 3, and 2 again"


def test_a_group_is_judged_anew_where_another_response_stands_in_it():
    judge = Rater("group")

    async def work():
        reward = JudgeReward(judge)
        await reward.rewards(asked("1", "2"))
        await reward.rewards(asked("2", "1"))
        return await reward.judged(asked("1", "3"))

    assert made_up(work).figures.cached == 0
    assert judge.calls == [("r0", "r1"), ("r0", "r1")]


@pytest.mark.parametrize("settings", [{"cache": 1}, {"cache": 9}])
def test_a_group_of_which_a_part_was_forgotten_is_judged_as_a_whole(settings):
    judge = Rater("group")

    async def work():
        reward = JudgeReward(judge, RewardSettings(**settings))
        await reward.rewards(asked("1", "failed", "2"))
        return await reward.judged(asked("1", "failed", "2"))

    assert made_up(work).rewards == [1.0, None, 2.0]
    assert judge.calls == [("r0", "r1", "r2")] * 2


def test_groups_are_handed_over_whole_and_a_batch_at_once():
    mixed = [*asked("1", "2", prompt="p"), *asked("3", "4", prompt="q")]

    async def work(unit):
        judge = Rater(unit)
        await JudgeReward(judge).rewards(mixed)
        return [len(call) for call in judge.calls]

    assert [clock.run(work(unit)) for unit in ("one", "group", "all")] == [[1, 1, 1, 1], [2, 2], [4]]
    assert len({group_of(one) for one in mixed}) == 2


def test_judging_can_begin_while_others_are_being_generated():
    judge = Rater(seconds=1.0)

    async def work():
        reward = JudgeReward(judge)
        await reward.start(asked("5", "6"), 1)
        await asyncio.sleep(0.9)  # the rest is generated
        return await reward.judged(asked("5", "6"), 1)

    scored = made_up(work)
    assert scored.rewards == [5.0, 6.0]
    assert scored.figures.seconds == pytest.approx(0.1)
    assert len(judge.calls) == 2


# -- budget


def test_no_more_judgments_are_bought_than_the_step_may():
    judge = Rater()

    async def work():
        reward = JudgeReward(judge, RewardSettings(cap_judgments=3))
        first = await reward.judged(asked("1", "2", "3", "4", "5"), 1)
        more = await reward.judged(asked("1", "6", "7"), 1)
        next_step = await reward.judged(asked("4", "5", "6", "7"), 2)
        return first, more, next_step

    first, more, next_step = made_up(work)
    assert first.rewards == [1.0, 2.0, 3.0, None, None]
    assert (first.figures.over_budget, first.figures.failed) == (2, 0)
    assert more.rewards == [1.0, None, None], "calls of one step share its budget; what is known costs nothing"
    assert next_step.rewards == [4.0, 5.0, 6.0, None]
    assert len(judge.calls) == 6


def test_a_batch_is_cut_at_the_cap():
    rewards, figures, judge = rewarded(["1", "2", "3", "4"], Rater("all"), cap_judgments=3)
    assert rewards == [1.0, 2.0, 3.0, None]
    assert judge.calls == [("r0", "r1", "r2")]
    assert figures.over_budget == 1


WORST = st.tuples(st.integers(0, 3), st.integers(0, 50), st.floats(0, 2))


@given(st.lists(st.tuples(WORST, st.floats(0, 1), st.floats(0, 5)), max_size=12), st.integers(0, 6), st.floats(0, 4))
def test_spend_never_passes_the_cap(portions, cap_judgments, cap_usd):
    settings = RewardSettings(cap_judgments=cap_judgments, cap_output_tokens=100, cap_usd=cap_usd)

    async def buy(purse, worst, share, seconds):
        if await purse.reserve(worst):
            await asyncio.sleep(seconds)
            purse.settle(worst, Spending(worst.judgments, int(share * worst.output_tokens), share * worst.usd))
            assert purse.spent.judgments <= cap_judgments
            assert purse.spent.output_tokens <= 100
            assert purse.spent.usd <= cap_usd * (1 + 1e-9)

    async def work():
        purse = Purse(settings)
        await asyncio.gather(*(buy(purse, Spending(*worst), share, seconds) for worst, share, seconds in portions))

    clock.run(work())  # made-up time ends by itself only where nobody waits for ever


def test_a_cap_that_the_judge_cannot_bound_is_refused():
    for cap in ({"cap_usd": 1.0}, {"cap_output_tokens": 100}):
        with pytest.raises(ConfigError, match="cap_judgments"):
            JudgeReward(Rater(), RewardSettings(**cap))


# -- deadline


def test_the_judge_is_waited_for_no_longer_than_the_deadline():
    class Uneven(Rater):
        async def score(self, asked):
            self.seconds = float(asked[0].response)
            return await super().score(asked)

    rewards, figures, _ = rewarded(["1", "9", "2"], Uneven(), deadline_s=3.0)
    assert rewards == [1.0, None, 2.0]
    assert (figures.late, figures.seconds) == (1, pytest.approx(3.0))


def test_what_comes_late_is_remembered_and_its_cost_counted_in_its_step():
    async def work():
        reward = JudgeReward(Rater(seconds=5.0), RewardSettings(deadline_s=3.0, stop_after=0))
        late = await reward.judged(asked("4"), 1)
        spent_then = reward.figures(1).judgments
        await asyncio.sleep(3.0)
        return late, spent_then, reward.figures(1), await reward.judged(asked("4"), 2)

    late, spent_then, later, again = made_up(work)
    assert late.rewards == [None]
    assert late.figures == StepFigures(asked=1, late=1, seconds=3.0)
    assert (spent_then, later.judgments, later.cost_usd) == (0, 1, 0.001)
    assert again.rewards == [4.0]
    assert again.figures.seconds == 0


def test_what_had_no_turn_by_the_deadline_is_given_up():
    judge = Rater(seconds=2.0)

    async def work():
        reward = JudgeReward(judge, RewardSettings(deadline_s=3.0, concurrency=1))
        scored = await reward.judged(asked("1", "2", "3", "4"), 1)
        await asyncio.sleep(60)
        return scored

    assert made_up(work).rewards == [1.0, None, None, None]
    assert judge.calls == [("r0",), ("r1",)]


# -- nothing to learn from


def test_a_step_without_any_verdict_ends_the_training_with_counts_and_remedy():
    with pytest.raises(RewardError, match=r"rater gave no verdict on any of the last 3 .*2 truncated.*max_tokens"):
        rewarded(["truncated", "truncated x", "unread"])


def test_a_silent_step_says_what_failed_first():
    with pytest.raises(RewardError, match="the first failure says: failed to connect"):
        rewarded(["failed to connect"])


def test_training_ends_after_so_many_silent_steps_in_a_row():
    async def work():
        reward = JudgeReward(Rater(), RewardSettings(stop_after=2))
        await reward.rewards(asked("unread"), 1)
        await reward.rewards(asked("unread b", "5"), 2)
        await reward.rewards(asked("unread c"), 3)
        with pytest.raises(RewardError, match="last 2 rollouts"):
            await reward.rewards(asked("unread d"), 4)

    made_up(work)


def test_where_calls_hold_a_part_of_a_step_a_step_of_rollouts_must_be_silent():
    async def work():
        reward = JudgeReward(Rater(), RewardSettings(step_size=3))
        await reward.rewards(asked("unread a"))
        await reward.rewards(asked("unread b"))
        with pytest.raises(RewardError, match="last 3 rollouts"):
            await reward.rewards(asked("unread c"))

    made_up(work)


@pytest.mark.parametrize("word", ["nan", "inf"])
def test_a_reward_that_is_no_finite_number_is_refused(word):
    with pytest.raises(RewardError, match=rf"rater gave {word} for rollout 'r1' of step 1"):
        rewarded(["1", word])


def test_a_late_reward_that_is_no_number_ends_the_next_step():
    async def work():
        reward = JudgeReward(Rater(seconds=5.0), RewardSettings(deadline_s=3.0, stop_after=0))
        assert await reward.rewards(asked("nan"), 1) == [None]
        await asyncio.sleep(5)
        with pytest.raises(RewardError, match="gave nan"):
            await reward.rewards(asked("1"), 2)

    made_up(work)


def test_a_judge_that_gives_too_few_scores_is_refused():
    class Short(Rater):
        async def score(self, asked):
            return (await super().score(asked))[:-1]

    with pytest.raises(RewardError, match="1 scores for 2 responses"):
        rewarded(["1", "2"], Short("all"))


def test_an_empty_batch_is_no_silent_step():
    rewards, figures, _ = rewarded([])
    assert (rewards, figures.asked) == ([], 0)


@pytest.mark.parametrize("wrong", [{"deadline_s": 0}, {"deadline_s": math.nan}, {"concurrency": 0}, {"cap_usd": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RewardSettings(**wrong)


def test_settings_and_figures_cannot_be_changed():
    for value in (RewardSettings(), StepFigures()):
        with pytest.raises(AttributeError):
            value.seconds = 1.0


def test_a_second_event_loop_is_refused():
    reward = JudgeReward(Rater())
    assert asyncio.run(reward.rewards(asked("1"))) == [1.0]
    with pytest.raises(ConfigError, match="Beside"):
        asyncio.run(reward.rewards(asked("2")))


# -- the store


def test_the_store_holds_each_judgment_once_with_its_step_and_rollout(tmp_path):
    store = Store.open(str(tmp_path / "j.db"))

    async def work():
        reward = JudgeReward(Rater(), store=store)
        await reward.rewards(asked("5", "5", "unread"), 1)
        await reward.rewards(asked("5", "6"), 2)
        await reward.close()

    asyncio.run(work())
    kept = {r.pair.id: r for r in store.records()}
    assert sorted(kept) == ["1/r0", "1/r2", "2/r1"]
    assert {r.evaluator for r in kept.values()} == {"rater"}
    assert {i: (r.pair.meta, r.judgments["rater"].scores) for i, r in kept.items()} == {
        "1/r0": ({"step": 1, "rollouts": ["r0"]}, ((5.0,),)),
        "1/r2": ({"step": 1, "rollouts": ["r2"]}, ((),)),
        "2/r1": ({"step": 2, "rollouts": ["r1"]}, ((6.0,),)),
    }
    assert kept["1/r2"].judgments["rater"].outcome is Outcome.UNREAD
    assert (kept["1/r0"].pair.gold, kept["1/r0"].judgments["rater"].output_tokens) == (None, 10)
    store.close()


def test_training_ends_where_judgments_cannot_be_kept(tmp_path):
    store = Store.open(str(tmp_path / "j.db"))
    reward = JudgeReward(Rater(), store=store)

    async def work():
        await reward.rewards(asked("5"), 1)

        def full(*_):
            raise StoreError("disk full")

        store.put = full  # type: ignore[method-assign]
        for step in range(2, 200):
            await reward.rewards(asked(f"{step}"), step)
            await asyncio.sleep(0.05)

    with pytest.raises(AdjudgeError, match="disk full"):
        asyncio.run(work())
    store.close()
