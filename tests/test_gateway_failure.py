"""When servers fail: the caller always gets an outcome or a typed error, soon, and what was billed is booked."""

import asyncio
import time

import pytest

from adjudge.errors import StoreError
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.room import Room
from adjudge.gateway.shelf import _Together
from adjudge.store.store import Store
from tests.gateways import PAIR, Model, completion, gateway, serving_model, settings, verdict

NOBODY = "http://127.0.0.1:1/v1"
SAYS_HI = [{"role": "user", "content": "hi"}]


async def until(found):
    for _ in range(250):
        if found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not come")


def pairs(count):
    return [{**PAIR, "response_a": f"answer {i}"} for i in range(count)]


def test_an_arm_whose_server_is_down_is_replaced_by_the_next_in_line(tmp_path):
    async def work():
        async with serving_model(Model(verdict("B"))) as model:
            told = settings({"down": NOBODY, "up": model.url})
            async with gateway(told, tmp_path / "g.db", fallback=("up",)) as client:
                status, found = await client.post("/v1/judge", {"arm": "down", "fallback": ["up"], **PAIR})
                assert (status, found["outcome"], found["arm"]) == (200, "B", "up")
                assert [tried["arm"] for tried in found["why"]["tried"]] == ["down"]
                for stream in (False, True):
                    body = {"model": "adjudge/down", "messages": SAYS_HI, "stream": stream}
                    status, _, headers = await client.posted("/v1/chat/completions", body)
                    assert (status, headers["x-adjudge-arm"]) == (200, "up")
                _, text = await client.get("/metrics")
                assert 'adjudge_fallbacks_total{arm="down"} 3.0' in text

    asyncio.run(work())


def test_without_anybody_to_fall_back_to_the_error_is_typed_and_says_when_to_come_again(tmp_path):
    async def work():
        async with gateway(settings({"down": NOBODY}), tmp_path / "g.db") as client:
            seen = []
            for body in pairs(6):
                status, answer, headers = await client.posted("/v1/judge", {"arm": "down", **body})
                seen.append((status, answer["error"]["code"]))
                assert int(headers["Retry-After"]) > 0
            assert seen[0] == (502, "upstream_error")
            assert seen[-1] == (503, "upstream_down")  # the breaker is open: nothing is tried
            body = {"model": "adjudge/down", "messages": SAYS_HI}
            assert (await client.post("/v1/chat/completions", body))[0] == 503
            status, found = await client.post("/v1/judge", {"arm": "down", "items": pairs(2)})
            assert (status, found["failed"]) == (200, 2)
            assert {(one["kind"], one["outcome"], one["error"]["code"]) for one in found["results"]} == {
                ("failure", "failed", "upstream_down")
            }

    asyncio.run(work())


def test_a_server_that_comes_back_is_asked_again(tmp_path):
    async def work():
        async with serving_model(Model(verdict())) as model:
            model.says = lambda body: (503, {"error": {"message": "out of order"}})
            async with gateway(settings({"plain": model.url}), tmp_path / "g.db") as client:
                for body in pairs(4):
                    assert (await client.post("/v1/judge", {"arm": "plain", **body}))[0] in (502, 503)
                model.says = verdict()
                began = time.monotonic()
                while (await client.post("/v1/judge", {"arm": "plain", **PAIR}))[0] != 200:
                    assert time.monotonic() - began < 10
                    await asyncio.sleep(0.1)

    asyncio.run(work())


def test_a_slow_arm_leaves_time_for_the_next_and_its_judgment_is_kept_when_it_comes(tmp_path):
    async def work():
        async with serving_model(Model(verdict("A"), delay_s=2.5)) as slow, serving_model(Model(verdict("B"))) as quick:
            told = settings({"slow": slow.url, "quick": quick.url})
            async with gateway(told, tmp_path / "g.db") as client:
                asked = {"arm": "slow", "fallback": ["quick"], "deadline_s": 2.0, **PAIR}
                status, found = await client.post("/v1/judge", asked)
                assert (status, found["outcome"], found["arm"]) == (200, "B", "quick")
                status, found = await client.post("/v1/judge", {"arm": "slow", "deadline_s": 0.2, **PAIR})
                assert (status, found["error"]["code"]) == (504, "deadline")
                await asyncio.sleep(2.0)
                _, found = await client.post("/v1/judge", {"arm": "slow", **PAIR})
                assert (found["outcome"], found["cached"]) == ("A", True)
            assert len(slow.asked) == 1

    asyncio.run(work())


