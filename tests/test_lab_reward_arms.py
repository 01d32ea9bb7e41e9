"""Arms and routers as judges of the lab: ratings, win rates within a group, what they cost and what is kept of them."""

import asyncio
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.config import from_dict
from adjudge.errors import BudgetError, ConfigError, Rejected, RewardError
from adjudge.judging.bounds import most
from adjudge.judging.win_rates import win_rates
from adjudge.lab.reward import arm_judge
from adjudge.lab.reward.arm_judge import ArmJudge
from adjudge.lab.reward.figures import RewardSettings
from adjudge.lab.reward.judge_reward import JudgeReward
from adjudge.lab.reward.routed_judge import routed_judge
from adjudge.lab.scoring import Asked
from adjudge.routing import registry
from adjudge.routing.evaluate import reference_cost
from adjudge.routing.features import with_text
from adjudge.routing.registry import Options
from adjudge.routing.saved import save
from adjudge.routing.table import tabulate
from adjudge.store.store import Store
from adjudge.types import Judgment, Outcome, Pair, Record, Reply, TokenChance, Usage
from tests import scripted, store_worker
from tests.judging import by_length, shown
from tests.lab_arms import ARMS, PRICE, SERVERS, SETTINGS, Model, asked

A, B, TIE, UNREAD = Outcome.A, Outcome.B, Outcome.TIE, Outcome.UNREAD


def scored(monkeypatch, judge, asked, answer=by_length):
    """The judge's scores of what is asked, by a model that is a function."""
    model = Model(answer)
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: model)

    async def work():
        try:
            return await judge.score(asked)
        finally:
            await judge.close()

    scores = asyncio.run(work())
    assert model.closed
    return scores, model


# -- win rates, by hand


def test_a_response_gets_the_share_of_the_others_that_it_beats():
    # 0 beats 1, 2 and 3; 1 beats 2 and ties with 3; 2 beats 3
    found = {(0, 1): A, (0, 2): A, (0, 3): A, (1, 2): A, (1, 3): TIE, (2, 3): A}
    assert win_rates(found, [1, 1, 1, 1]) == [1.0, 0.5, pytest.approx(1 / 3), pytest.approx(0.5 / 3)]


def test_a_comparison_without_a_verdict_counts_for_neither_side():
    found = {(0, 1): A, (0, 2): UNREAD, (1, 2): Outcome.FAILED}
    assert win_rates(found, [1, 1, 1]) == [1.0, 0.0, None]


def test_two_orders_that_disagree_are_half_a_win():
    assert win_rates({(0, 1): Judgment(arm="x", ab=A, ba=B).outcome}, [1, 1]) == [0.5, 0.5]


@given(st.lists(st.sampled_from([A, B, TIE]), min_size=6, max_size=6), st.permutations(range(4)))
def test_win_rates_follow_the_responses_and_have_the_mean_one_half(outcomes, order):
    found = dict(zip([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], outcomes, strict=True))
    rates = win_rates(found, [1] * 4)
    assert math.fsum(rates) == pytest.approx(2.0)
    moved = {}
    for (i, j), outcome in found.items():
        a, b = order[i], order[j]
        moved[min(a, b), max(a, b)] = outcome if a < b else outcome.swapped()
    again = win_rates(moved, [1] * 4)
    assert [again[place] for place in order] == rates


# -- arms that rate


def test_an_arm_that_rates_scores_each_response_alone(monkeypatch):
    scores, model = scored(monkeypatch, ArmJudge(SETTINGS, "rate"), asked("aaaa", "aaaaaaa", "aaaa"))
    assert [score.value for score in scores] == [4.0, 7.0, 4.0]
    assert {ask.kind for ask in model.asks} == {"score"}
    assert scores[0].usage == Usage(5, 7)
    assert scores[0].cost_usd == pytest.approx((5 * 1 + 7 * 10) / 1e6)


