"""Judgments over HTTP: bought once, shared while under way, streamed as they come, and always answered."""

import asyncio
import json

import pytest

from adjudge.gateway.api.judge import read
from adjudge.gateway.problems import Problem
from adjudge.store.store import Store
from tests.gateways import PAIR, Model, completion, gateway, serving_model, settings, verdict


def judged(letter="A", *, says=None, arms=None, delay_s=0.0, **how):
    """A decorator: the test gets a client and the model behind it."""

    def decorate(test):
        def run(tmp_path):
            async def work():
                async with serving_model(Model(says or verdict(letter), delay_s)) as model:
                    told = settings({"plain": model.url}, arms)
                    async with gateway(told, tmp_path / "g.db", **how) as client:
                        await test(client, model, tmp_path)

            asyncio.run(work())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


@judged()
async def test_a_judgment_is_bought_once_and_costs_nothing_the_second_time(client, model, tmp_path):
    status, first = await client.post("/v1/judge", {"arm": "plain", "id": "mine", **PAIR})
    assert (status, first["outcome"], first["cached"], first["item_id"]) == (200, "A", False, "mine")
    assert first["usage"]["output_tokens"] == 10
    assert first["cost_usd"] == pytest.approx((100 * 1 + 10 * 10) / 1e6)
    status, second = await client.post("/v1/judge", {"arm": "plain", **PAIR})
    assert (second["id"], second["outcome"], second["cached"], second["cost_usd"]) == (first["id"], "A", True, 0.0)
    assert len(model.asked) == 1
    status, kept = await client.get(f"/v1/judgments/{first['id']}")
    assert (status, kept["prompt"], kept["calls"][0]["text"]) == (200, PAIR["prompt"], "[[A]]")


def test_what_an_earlier_process_bought_is_not_bought_again_and_takes_labels(store_url):
    async def work():
        async with serving_model(Model(verdict("B"))) as model:
            told = settings({"plain": model.url})
            ids = []
            for _ in range(2):
                async with gateway(told, store_url, cap_usd=1.0) as client:
                    _, found = await client.post("/v1/judge", {"arm": "plain", **PAIR, "domain": "sums \0"})
                    ids.append((found["id"], found["outcome"], found["cached"]))
                    assert (await client.post("/v1/feedback", {"id": found["id"], "gold": "B"}))[1]["reward"] == 1.0
                    _, kept = await client.get(f"/v1/judgments/{found['id']}")
                    assert (kept["gold"], kept["domain"], kept["calls"][0]["text"]) == ("B", "sums \0", "[[B]]")
            assert ids == [(ids[0][0], "B", False), (ids[0][0], "B", True)]
            assert len(model.asked) == 1

    asyncio.run(work())


def test_two_gateways_on_one_postgresql_share_judgments_and_the_cap(postgres):
    async def work():
        async with serving_model(Model(verdict(prompt=400, output=60), delay_s=0.05)) as model:
            told = settings({"plain": model.url})
            cap = {"cap_usd": 0.02}
            async with gateway(told, postgres, **cap) as one, gateway(told, postgres, **cap) as other:
                _, first = await one.post("/v1/judge", {"arm": "plain", **PAIR})
                _, again = await other.post("/v1/judge", {"arm": "plain", **PAIR})
                assert (first["cached"], again["cached"], again["id"]) == (False, True, first["id"])
                bodies = [{"arm": "plain", **PAIR, "response_a": str(i)} for i in range(40)]
                await asyncio.gather(*(who.post("/v1/judge", body) for body in bodies for who in (one, other)))
            assert 5 <= model.answered <= 20  # each costs a twentieth of the cap, and may cost a tenth

    asyncio.run(work())