def test_more_than_there_is_room_for_is_turned_away_and_what_is_inside_ends(tmp_path):
    async def work():
        async with (
            serving_model(Model(verdict(), delay_s=0.5)) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db", running=2, waiting=3) as client,
        ):
            asked = [client.post("/v1/judge", {"arm": "plain", **body}) for body in pairs(12)]
            found = await asyncio.gather(*asked)
            statuses = [status for status, _ in found]
            assert (statuses.count(200), statuses.count(503)) == (5, 7)
            assert {a["error"]["code"] for s, a in found if s == 503} == {"overloaded"}
            status, answer = await client.post("/v1/judge", {"arm": "plain", "items": pairs(6)})
            assert (status, answer["error"]["code"]) == (413, "request_too_large")
            assert client.gateway.room.inside == 0
            assert len(model.asked) == 5

    asyncio.run(work())


@pytest.mark.parametrize(
    ("says", "status", "code", "comes_back"),
    [(429, 503, "upstream_busy", True), (408, 502, "upstream_error", True), (422, 502, "upstream_refused", False)],
)
def test_who_is_told_of_a_servers_refusal_is_told_whether_to_come_back(tmp_path, says, status, code, comes_back):
    async def work():
        async with (
            serving_model(Model(lambda body: (says, {"error": {"message": "no"}}))) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            found, answer, headers = await client.posted("/v1/judge", {"arm": "plain", **PAIR})
            assert (found, answer["error"]["code"], "Retry-After" in headers) == (status, code, comes_back)

    asyncio.run(work())


@pytest.mark.parametrize("committed", [False, True])
def test_a_judgment_that_was_paid_for_outlives_a_store_that_is_away_for_a_moment(tmp_path, monkeypatch, committed):
    monkeypatch.setattr("adjudge.gateway.desk.KEEP_AGAIN_S", 0.05)
    put, tries = Store.put, []

    def putting(store, *what):
        tries.append(what)
        if committed or len(tries) == 3:
            put(store, *what)
        if len(tries) < 3:
            raise StoreError("it is away")

    monkeypatch.setattr(Store, "put", putting)

    async def work():
        async with (
            serving_model(Model(verdict())) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            status, found = await client.post("/v1/judge", {"arm": "plain", **PAIR})
            assert (status, found["outcome"], len(model.asked)) == (200, "A", 1)

    asyncio.run(work())
    with Store.open(str(tmp_path / "g.db"), create=False) as store:
        assert store.spend().judgments == 1


def test_truncated_refused_and_unread_are_outcomes_and_no_errors(tmp_path):
    async def work():
        cut = completion("I think")
        cut["choices"][0]["finish_reason"] = "length"
        told = {"unread": completion("Who knows."), "truncated": cut, "refused": completion("", refusal="No.")}
        async with (
            serving_model(Model(lambda body: None)) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            for outcome, said in told.items():
                model.says = lambda body, said=said: said
                status, found = await client.post("/v1/judge", {"arm": "plain", **PAIR, "response_a": outcome})
                assert (status, found["outcome"], found["p_a"]) == (200, outcome, None)
                assert found["cost_usd"] > 0

    asyncio.run(work())


def test_on_stopping_what_is_under_way_ends_and_nothing_new_is_let_in(tmp_path):
    async def work():
        async with (
            serving_model(Model(verdict(), delay_s=0.6)) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            asked = asyncio.ensure_future(client.post("/v1/judge", {"arm": "plain", **PAIR}))
            await asyncio.sleep(0.2)
            client.gateway.room.stop()
            status, answer = await client.post("/v1/judge", {"arm": "plain", **PAIR, "response_a": "new"})
            assert (status, answer["error"]["code"]) == (503, "shutting_down")
            assert (await client.get("/readyz"))[0] == 503
            assert (await client.get("/healthz"))[0] == 200
            assert (await asked)[0] == 200

    asyncio.run(work())


@pytest.mark.parametrize("says", [None, (500, {}), (429, {}), {"choices": []}, {"usage": "x"}], ids=str)
def test_whatever_a_server_does_the_answer_is_typed(tmp_path, says):
    async def work():
        async with (
            serving_model(Model(lambda body: says)) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db", deadline_s=0.5) as client,
        ):
            judge = ("/v1/judge", {"arm": "plain", **PAIR})
            chat = ("/v1/chat/completions", {"model": "adjudge/plain", "messages": SAYS_HI})
            for path, body in (judge, chat):
                status, answer = await client.post(path, body)
                assert status in (502, 503, 504), (path, status, answer)
                assert set(answer["error"]) == {"message", "type", "code", "param"}

    asyncio.run(work())


def test_told_twice_to_stop_it_waits_for_nobody_and_books_what_may_have_been_billed(tmp_path):
    async def work():
        store = str(tmp_path / "g.db")
        async with serving_model(Model(lambda body: None)) as model:
            how = {"stop_s": 60.0, "deadline_s": 60.0, "cap_usd": 1.0}
            async with gateway(settings({"plain": model.url}), store, **how) as client:
                chat = {"model": "adjudge/plain", "messages": SAYS_HI}
                asked = [
                    client.post("/v1/judge", {"arm": "plain", **PAIR}),
                    client.post("/v1/chat/completions", chat),
                    client.post("/v1/chat/completions", {**chat, "stream": True}),
                ]
                waiting = [asyncio.ensure_future(one) for one in asked]
                await until(lambda: len(model.asked) == 3)
                client.stop()
                began = time.monotonic()
            assert time.monotonic() - began < 5
            await asyncio.gather(*waiting, return_exceptions=True)
        async with Ledger(store) as ledger:
            totals = await ledger.totals("")
            assert (totals.judgments, totals.presumed_usd, totals.reserved_usd) == (3, 0, 0)
            assert totals.usd > 3 * 64 * 10 / 1e6

    asyncio.run(work())


def test_stopping_does_not_wait_for_ever_for_a_database_that_is_away(monkeypatch):
    monkeypatch.setattr("adjudge.gateway.room.BOOKING_S", 0.2)

    async def work():
        room = Room(1, 1)
        room.begun(asyncio.Event().wait())  # as a booking does that finds no database
        await asyncio.wait_for(room.close(0.1), 5)

    asyncio.run(work())


def test_a_completion_that_finds_no_place_before_its_deadline_is_told_so(tmp_path):
    async def work():
        async with (
            serving_model(Model(verdict())) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db", running=1, deadline_s=0.3) as client,
            client.gateway.room.turn(),
        ):
            for stream in (False, True):
                body = {"model": "adjudge/plain", "messages": SAYS_HI, "stream": stream}
                status, answer, headers = await client.posted("/v1/chat/completions", body)
                assert (status, answer["error"]["code"]) == (503, "overloaded")
                assert int(headers["Retry-After"]) > 0
            assert client.gateway.room.inside == 0
            assert not model.asked

    asyncio.run(work())


def test_a_completion_whose_retry_no_cap_pays_for_is_refused_by_the_cap(tmp_path):
    async def work():
        lost = Model(lambda body: (502, {"error": {"message": "lost"}}))  # which may have been billed
        async with (
            serving_model(lost) as model,
            gateway(settings({"plain": model.url}, retries=2), tmp_path / "g.db", cap_usd=0.0015) as client,
        ):
            body = {"model": "adjudge/plain", "messages": SAYS_HI}
            status, answer, headers = await client.posted("/v1/chat/completions", body)
            assert (status, answer["error"]["code"], len(model.asked)) == (429, "cap_reached", 1)
            await asyncio.sleep(int(headers["Retry-After"]))  # now what was lost is booked, and nothing is given back
            status, answer = await client.post("/v1/chat/completions", body)
            assert (status, answer["error"]["code"], len(model.asked)) == (402, "cap_reached", 1)

    asyncio.run(work())


def test_what_the_store_did_not_foresee_reaches_whoever_waits_and_nobody_waits_for_ever():
    async def work():
        async def fails(given):
            raise ZeroDivisionError(given)

        together = _Together(fails)
        found = await asyncio.wait_for(asyncio.gather(*map(together, range(3)), return_exceptions=True), 5)
        assert {type(one) for one in found} == {ZeroDivisionError}

    asyncio.run(work())