def test_the_expected_score_is_taken_where_there_are_probabilities(monkeypatch):
    def unsure(ask):
        top = ((TokenChance("7", math.log(0.5)), TokenChance("8", math.log(0.25)), TokenChance("9", math.log(0.25))),)
        return Reply(text="7", top_logprobs=top, usage=Usage(1, 1))

    (score,), model = scored(monkeypatch, ArmJudge(SETTINGS, "surely"), asked("x"), unsure)
    assert score.value == pytest.approx(0.5 * 7 + 0.25 * 8 + 0.25 * 9)
    assert model.asks[0].body["logprobs"]


def test_another_scale_is_brought_to_that_of_the_lab(monkeypatch):
    for text, value in (("1", 0.0), ("10", 9.0), ("4", 3.0)):
        (score,), _ = scored(
            monkeypatch, ArmJudge(SETTINGS, "coarse"), asked("x"), lambda ask, t=text: Reply(text=t, usage=Usage(1, 1))
        )
        assert score.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(text="It is fine.", usage=Usage(1, 9)), "unread"),
        (Reply(text="<think>so", finish_reason="length", usage=Usage(1, 9)), "truncated"),
        (Reply(refusal="No.", usage=Usage(1, 9)), "refused"),
        (Rejected("HTTP 400: no such field"), "failed"),
    ],
)
def test_a_reply_without_a_rating_has_no_value_and_says_why(monkeypatch, reply, why):
    scores, _ = scored(monkeypatch, ArmJudge(SETTINGS, "rate"), asked("x"), lambda _: reply)
    assert (scores[0].value, scores[0].why) == (None, why)
    assert scores[0].usage.output_tokens >= (0 if why == "failed" else 9), "what was billed is counted all the same"
    if why == "failed":
        assert "no such field" in scores[0].text


def test_the_whole_reply_is_kept_with_its_reasoning(monkeypatch):
    said = Reply(text="[[6]]", reasoning="Six words.", usage=Usage(1, 1))
    (score,), _ = scored(monkeypatch, ArmJudge(SETTINGS, "rate"), asked("x"), lambda _: said)
    assert score.text == "<think>Six words.</think>\n[[6]]"


def test_a_rubric_that_comes_with_a_response_is_shown(monkeypatch):
    both = [*asked("aaa", rubric="Names a year."), *asked("aaa")]
    _, model = scored(monkeypatch, ArmJudge(SETTINGS, "rate"), both)
    assert [shown(ask).get("RUBRIC") for ask in model.asks] == ["Names a year.", None]


def test_a_rubric_is_written_once_for_a_prompt(monkeypatch):
    def answer(ask):
        return Reply(text="1. Is long.", usage=Usage(1, 3)) if ask.kind == "rubric" else by_length(ask)

    scores, model = scored(monkeypatch, ArmJudge(SETTINGS, "guided"), asked("aa", "aaa", "aaaa"), answer)
    assert [score.value for score in scores] == [2.0, 3.0, 4.0]
    assert [ask.kind for ask in model.asks].count("rubric") == 1


# -- arms that compare


def test_an_arm_that_compares_scores_the_group_in_both_orders(monkeypatch):
    scores, model = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), asked("aaa", "a", "aa", "bbb"))
    # aaa ties with bbb and beats a and aa
    assert [score.value for score in scores] == [
        pytest.approx(2.5 / 3),
        0.0,
        pytest.approx(1 / 3),
        pytest.approx(2.5 / 3),
    ]
    assert len(model.asks) == 2 * 6
    assert sum((score.usage for score in scores), Usage()).output_tokens == 7 * 12


def test_a_judge_that_always_takes_the_first_gives_everybody_one_half(monkeypatch):
    def first(ask):
        return Reply(text="[[A]]", usage=Usage(1, 1))

    scores, _ = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), asked("aaa", "a", "aa"), first)
    assert [score.value for score in scores] == [0.5, 0.5, 0.5]


