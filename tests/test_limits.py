"""Rates, breaker and cap, in made-up time."""

import asyncio
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.config import Arm, Server
from adjudge.errors import BackendError, BadReply, RateLimited, Rejected, Unavailable
from adjudge.judging.asking import Asker
from adjudge.judging.budget import Budget, Spent, worst_case, worst_usd
from adjudge.judging.limits import FIRST_PATIENCE_S, LONGEST_BACKOFF_S, PATIENCE_S, Gate, Shut
from adjudge.judging.pacing import Breaker, Bucket, Window
from adjudge.types import Ask, Message, Price, Reply, Usage
from tests import clock

PRICE = Price(input=1.0, output=10.0)
ARM = Arm(name="plain", server="s", model="m", price=PRICE)


def question(number: int = 0, words: int = 10, max_tokens: int = 50) -> Ask:
    text = Message("user", "word " * words)
    return Ask(pair_id=str(number), arm="plain", kind="verdict", messages=(text,), body={"max_tokens": max_tokens})


class Fake:
    """A server in made-up time: answers `answer(now)`, an error to raise or a usage, after `latency_s`."""

    def __init__(self, answer, latency_s: float = 0.1) -> None:
        self.answer = answer
        self.latency_s = latency_s
        self.asked_at: list[float] = []
        self.now_at_once = self.most_at_once = 0

    async def send(self, ask: Ask) -> Reply:
        now = asyncio.get_running_loop().time()
        self.asked_at.append(now)
        self.now_at_once += 1
        self.most_at_once = max(self.most_at_once, self.now_at_once)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.now_at_once -= 1
        answer = self.answer(now)
        if isinstance(answer, BackendError):
            raise answer
        return Reply(text="[[A]]", usage=answer)

    async def close(self) -> None: ...


def good(_now: float) -> Usage:
    return Usage(100, 20)


def judged(
    fake: Fake, server: Server, questions: int, cap_usd: float | None = None
) -> tuple[list[Reply | Exception], float]:
    """All questions asked at once: replies or exceptions, and the made-up seconds it took."""

    async def go() -> tuple[list[Reply | Exception], float]:
        asker = Asker(fake, Gate("s", server, draw=random.Random(0)), Budget(cap_usd), server.retries)
        asks = (asker.ask(question(i), ARM) for i in range(questions))
        replies = await asyncio.gather(*asks, return_exceptions=True)
        return replies, asyncio.get_running_loop().time()

    return clock.run(go())


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    fake = Fake(good, latency_s=1.0)
    replies, seconds = judged(fake, Server(concurrency=7), 70)
    assert fake.most_at_once == 7
    assert seconds == pytest.approx(10.0)
    assert all(isinstance(r, Reply) and r.error is None for r in replies)


def test_requests_per_minute_hold_after_the_first_second() -> None:
    fake = Fake(good, latency_s=0.0)
    judged(fake, Server(requests_per_minute=600, concurrency=500), 300)
    for start in range(29):
        assert sum(start <= at < start + 1 for at in fake.asked_at) <= 21
    assert 28.0 < max(fake.asked_at) < 30.5


def test_tokens_per_minute_hold_by_what_was_billed_and_not_by_the_estimate() -> None:
    fake = Fake(lambda _: Usage(900, 100), latency_s=0.0)
    judged(fake, Server(tokens_per_minute=60_000, concurrency=500), 60)
    assert 57 <= max(fake.asked_at) <= 60  # a thousand tokens each, a thousand a second


def test_a_call_larger_than_the_burst_passes() -> None:
    fake = Fake(lambda _: Usage(5000, 100), latency_s=0.0)
    replies, _ = judged(fake, Server(tokens_per_minute=60), 1)
    assert isinstance(replies[0], Reply)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 100), st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 50)), min_size=5, max_size=60))
def test_a_bucket_never_gives_more_than_its_rate_and_one_burst_and_one_call(
    per_s: float, wishes: list[tuple[float, float]]
) -> None:
    bucket = Bucket(per_s, burst=per_s)
    now = taken = 0.0
    for later, amount in wishes:
        now += later
        while (wait := bucket.wait_s(now)) > 0:
            now += wait
        bucket.take(amount)
        taken += amount
        assert taken <= per_s * now + per_s + max(a for _, a in wishes) + 1e-6


