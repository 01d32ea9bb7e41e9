"""Whole runs: judge, gate, store and the scripted server together."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adjudge.errors import ConfigError, DataError
from adjudge.judging.progress import Progress, Summary
from adjudge.store.store import Store
from adjudge.types import Outcome, Pair
from tests import scripted
from tests.runs import PRICE, judged, kept, one_call, pairs, settings, spent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "judgments.db"


def test_every_pair_gets_its_judgment_and_spend_is_the_servers_own_count(path: Path) -> None:
    async def go() -> tuple[Summary, scripted.Count]:
        async with scripted.serving(scripted.Script()) as server:
            return await judged(settings(server.url), path, pairs(300)), server.count

    summary, count = asyncio.run(go())
    assert count.calls == summary.bought == 300
    assert spent(path) == (count.prompt_tokens, count.output_tokens, 0)
    cost = (count.prompt_tokens * PRICE["input"] + count.output_tokens * PRICE["output"]) / 1e6
    assert summary.spend.cost_usd == pytest.approx(cost, rel=1e-12)
    assert list(kept(path)) == [(f"pair-{i}", "plain") for i in range(300)]
    assert summary.complete
    assert summary.how_to_go_on == ""
    assert sum(summary.outcomes.values()) == 300
    assert set(summary.outcomes) == {Outcome.A, Outcome.B, Outcome.TIE}


def test_what_is_in_the_store_is_not_bought_again(path: Path) -> None:
    async def go() -> tuple[Summary, Summary, scripted.Count]:
        async with scripted.serving(scripted.Script()) as server:
            await judged(settings(server.url), path, pairs(50))
            wider = settings(server.url, arms={"plain": one_call(), "other": one_call(model="m2")})
            second = await judged(wider, path, pairs(80))
            return second, await judged(wider, path, pairs(80)), server.count

    second, third, count = asyncio.run(go())
    assert (second.skipped, second.bought) == (50, 30 + 80)
    assert (third.skipped, third.bought) == (160, 0)
    assert count.calls == 160


def test_a_pair_whose_text_changed_is_bought_again(path: Path) -> None:
    changed = [Pair(id="pair-3", prompt="What is 3 + 3?", response_a="6", response_b="7")]

    async def go() -> Summary:
        async with scripted.serving(scripted.Script()) as server:
            await judged(settings(server.url), path, pairs(5))
            return await judged(settings(server.url), path, changed)

    assert asyncio.run(go()).bought == 1


def test_a_gold_label_that_changed_reaches_the_store_without_a_call(path: Path) -> None:
    async def go() -> int:
        async with scripted.serving(scripted.Script()) as server:
            await judged(settings(server.url), path, pairs(5))
            other = [Pair(**{f: getattr(p, f) for f in p.__struct_fields__} | {"gold": "B"}) for p in pairs(5)]
            await judged(settings(server.url), path, other)
            return server.count.calls

    assert asyncio.run(go()) == 5
    with Store.open(str(path)) as store:
        assert {r.pair.gold for r in store.records()} == {"B"}


def test_failed_judgments_are_tried_again_by_the_next_run(path: Path) -> None:
    async def go() -> tuple[Summary, Summary]:
        async with scripted.serving(scripted.Script(faults={"broken": 1.0})) as server:
            first = await judged(settings(server.url, server={"retries": 0}), path, pairs(20))
        async with scripted.serving(scripted.Script()) as server:
            return first, await judged(settings(server.url), path, pairs(20))

    first, second = asyncio.run(go())
    assert (first.bought, first.failed, first.spend.unmetered_calls) == (20, 20, 20)
    assert not first.complete
    assert "20 judgments failed" in first.how_to_go_on
    assert (second.bought, second.failed) == (20, 0)
    assert all(j.outcome.is_verdict for j in kept(path).values())


def test_a_pair_that_stands_twice_in_the_input_is_bought_once(path: Path) -> None:
    async def go() -> tuple[Summary, int]:
        async with scripted.serving(scripted.Script(latency_s=0.01)) as server:
            return await judged(settings(server.url), path, [*pairs(10), *pairs(10)]), server.count.calls

    summary, calls = asyncio.run(go())
    assert calls == 10
    assert (summary.bought, summary.skipped) == (10, 10)


def test_two_runs_at_once_buy_each_judgment_once(path: Path) -> None:
    async def go() -> tuple[Summary, Summary, int]:
        async with scripted.serving(scripted.Script(latency_s=0.1)) as server:
            told = settings(server.url)
            await judged(told, path, [])  # the store is there before both want it
            both = await asyncio.gather(judged(told, path, pairs(300)), judged(told, path, pairs(300)))
            return *both, server.count.calls

    one, two, calls = asyncio.run(go())
    assert calls == 300
    assert one.bought + two.bought == 300
    assert one.skipped + two.skipped == 300
    assert min(one.bought, two.bought) > 0
    assert one.complete
    assert two.complete


def test_more_deferred_than_memory_is_given_for_are_still_all_settled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adjudge.judging.feed.MOST_DEFERRED", 8)

    async def go() -> tuple[Summary, Summary, int]:
        async with scripted.serving(scripted.Script(latency_s=0.05)) as server:
            told = settings(server.url)
            both = await asyncio.gather(
                judged(told, path, pairs(200), concurrency=40), judged(told, path, pairs(200), concurrency=40)
            )
            return *both, server.count.calls

    one, two, calls = asyncio.run(go())
    assert calls == 200
    assert one.bought + one.skipped == two.bought + two.skipped == 200


def test_a_stopped_run_finishes_what_is_in_flight_and_the_next_one_does_the_rest(path: Path) -> None:
    async def go() -> tuple[Summary, Summary, scripted.Count, int]:
        async with scripted.serving(scripted.Script(latency_s=0.1)) as server:
            stop = asyncio.Event()
            first = asyncio.create_task(judged(settings(server.url), path, list(pairs(200)), stop=stop))
            while server.count.calls < 40:  # noqa: ASYNC110 -- the server's count, which tells nobody
                await asyncio.sleep(0.01)
            stop.set()
            asked = server.count.calls
            ended = await first
            calls = server.count.calls
            return ended, await judged(settings(server.url), path, pairs(200)), server.count, calls - asked

    first, second, count, asked_after = asyncio.run(go())
    assert 0 < first.bought < 200
    assert first.left == 200 - first.bought
    assert first.stopped == "stopped"
    assert f"{first.left} judgments are left" in first.how_to_go_on
    assert asked_after <= 16  # whoever had begun to ask, no more
    assert (second.interrupted, second.skipped, second.bought) == (0, first.bought, first.left)
    assert count.calls == 200


def test_a_cancelled_run_writes_what_was_finished_and_the_next_one_counts_what_was_not(path: Path) -> None:
    async def go() -> tuple[Summary, scripted.Count]:
        async with scripted.serving(scripted.Script(latency_s=0.2)) as server:
            first = asyncio.create_task(judged(settings(server.url), path, pairs(100)))
            while server.count.calls < 40:  # noqa: ASYNC110 -- the server's count, which tells nobody
                await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await judged(settings(server.url), path, pairs(100)), server.count

    second, count = asyncio.run(go())
    assert second.skipped > 0
    assert second.skipped + second.bought == 100
    assert 0 < count.calls - 100 <= second.interrupted <= 16 + 8
    assert len(kept(path)) == 100


def test_a_cap_stops_buying_before_it_is_passed_and_marks_the_rest(path: Path) -> None:
    cap = 0.02

    async def go() -> tuple[Summary, Summary]:
        async with scripted.serving(scripted.Script(latency_s=0.005)) as server:
            told = settings(server.url)
            first = await judged(told, path, pairs(100), cap_usd=cap)
            judgments = kept(path)
            marked = [j for j in judgments.values() if j.outcome is Outcome.FAILED]
            assert len(judgments) == 100
            assert len(marked) == first.not_bought
            assert all(j.error and "not bought: cap of $0.02 reached" in j.error for j in marked)
            return first, await judged(told, path, pairs(100), cap_usd=1.0)

    first, second = asyncio.run(go())
    assert 0.8 * cap < first.spend.cost_usd <= cap
    assert first.failed == first.not_bought > 0
    assert "raise --cap-usd" in first.how_to_go_on
    assert second.bought == first.not_bought
    assert second.complete


def test_a_cap_needs_the_price_of_every_arm_that_may_be_asked(path: Path) -> None:
    writer = {"model": "m", "protocol": "rubric"}
    told = settings(
        "http://127.0.0.1:1/v1", arms={"plain": one_call(rubric="arm:writer"), "writer": {"server": "s", **writer}}
    )
    with pytest.raises(ConfigError, match=r"arms\.writer a price"):
        asyncio.run(judged(told, path, pairs(1), names=["plain"], cap_usd=1.0))


def test_two_names_for_one_arm_are_refused(path: Path) -> None:
    told = settings("http://127.0.0.1:1/v1", arms={"one": one_call(), "two": one_call(price=None)})
    with pytest.raises(ConfigError, match=r"arms\.one and arms\.two would buy the same"):
        asyncio.run(judged(told, path, pairs(1)))


def test_a_rubric_is_bought_once_for_each_prompt_and_kept(path: Path) -> None:
    prompts = [
        Pair(id=f"{i}-{j}", prompt=f"Question {i}", response_a=f"a{j}", response_b=f"b{j}")
        for i in range(4)
        for j in range(5)
    ]
    writer = one_call(protocol="rubric", model="writer")
    arms = {
        "plain": one_call(rubric="arm:writer"),
        "other": one_call(model="m2", rubric="arm:writer"),
        "writer": writer,
    }

    async def go() -> tuple[int, int]:
        async with scripted.serving(scripted.Script(latency_s=0.01)) as server:
            told = settings(server.url, arms=arms)
            await judged(told, path, prompts, names=["plain"])
            first = server.count.calls
            await judged(told, path, prompts, names=["other"])
            return first, server.count.calls

    assert asyncio.run(go()) == (4 + 20, 4 + 20 + 20)
    bought = [c for j in kept(path).values() for c in j.calls if c.kind == "rubric" and c.attempts > 0]
    assert len(bought) == 4


def test_a_server_that_refuses_everything_ends_its_arms_and_not_the_others(path: Path) -> None:
    async def go() -> Summary:
        async with scripted.serving(scripted.Script()) as good:
            arms = {"plain": one_call(), "lost": one_call(server="gone")}
            told = settings(good.url, arms=arms, others={"gone": good.url.replace("/v1", "/v2")})
            return await judged(told, path, pairs(60))

    summary = asyncio.run(go())
    assert "server gone refuses every request: HTTP 404" in summary.stopped
    assert sum(arm == "plain" for _, arm in kept(path)) == 60
    assert summary.left is not None
    assert 0 < summary.left <= 60
    assert summary.bought + summary.left == 120
    assert not summary.complete


def test_progress_is_shown_at_most_ten_times_a_second_and_ends_complete(path: Path) -> None:
    seen: list[tuple[float, Progress]] = []

    async def go() -> None:
        async with scripted.serving(scripted.Script(latency_s=0.05)) as server:
            told = settings(server.url)
            show = lambda p: seen.append((time.perf_counter(), p))  # noqa: E731 -- two values in one line
            await judged(told, path, list(pairs(200)), progress=show)

    asyncio.run(go())
    seconds = seen[-1][0] - seen[0][0]
    assert len(seen) <= 10 * seconds + 2
    last = seen[-1][1]
    assert (last.done, last.total, last.bought, last.left_s) == (200, 200, 200, 0.0)
    assert [p.done for _, p in seen] == sorted(p.done for _, p in seen)
    middle = seen[len(seen) // 2][1]
    assert middle.left_s is not None
    assert middle.rate_per_s > 0
    assert middle.spend_usd > 0


def test_a_fault_in_the_file_of_pairs_is_raised_after_what_came_before_is_kept(path: Path) -> None:
    def broken() -> Iterator[Pair]:
        yield from pairs(20)
        raise DataError("not valid JSON", path="pairs.jsonl", line=21)

    async def go() -> Summary:
        async with scripted.serving(scripted.Script()) as server:
            with pytest.raises(DataError, match=r"pairs\.jsonl:21"):
                await judged(settings(server.url), path, broken())
            return await judged(settings(server.url), path, pairs(20))

    summary = asyncio.run(go())
    assert summary.interrupted == 0
    assert summary.skipped >= 12
    assert len(kept(path)) == 20


def test_no_more_pairs_are_drawn_than_are_about_to_be_judged(path: Path) -> None:
    drawn = 0

    def counting() -> Iterator[Pair]:
        nonlocal drawn
        for pair in pairs(400):
            drawn += 1
            yield pair

    ahead: list[int] = []

    async def go() -> None:
        async with scripted.serving(scripted.Script(latency_s=0.02)) as server:
            await judged(settings(server.url), path, counting(), progress=lambda p: ahead.append(drawn - p.done))

    asyncio.run(go())
    assert max(ahead) <= 16 + 3 * 8


def test_a_run_of_no_pairs_ends_at_once(path: Path) -> None:
    summary = asyncio.run(judged(settings("http://127.0.0.1:1/v1"), path, []))
    assert (summary.bought, summary.left, summary.complete) == (0, 0, True)