def test_copies_tie_without_being_asked(monkeypatch):
    scores, model = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), asked("aa", "a", "aa"))
    assert [score.value for score in scores] == [0.75, 0.0, 0.75]
    assert len(model.asks) == 2


def test_responses_to_other_prompts_or_of_other_groups_are_not_set_against_each_other(monkeypatch):
    some = [*asked("aa", "a"), *asked("aaa", "a", prompt="q"), *asked("aaaa", "a", group="2")]
    scores, model = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), some)
    assert [score.value for score in scores] == [1.0, 0.0] * 3
    assert len(model.asks) == 2 * 3


def test_a_response_alone_in_its_group_has_no_win_rate(monkeypatch):
    (score,), model = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), asked("aa"))
    assert (score.value, score.why, model.asks) == (None, "failed", [])
    assert "no other response" in score.text


def test_scores_stand_in_the_order_asked_whatever_the_groups(monkeypatch):
    plain = [*asked("aa", "a"), *asked("aaa", "a", prompt="q")]
    for order in permutations(range(4)):
        scores, _ = scored(monkeypatch, ArmJudge(SETTINGS, "compare"), [plain[i] for i in order])
        assert [score.value for score in scores] == [[1.0, 0.0, 1.0, 0.0][i] for i in order]


@pytest.mark.parametrize(
    ("name", "says"), [("writer", "writes rubrics"), ("tape", "replays"), ("mixed", "rate and arms that compare")]
)
def test_an_arm_that_cannot_judge_rollouts_is_refused(name, says):
    with pytest.raises(ConfigError, match=says):
        ArmJudge(SETTINGS, name)


# -- bounds on what they cost


@pytest.mark.parametrize("name", ["rate", "compare", "guided", "self"])
def test_no_judgment_costs_more_than_was_said_beforehand(monkeypatch, name):
    def wordy(ask):
        text = {"rubric": "x" * 200, "need": "[[yes]]"}.get(ask.kind, "y" * 100)
        prompt = sum(len(message.content) for message in ask.messages)
        return Reply(text=text, usage=Usage(prompt, ask.body["max_tokens"]))

    judge = ArmJudge(SETTINGS, name)
    some = asked("a" * 50, "b" * 70, "c")
    worst = judge.worst(some)
    scores, model = scored(monkeypatch, judge, some, wordy)
    assert sum(score.usage.output_tokens for score in scores) <= worst.output_tokens
    assert 0 < math.fsum(score.cost_usd for score in scores) <= worst.usd
    assert worst.judgments == 3
    assert any(ask.kind == "repair" for ask in model.asks)


def test_a_pair_that_cannot_be_judged_costs_nothing():
    assert most(Pair(id="x", prompt="?"), SETTINGS.arms["rate"], SETTINGS).usd == 0


ONE = ArmJudge(SETTINGS, "rate").worst(asked("a" * 60))


@pytest.mark.parametrize("cap", [{"cap_output_tokens": ONE.output_tokens + 150}, {"cap_usd": ONE.usd + 0.002}])
def test_a_step_buys_no_more_than_its_cap(monkeypatch, cap):
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: Model(by_length))

    async def work():
        reward = JudgeReward(ArmJudge(SETTINGS, "rate"), RewardSettings(**cap))
        scored = await reward.judged(asked(*("a" * n for n in range(1, 60))), 1)
        await reward.close()
        return scored.figures

    figures = asyncio.run(work())
    assert figures.verdicts >= 20, "what others turned out to cost less is used"
    assert figures.over_budget == 59 - figures.verdicts > 0
    assert figures.output_tokens <= cap.get("cap_output_tokens", math.inf)
    assert figures.cost_usd <= cap.get("cap_usd", math.inf)


def test_a_cap_in_dollars_needs_prices():
    with pytest.raises(ConfigError, match="price"):
        JudgeReward(ArmJudge(SETTINGS, "free"), RewardSettings(cap_usd=1.0))
    assert JudgeReward(ArmJudge(SETTINGS, "free"), RewardSettings(cap_output_tokens=1)).unit == "one"