def test_retry_after_holds_every_call() -> None:
    told = iter([RateLimited("slow down", retry_after_s=30.0)])
    fake = Fake(lambda _: next(told, Usage(100, 20)), latency_s=0.1)
    replies, _ = judged(fake, Server(concurrency=4), 40)
    assert len(replies) == 40
    assert not [at for at in fake.asked_at if 0.1 < at < 30.1]
    assert all(isinstance(r, Reply) and r.error is None for r in replies)


def test_calls_in_flight_settle_at_what_the_server_bears_and_rise_when_it_bears_more() -> None:
    """The server takes 8 calls at once and refuses the others at once; from 60 s on it takes 80."""
    taken = 0

    class Full(Fake):
        async def send(self, ask: Ask) -> Reply:
            nonlocal taken
            now = asyncio.get_running_loop().time()
            if taken >= (8 if now < 60 else 80):
                refused.append(now)
                await asyncio.sleep(0.01)
                raise RateLimited("slow down")
            taken += 1
            try:
                return await super().send(ask)
            finally:
                taken -= 1

    refused: list[float] = []
    fake = Full(good, latency_s=0.5)
    replies, seconds = judged(fake, Server(concurrency=100, retries=50), 4000)
    settled = [at for at in fake.asked_at if 20 <= at < 60]
    assert len(settled) / 40 > 0.8 * 8 / 0.5  # nearly all that the server can do
    assert len([at for at in refused if 20 <= at < 60]) < 2 * len(settled)
    late = [at for at in fake.asked_at if 80 <= at < seconds - 3]
    assert len(late) / (seconds - 3 - 80) > 0.7 * 80 / 0.5
    assert all(isinstance(r, Reply) and r.error is None for r in replies)


def test_a_slow_server_that_refuses_one_call_early_is_not_throttled_for_it() -> None:
    """Calls take a minute, as reasoning does: no rate could be known when the 429 comes."""
    refuse = iter([RateLimited("slow down")])
    fake = Fake(lambda _: next(refuse, Usage(100, 20)), latency_s=60.0)
    _, seconds = judged(fake, Server(concurrency=50), 500)
    assert seconds < 1.3 * 60 * 500 / 50


def test_a_server_of_ten_calls_a_minute_that_names_no_time_is_found_out() -> None:
    borne = Bucket(10 / 60, 1.0)

    def answer(now: float) -> Usage | BackendError:
        if borne.wait_s(now) > 0:
            return RateLimited("slow down")
        borne.take(1)
        return Usage(100, 20)

    fake = Fake(answer, latency_s=0.5)
    replies, seconds = judged(fake, Server(concurrency=8), 60)
    assert all(isinstance(r, Reply) and r.error is None for r in replies)
    assert seconds < 2.5 * 360
    assert len(fake.asked_at) < 10 * 60


def test_random_429s_slow_a_run_but_do_not_stop_it() -> None:
    draw = random.Random(1)
    fake = Fake(lambda _: RateLimited("busy") if draw.random() < 0.3 else Usage(100, 20), latency_s=0.05)
    replies, seconds = judged(fake, Server(concurrency=64), 2000)
    assert sum(isinstance(r, Reply) and r.error is None for r in replies) == 2000
    assert seconds < 120


def test_a_window_is_cut_by_half_the_share_of_429s_once_for_all_calls_in_flight() -> None:
    window = Window(64)
    for _ in range(64):
        window.ended(limited=True)
    assert window.size == 32
    for i in range(32):
        window.ended(limited=i < 8)
    assert window.size == 32 * (1 - 0.25 / 2) + 2 * 0.75
    for _ in range(5000):
        window.ended(limited=False)
    assert window.size == 64


def test_a_server_that_is_down_for_a_while_burns_no_question() -> None:
    fake = Fake(lambda now: Unavailable("connection refused") if 2.0 < now < 62.0 else Usage(100, 20))
    replies, seconds = judged(fake, Server(concurrency=16, retries=2), 1000)
    assert all(isinstance(r, Reply) and r.error is None for r in replies)
    assert seconds < 62 + 20 + 10
    asked_while_down = [at for at in fake.asked_at if 10.0 < at < 62.0]
    assert len(asked_while_down) < 15