@judged(delay_s=0.3)
async def test_identical_requests_share_a_call_that_outlives_the_first_caller(client, model, tmp_path):
    asked = [asyncio.ensure_future(client.post("/v1/judge", {"arm": "plain", **PAIR})) for _ in range(5)]
    await asyncio.sleep(0.1)
    asked[0].cancel()
    found = [answer for _, answer in await asyncio.gather(*asked[1:])]
    assert {one["outcome"] for one in found} == {"A"}
    assert len(model.asked) == 1
    assert sum(one["cost_usd"] for one in found) <= 0.0002 + 1e-12


@judged(says=lambda body: completion("[[A]]" if "four" in str(body) else "[[B]]"))
async def test_a_batch_answers_in_order_and_adds_up(client, model, tmp_path):
    items = [{**PAIR, "response_a": f"{word} {i}", "id": str(i)} for i, word in enumerate(["four", "six", "four"])]
    status, found = await client.post("/v1/judge", {"arm": "plain", "items": items})
    assert status == 200
    assert [(one["outcome"], one["item_id"], one["index"]) for one in found["results"]] == [
        ("A", "0", 0),
        ("B", "1", 1),
        ("A", "2", 2),
    ]
    assert found["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in found["results"]))
    assert (found["judged"], found["failed"], found["usage"]["output_tokens"]) == (3, 0, 30)


@pytest.mark.parametrize("media", ["application/x-ndjson", "text/event-stream"])
def test_a_batch_streams_each_judgment_as_it_comes(tmp_path, media):
    async def work():
        slow = asyncio.Event()

        class Slowly(Model):
            async def post(self, request):
                if "slow" in await request.text():
                    await slow.wait()
                return await super().post(request)

        async with (
            serving_model(Slowly(verdict())) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            items = [{**PAIR, "response_a": "slow", "id": "s"}, {**PAIR, "response_a": "quick", "id": "q"}]
            body = json.dumps({"arm": "plain", "items": items}).encode()
            headers = {"Content-Type": "application/json", "Accept": media}
            async with client.session.post(client.address + "/v1/judge", data=body, headers=headers) as answer:
                assert answer.headers["Content-Type"] == media
                seen = []
                async for line in answer.content:
                    text = line.decode().removeprefix("data: ").strip()
                    if text.startswith("{"):
                        seen.append(json.loads(text))
                        slow.set()
            assert [one.get("item_id", one["kind"]) for one in seen] == ["q", "s", "done"]
            assert seen[-1]["judged"] == 2

    asyncio.run(work())


RATES = {"plain": {"protocol": "pointwise"}, "compares": {"server": "plain"}}


@judged(says=lambda body: completion("[[7]]" if "xyzzy" in str(body) else "[[3]]"), arms=RATES)
async def test_an_arm_that_rates_scores_pairs_and_lists_of_responses(client, model, tmp_path):
    both = {"prompt": "Say hi", "response_a": "xyzzy", "response_b": "bad"}
    _, found = await client.post("/v1/judge", {"arm": "plain", **both})
    assert (found["outcome"], found["scores"]) == ("A", [[7.0], [3.0]])
    _, found = await client.post(
        "/v1/judge", {"arm": "plain", "prompt": "Say hi", "responses": ["bad", "xyzzy", "bad "]}
    )
    assert (found["outcome"], found["scores"]) == (None, [[3.0], [7.0], [3.0]])
    status, found = await client.post(
        "/v1/judge", {"arm": "compares", "prompt": "Say hi", "responses": ["a", "b", "c"]}
    )
    assert (status, found["error"]["code"]) == (400, "cannot_judge")


@judged()
async def test_a_rubric_that_comes_with_an_item_is_shown_and_makes_another_judgment(client, model, tmp_path):
    _, without = await client.post("/v1/judge", {"arm": "plain", **PAIR})
    _, guided = await client.post("/v1/judge", {"arm": "plain", "rubric": "Brevity above all.", **PAIR})
    assert without["id"] != guided["id"]
    assert "Brevity above all." not in str(model.asked[0])
    assert "Brevity above all." in str(model.asked[1])


@judged("B")
async def test_feedback_becomes_the_gold_of_the_pair_and_tells_whether_the_judge_was_right(client, model, tmp_path):
    _, found = await client.post("/v1/judge", {"arm": "plain", **PAIR})
    assert await client.post("/v1/feedback", {"id": found["id"], "gold": "A", "note": "sure"}) == (
        200,
        {"id": found["id"], "gold": "A", "outcome": "B", "reward": 0.0},
    )
    _, kept = await client.get(f"/v1/judgments/{found['id']}")
    assert (kept["gold"], kept["meta"]["feedback"]) == ("A", {"gold": "A", "note": "sure"})
    with Store.open(str(tmp_path / "g.db"), create=False) as store:
        (record,) = store.records()
    assert (record.pair.gold, record.judgments["plain"].ab) == ("A", "B")
    assert (await client.post("/v1/feedback", {"id": "jdg_" + "0" * 32, "gold": "A"}))[0] == 404


@judged()
async def test_what_is_asked_wrongly_is_told_in_openais_shape(client, model, tmp_path):
    wrong = [
        (b"{", 400),
        (b"[1]", 400),
        ({}, 400),
        ({"arm": "plain", "prompt": "x"}, 400),
        ({"arm": "plain", **PAIR, "responses": ["x"]}, 400),
        ({"arm": "plain", **PAIR, "promt": "typo"}, 400),
        ({"arm": "nobody", **PAIR}, 404),
        ({"arm": "auto", **PAIR}, 400),
        ({"arm": "plain", "items": []}, 400),
        ({"arm": "plain", **PAIR, "deadline_s": -1}, 400),
        (b'{"arm":"plain","prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"arm":"plain","prompt":"\\ud800","response_a":"a","response_b":"b"}', 400),
        (b'{"arm":"plain","prompt":"\xff","response_a":"a","response_b":"b"}', 400),
    ]
    for body, expected in wrong:
        status, answer = await client.post("/v1/judge", body)
        assert (status, set(answer["error"])) == (expected, {"message", "type", "code", "param"}), body
    assert (await client.get("/v1/nothing"))[0] == 404
    assert (await client.get("/v1/judge"))[0] == 405
    assert not model.asked


def test_odd_characters_come_back_from_every_store_and_harm_no_other_judgment(store_url):
    async def work():
        odd = "NUL \0, DLE \x10, \x100, \u2028 \ud83e\udd9d".encode("utf-16", "surrogatepass").decode("utf-16")
        body = {"prompt": odd, "response_a": odd, "response_b": "b", "domain": odd, "source": odd, "rubric": odd}
        body |= {"id": odd, "meta": {odd: [odd, 2**70]}}
        async with (
            serving_model(Model(verdict())) as model,
            gateway(settings({"plain": model.url}), store_url) as client,
        ):
            _, found = await client.post("/v1/judge", {"arm": "plain", "items": [body, PAIR, {**PAIR, "prompt": "?"}]})
            assert (found["judged"], found["failed"]) == (3, 0)
            given = {"id": found["results"][0]["id"], "gold": "A", "note": odd}
            assert (await client.post("/v1/feedback", given))[0] == 200
            _, kept = await client.get(f"/v1/judgments/{given['id']}")
            assert {kept[name] for name in ("prompt", "response_a", "domain", "source", "rubric")} == {odd}
            assert kept["meta"][odd] == [odd, 2**70]
            assert (kept["meta"]["item_id"], kept["meta"]["feedback"]["note"]) == (odd, odd)

    asyncio.run(work())


def test_a_body_that_is_no_json_is_told_so():
    for body in (b'{"arm": "plain", "prompt": ', b"", b"hello"):
        with pytest.raises(Problem, match="the body is not JSON: "):
            read(body)
    with pytest.raises(Problem) as wrong:
        read(b'{"arm": 3, "prompt": "x", "response_a": "a", "response_b": "b"}')
    assert "not JSON" not in str(wrong.value)