# -- what is kept


def test_the_store_holds_every_comparison_once_with_calls_step_and_rollouts(monkeypatch, tmp_path):
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: Model(by_length))
    store = Store.open(str(tmp_path / "j.db"))

    async def work():
        reward = JudgeReward(ArmJudge(SETTINGS, "compare"), store=store)
        first = await reward.judged(asked("aa", "a", "aaa", group="g"), 7)
        await reward.judged(asked("aa", "a", "aaa", group="g"), 8)
        await reward.close()
        return first.figures

    figures = asyncio.run(work())
    kept = {record.pair.id: record for record in store.records(calls=True)}
    assert sorted(kept) == ["7/r0|r1", "7/r0|r2", "7/r1|r2"]
    one = kept["7/r0|r2"]
    assert one.evaluator == "m"
    assert one.pair.meta == {"step": 7, "rollouts": ["r0", "r2"], "group": "g"}
    assert (one.judgments["compare"].ab, one.judgments["compare"].ba) == (B, B)
    assert len(one.judgments["compare"].calls) == 2
    spend = store.spend()
    assert (spend.judgments, spend.calls, spend.output_tokens) == (3, 6, figures.output_tokens)
    assert spend.cost_usd == pytest.approx(figures.cost_usd)
    store.close()


def test_ratings_are_kept_without_a_gold_label(monkeypatch, tmp_path):
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: Model(by_length))
    store = Store.open(str(tmp_path / "j.db"))

    async def work():
        reward = JudgeReward(ArmJudge(SETTINGS, "rate"), store=store)
        await reward.judged([*asked("aa"), Asked("r9", "p", "aaa", rubric="R")], 7)
        await reward.close()

    asyncio.run(work())
    found = {r.pair.id: (r.pair.gold, r.pair.rubric, r.judgments["rate"].scores) for r in store.records()}
    assert found == {"7/r0": (None, None, ((2.0,),)), "7/r9": (None, "R", ((3.0,),))}
    store.close()


# -- several trainings on one store


class Slow(Model):
    """A model that takes its time."""

    async def send(self, ask):
        await asyncio.sleep(0.05)
        return await super().send(ask)


def judged_with(path, name, some, step=7, settings=None):
    """The work of one training: (what came of its step, how many judgments earlier ones had left in flight)."""

    async def work():
        with Store.open(str(path)) as store:
            reward = JudgeReward(ArmJudge(SETTINGS, name), settings, store=store)
            try:
                return await reward.judged(some, step), reward.interrupted
            finally:
                await reward.close()

    return work()


@pytest.mark.parametrize("name", ["rate", "compare"])
def test_what_two_trainings_want_at_once_is_bought_once(monkeypatch, tmp_path, name):
    model = Slow(by_length)
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: model)
    some = asked("aa", "a", "aaa", "aaaa", group="g")

    async def both():
        return await asyncio.gather(*(judged_with(tmp_path / "j.db", name, some) for _ in range(2)))

    (one, _), (other, _) = asyncio.run(both())
    assert one.rewards == other.rewards and None not in one.rewards
    calls = {"rate": 4, "compare": 12}[name]
    assert len(model.asks) == calls
    with Store.open(str(tmp_path / "j.db")) as store:
        assert store.spend().calls == calls
        assert store.spend().output_tokens == one.figures.output_tokens + other.figures.output_tokens