def test_the_last_few_questions_of_a_run_wait_for_a_server_too() -> None:
    fake = Fake(lambda now: Unavailable("connection refused") if now < 20.0 else Usage(100, 20))
    replies, _ = judged(fake, Server(concurrency=16, retries=2), 3)
    assert all(isinstance(r, Reply) and r.error is None for r in replies)


def test_a_server_that_stays_down_shuts_its_gate_and_says_so() -> None:
    fake = Fake(lambda now: Unavailable("connection refused") if now > 0.05 else Usage(100, 20))
    replies, seconds = judged(fake, Server(concurrency=16, deadline_s=60.0), 200)
    shut = [r for r in replies if isinstance(r, Shut)]
    assert len(shut) > 160
    assert "server s has been down for 300 s: connection refused" in str(shut[0])
    assert PATIENCE_S < seconds < PATIENCE_S + 30


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    fake = Fake(lambda _: Unavailable("connection refused"))
    replies, seconds = judged(fake, Server(concurrency=16, deadline_s=60.0), 200)
    assert "server s has been down for 30 s: connection refused" in str(replies[-1])
    assert FIRST_PATIENCE_S < seconds < FIRST_PATIENCE_S + 30


def test_a_server_of_nothing_but_429_shuts_its_gate() -> None:
    fake = Fake(lambda _: RateLimited("quota used up", retry_after_s=120.0))
    replies, seconds = judged(fake, Server(concurrency=4, deadline_s=60.0), 20)
    assert all(isinstance(r, Shut) for r in replies)
    assert "nothing but 429" in str(replies[0])
    assert seconds < 500


def test_a_wrong_key_stops_after_three_calls() -> None:
    fake = Fake(lambda _: Rejected("HTTP 401: wrong key", always=True))
    replies, _ = judged(fake, Server(concurrency=1), 100)
    assert len(fake.asked_at) == 3
    assert sum(isinstance(r, Shut) for r in replies) == 97
    assert "refuses every request" in str(replies[-1])


def test_requests_refused_one_and_all_stop_the_run_but_a_few_among_many_do_not() -> None:
    all_bad = Fake(lambda _: Rejected("HTTP 400: no such field"))
    replies, _ = judged(all_bad, Server(concurrency=1), 100)
    assert len(all_bad.asked_at) == 20
    numbers = iter(range(1000))
    some_bad = Fake(lambda _: Rejected("HTTP 400: too long") if 10 <= next(numbers) < 60 else Usage(100, 20))
    replies, _ = judged(some_bad, Server(concurrency=1), 100)
    assert sum(isinstance(r, Reply) and r.error is not None for r in replies) == 50
    assert not any(isinstance(r, Exception) for r in replies)


def test_one_poisonous_question_fails_alone() -> None:
    class Poison(Fake):
        async def send(self, ask: Ask) -> Reply:
            await super().send(ask)
            if ask.pair_id == "3":
                raise Unavailable("HTTP 500: crashed")
            return Reply(text="[[A]]", usage=Usage(100, 20))

    replies, _ = judged(Poison(good), Server(concurrency=2, retries=3), 50)
    failed = [i for i, r in enumerate(replies) if isinstance(r, Reply) and r.error]
    assert failed == [3]
    assert replies[3].attempts == 4


def test_retries_are_counted_and_what_may_have_been_billed_is_said() -> None:
    answers = iter(
        [Unavailable("timeout", maybe_billed=True), BadReply("html", maybe_billed=True), Unavailable("refused")]
    )
    fake = Fake(lambda _: next(answers, Usage(100, 20)))
    replies, _ = judged(fake, Server(retries=3), 1)
    assert isinstance(replies[0], Reply)
    assert (replies[0].attempts, replies[0].unmetered_calls, replies[0].error) == (4, 2, None)