@pytest.mark.parametrize("name", ["rate", "compare"])
@pytest.mark.parametrize("settings", [None, RewardSettings(cap_judgments=6, stop_after=0)])
def test_a_training_that_goes_on_from_a_checkpoint_pays_nothing_for_what_it_paid_before(
    monkeypatch, tmp_path, name, settings
):
    model = Model(by_length)
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: model)
    some = asked("aa", "a", "aaa", group="g")
    first, _ = asyncio.run(judged_with(tmp_path / "j.db", name, some, settings=settings))
    bought = len(model.asks)
    again, _ = asyncio.run(judged_with(tmp_path / "j.db", name, some, settings=settings))
    assert len(model.asks) == bought
    assert again.rewards == first.rewards
    assert (again.figures.cached, again.figures.judgments, again.figures.cost_usd) == (3, 0, 0)
    asyncio.run(judged_with(tmp_path / "j.db", name, some, step=8))
    assert len(model.asks) == 2 * bought, "another step's rollouts are others, whatever they say"


def test_what_failed_in_one_training_is_bought_by_the_next(monkeypatch, tmp_path):
    answers = iter([Rejected("HTTP 400: not now"), Reply(text="5", usage=Usage(1, 1))])
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: Model(lambda _ask: next(answers)))
    for value in (None, 5.0):
        settings = RewardSettings(stop_after=0)
        scored, _ = asyncio.run(judged_with(tmp_path / "j.db", "rate", asked("aa"), settings=settings))
        assert scored.rewards == [value]


def ask_for_ever(said, path):
    """A training whose judge does not answer; says so when it is being asked."""

    class Mute(Model):
        async def send(self, ask):
            self.asks.append(ask)
            if len(self.asks) == 3:
                said.send("asked")
            await asyncio.sleep(600)

    arm_judge.open_backend = lambda *_: Mute(by_length)
    asyncio.run(judged_with(path, "rate", asked("aa", "a", "aaa")))


def test_what_was_in_flight_when_a_training_was_killed_is_counted_and_bought_by_the_next(monkeypatch, tmp_path):
    path = tmp_path / "j.db"
    Store.open(str(path)).close()
    with store_worker.started(ask_for_ever, path) as (_, said):
        assert said.recv() == "asked"
    monkeypatch.setattr(arm_judge, "open_backend", lambda *_: Model(by_length))
    scored, interrupted = asyncio.run(judged_with(path, "rate", asked("aa", "a", "aaa")))
    assert interrupted == 3
    assert scored.rewards == [2.0, 1.0, 3.0]


# -- routers


def routed_records(count, rate):
    """The dear arm is always right, the cheap one mostly; `rate`: instances of four rated responses."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        right = rng.random() < 0.7
        bill = {"prompt_tokens": 100}
        if rate:
            pair = Pair(id=f"p{i}", prompt=f"Say {i}.", responses=("aaaa", "aa", "a", "b"), gold="A", gold_index=0)
            good, bad = ((9.0,), (2.0,), (1.0,), (1.0,)), ((2.0,), (9.0,), (1.0,), (1.0,))
            cheap = Judgment(arm="cheap", ab=A if right else B, scores=good if right else bad, output_tokens=20, **bill)
            dear = Judgment(arm="dear", ab=A, scores=good, output_tokens=200, **bill)
        else:
            pair = Pair(id=f"p{i}", prompt=f"Say {i}.", response_a="aaaa", response_b="aa", gold="A")
            cheap = Judgment(arm="cheap", ab=A if right else B, output_tokens=20, **bill)
            dear = Judgment(arm="dear", ab=A, output_tokens=200, **bill)
        found.append(Record(pair=pair, evaluator="m", judgments={"cheap": cheap, "dear": dear}))
    return found


def routed_settings(protocol):
    cheap = {"server": "s", "model": "small", "protocol": protocol, "max_tokens": 20, "price": PRICE}
    arms = {"cheap": cheap, "dear": {"like": "cheap", "model": "large"}}
    return from_dict({"evaluator": "m", "servers": {"s": SERVERS["s"]}, "arms": arms})


def router(folder, rate):
    rows = routed_records(120, rate)
    table = with_text(tabulate(rows, ("cheap", "dear")), rows)
    fitted = registry.fit("racer", table, Options(), 0)
    save(folder, "racer", fitted, table, budget=4.0, reference_cost=reference_cost(table))


@pytest.mark.parametrize(("protocol", "values"), [("pairwise", [1.0, 0.0, 0.5]), ("pointwise", [4.0, 1.0, 2.0])])
def test_a_saved_router_is_a_judge(monkeypatch, tmp_path, protocol, values):
    router(tmp_path / "router", protocol == "pointwise")
    judge = routed_judge(tmp_path / "router", routed_settings(protocol))
    assert judge.unit == "group"
    some = asked("aaaa", "a", "aa")
    worst = judge.worst(some)
    scores, model = scored(monkeypatch, judge, some)
    assert [score.value for score in scores] == values
    assert {ask.arm for ask in model.asks} <= {"cheap", "dear"}
    assert sum(score.usage.output_tokens for score in scores) <= worst.output_tokens
    assert worst.judgments == (1 if protocol == "pointwise" else 3)


def test_a_routers_judge_shows_the_rubric_that_comes_with_a_response(monkeypatch, tmp_path):
    router(tmp_path / "router", rate=False)
    judge = routed_judge(tmp_path / "router", routed_settings("pairwise"))
    _, model = scored(monkeypatch, judge, asked("aaaa", "a", rubric="Is long."))
    assert {shown(ask)["RUBRIC"] for ask in model.asks} == {"Is long."}


def test_a_budget_below_the_cheapest_policy_is_refused(tmp_path):
    router(tmp_path / "router", rate=False)
    with pytest.raises(BudgetError, match="cheapest policy"):
        routed_judge(tmp_path / "router", routed_settings("pairwise"), budget=0.01)


# -- against a server


def test_what_the_server_billed_is_in_the_store_whatever_came_late_or_failed(tmp_path):
    script = scripted.Script(
        latency_s=0.3, says=("3", "7", "no rating"), faults={"500": 0.1, "429": 0.1, "broken": 0.1, "counts": 0.1}
    )
    store = Store.open(str(tmp_path / "j.db"))

    async def work():
        async with scripted.serving(script) as server:
            told = from_dict({"servers": {"s": {"url": server.url, "retries": 2}}, "arms": {"rate": ARMS["rate"]}})
            hasty = RewardSettings(deadline_s=1.0, stop_after=0, concurrency=8)
            reward = JudgeReward(ArmJudge(told, "rate"), hasty, store=store)
            await reward.judged(asked("a first one, so that what is slow once is not timed"), 0)
            scored = await reward.judged(asked(*(f"response {i}" for i in range(40))), 1)
            await reward.close()
            return scored.figures, reward.figures(1), reward.figures(0) + reward.figures(1), server.count

    first, later, both, count = asyncio.run(work())
    assert first.asked == 40
    assert first.late > 0, "not all could be judged in time"
    assert first.verdicts > 0
    assert later.judgments > first.judgments, "what came late is counted in its step"
    spend = store.spend()
    assert (spend.prompt_tokens, spend.output_tokens) == (count.prompt_tokens, count.output_tokens)
    assert spend.unmetered_calls == count.unmetered_calls > 0
    assert (both.prompt_tokens, both.output_tokens) == (count.prompt_tokens, count.output_tokens)
    assert both.judgments == spend.judgments == sum(1 for _ in store.records())
    store.close()


def test_a_server_that_is_given_up_fails_and_ends_the_training_with_its_words(tmp_path):
    async def work():
        async with scripted.serving(scripted.Script(faults={"401": 1.0})) as server:
            told = from_dict({"servers": {"s": {"url": server.url}}, "arms": {"rate": ARMS["rate"]}})
            reward = JudgeReward(ArmJudge(told, "rate"))
            try:
                await reward.rewards(asked(*(f"response {i}" for i in range(8))), 1)
            finally:
                await reward.close()

    with pytest.raises(RewardError, match=r"8 failed.*the first failure says: .*Incorrect API key"):
        asyncio.run(work())