def test_an_exhausted_question_is_a_reply_with_an_error() -> None:
    fake = Fake(lambda _: BadReply("the reply is no chat completion", maybe_billed=True))
    replies, _ = judged(fake, Server(retries=2), 1)
    assert isinstance(replies[0], Reply)
    assert (replies[0].attempts, replies[0].unmetered_calls) == (3, 3)
    assert replies[0].error == "the reply is no chat completion"


def test_backoff_is_drawn_up_to_a_bound_that_doubles() -> None:
    async def go() -> None:
        gate = Gate("s", Server(), draw=random.Random(0))
        for failures in range(1, 12):
            waits = [gate.backoff_s(failures, Unavailable("x")) for _ in range(300)]
            bound = min(0.5 * 2 ** (failures - 1), LONGEST_BACKOFF_S)
            assert 0 <= min(waits) < 0.1 * bound
            assert 0.9 * bound < max(waits) <= bound

    clock.run(go())


def test_a_hurried_gate_does_not_wait_for_a_server_that_is_down() -> None:
    async def go() -> float:
        gate = Gate("s", Server(concurrency=2))
        asker = Asker(Fake(lambda _: Unavailable("refused")), gate, Budget(None), retries=5)
        asked = [asyncio.create_task(asker.ask(question(i), ARM)) for i in range(2)]
        await asyncio.sleep(20)
        gate.hurry()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(r, Shut) for r in results)
        return asyncio.get_running_loop().time()

    assert clock.run(go()) < 21


def test_a_cancelled_probe_lets_another_go() -> None:
    breaker = Breaker()
    breaker.failed(1, 0.0, needed=1)
    assert breaker.wait_s(1.0) == 0.0
    breaker.take()
    assert breaker.wait_s(50.0) == math.inf
    breaker.dropped()
    assert breaker.wait_s(50.0) == 0.0


def test_a_cancelled_call_gives_its_place_back() -> None:
    async def go() -> None:
        gate = Gate("s", Server(concurrency=1))
        asker = Asker(Fake(good, latency_s=100.0), gate, Budget(None), retries=0)
        first = asyncio.create_task(asker.ask(question(1), ARM))
        waiting = asyncio.create_task(asker.ask(question(2), ARM))
        await asyncio.sleep(1)
        waiting.cancel()
        first.cancel()
        await asyncio.gather(first, waiting, return_exceptions=True)
        assert (await asker.ask(question(3), ARM)).error is None

    clock.run(go())


@settings(max_examples=40, deadline=None)
@given(
    cap=st.floats(0, 0.2),
    bills=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 50), st.booleans()), min_size=1, max_size=60),
    concurrency=st.integers(1, 20),
)
def test_spend_never_passes_the_cap(cap: float, bills: list[tuple[int, int, bool]], concurrency: int) -> None:
    left = itertools.cycle(bills)

    def answer(_now: float) -> Usage | BackendError:
        prompt, output, lost = next(left)
        billed.append(PRICE.cost_usd(Usage(prompt, output)))
        return BadReply("cut off", maybe_billed=True) if lost else Usage(prompt, output)

    billed: list[float] = []
    replies, _ = judged(Fake(answer), Server(concurrency=concurrency), 60, cap_usd=cap)
    assert sum(billed) <= cap + 1e-12
    known = [r.usage for r in replies if isinstance(r, Reply) and r.usage]
    assert all(isinstance(r, Reply | Spent) for r in replies)
    if any(isinstance(r, Spent) for r in replies):
        unmetered = sum(r.unmetered_calls for r in replies if isinstance(r, Reply))
        worst = worst_usd(question(), PRICE)
        assert sum(PRICE.cost_usd(u) for u in known) + (unmetered + 1) * worst > cap


def test_the_cap_is_named_in_what_was_not_bought() -> None:
    replies, _ = judged(Fake(good), Server(), 3, cap_usd=0.0001)
    assert {str(r) for r in replies} == {"not bought: cap of $0.0001 reached"}


def test_the_worst_case_counts_bytes_and_the_longest_answer() -> None:
    ask = Ask(
        pair_id="p", arm="a", kind="verdict", messages=(Message("user", "é" * 100),), body={"max_tokens": 50, "n": 3}
    )
    assert worst_case(ask) == Usage(200 + 512, 150)
    assert worst_case(question(max_tokens=0)).output_tokens == 16_384
