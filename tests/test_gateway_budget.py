"""Money at the gateway: caps are never passed, a router's mean budget holds and outlives the process."""

import asyncio

import numpy as np
import pytest

from adjudge.errors import ConfigError
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import Caps
from adjudge.gateway.routed import Routing
from adjudge.routing import registry
from adjudge.routing.evaluate import reference_cost
from adjudge.routing.features import with_text
from adjudge.routing.live import arm_of
from adjudge.routing.registry import Options
from adjudge.routing.saved import load, save
from adjudge.routing.table import tabulate
from adjudge.types import Judgment, Outcome, Pair, Record
from tests.gateways import PAIR, Model, completion, gateway, serving_model, settings, verdict

SAYS_HI = [{"role": "user", "content": "hi"}]
PRICES = {"cheap": {"price": {"input": 1.0, "output": 1.0}}, "dear": {"price": {"input": 10.0, "output": 10.0}}}


def pairs(count, first=0):
    return [
        {"prompt": f"Add {i} and {i}.", "response_a": f"It is {2 * i}.", "response_b": f"{2 * i + 1}"}
        for i in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A router over a cheap arm that is often silent and a dear one that is always right, at ten times the tokens."""
    rng = np.random.default_rng(0)
    rows = []
    for i, told in enumerate(pairs(200)):
        says = Outcome("A" if rng.random() < 0.5 else "B")
        pair = Pair(id=f"p{i}", gold=says.value, **told)
        cheap = Judgment(
            arm="cheap", ab=says if rng.random() < 0.6 else Outcome.UNREAD, prompt_tokens=100, output_tokens=20
        )
        dear = Judgment(arm="dear", ab=says, prompt_tokens=100, output_tokens=int(rng.integers(180, 220)))
        rows.append(Record(pair=pair, evaluator="m", judgments={"cheap": cheap, "dear": dear}))
    table = with_text(tabulate(rows, ("cheap", "dear")), rows)
    found = tmp_path_factory.mktemp("fitted")
    for kind in ("racer", "acer"):
        router = registry.fit(kind, table, Options(), 0)
        save(found / kind, kind, router, table, budget=5.0, reference_cost=reference_cost(table))
    return found


def routing(folder, told, kind="racer", budget=5.0):
    saved = load(folder / kind)
    return Routing(arm_of(f"route:{kind}", saved.card, told, budget), saved, budget)


def test_spend_never_passes_the_cap_however_many_ask_at_once(tmp_path):
    async def work():
        async with serving_model(Model(verdict(prompt=400, output=60), delay_s=0.02)) as model:
            async with gateway(settings({"plain": model.url}), tmp_path / "g.db", cap_usd=0.02) as client:
                judging = [client.post("/v1/judge", {"arm": "plain", **body}) for body in pairs(30)]
                chat = {"model": "adjudge/plain", "messages": SAYS_HI}
                chatting = [client.post("/v1/chat/completions", chat) for _ in range(30)]
                found = await asyncio.gather(*judging, *chatting)
                statuses = [status for status, _ in found]
                assert set(statuses) <= {200, 402, 429}
                assert {a["error"]["code"] for s, a in found if s != 200} == {"cap_reached"}
                for body in pairs(10, 100):  # with nothing under way any more: what fits is bought, the rest never will
                    statuses.append((await client.post("/v1/judge", {"arm": "plain", **body}))[0])
                assert statuses[-1] == 402
            spent = model.answered * (400 * 1 + 60 * 10) / 1e6
            assert 0.01 < spent <= 0.02
        async with Ledger(str(tmp_path / "g.db")) as ledger:
            totals = await ledger.totals("")
        assert totals.usd == pytest.approx(spent)
        assert totals.judgments == model.answered
        assert totals.reserved_usd + totals.presumed_usd == pytest.approx(0)

    asyncio.run(work())


def test_an_attempt_that_may_have_been_billed_is_booked_at_its_worst(tmp_path):
    async def work():
        async with serving_model(Model(lambda body: (502, {"error": {"message": "lost"}}))) as model:
            async with gateway(settings({"plain": model.url}), tmp_path / "g.db") as client:
                assert (await client.post("/v1/judge", {"arm": "plain", **PAIR}))[0] == 502
            async with Ledger(str(tmp_path / "g.db")) as ledger:
                assert (await ledger.totals("")).usd > 64 * 10 / 1e6

    asyncio.run(work())


def test_the_cap_in_all_that_serve_is_given_leaves_the_other_caps_as_they_are(tmp_path):
    async def work():
        store = str(tmp_path / "g.db")
        async with Ledger(store) as ledger:
            await ledger.set_caps("", Caps(hour_usd=3.0, day_usd=7.0, total_usd=9.0))
        async with gateway(settings({"plain": "http://127.0.0.1:1/v1"}), store, cap_usd=20.0):
            pass
        async with Ledger(store) as ledger:
            assert await ledger.caps() == {"": Caps(hour_usd=3.0, day_usd=7.0, total_usd=20.0)}

    asyncio.run(work())


def test_a_cap_needs_prices(tmp_path):
    async def work():
        told = settings({"plain": "http://127.0.0.1:1/v1"}, {"plain": {"price": None}})
        with pytest.raises(ConfigError, match="a cap needs prices"):
            async with gateway(told, tmp_path / "g.db", cap_usd=1.0):
                pass

    asyncio.run(work())


def test_routed_judgments_say_what_was_bought_and_why(tmp_path, folder):
    async def work():
        async with (
            serving_model(Model(verdict("", output=20))) as cheap,
            serving_model(Model(verdict("A", output=200))) as dear,
        ):
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            async with gateway(told, tmp_path / "g.db", routing(folder, told, budget=10.0)) as client:
                _, found = await client.post("/v1/judge", {"arm": "auto", **pairs(1)[0]})
                assert found["outcome"] in ("A", "B", "tie")
                assert [one["arm"] for one in found["bought"]] == ["cheap", "dear"]
                assert [one["cost"] for one in found["bought"]] == [20, 200]
                why = found["why"]
                assert (why["routed"], why["budget"], why["reference"]) == (True, 10.0, "cheap")
                assert why["expected"]["predicted_gain"] > 0
                _, again = await client.post("/v1/judge", {"arm": "auto", **pairs(1)[0]})
                assert (again["cached"], again["cost_usd"], again["why"]["routed"]) == (True, 0.0, True)

    asyncio.run(work())


@pytest.mark.parametrize("kind", ["racer", "acer"])
def test_the_mean_budget_holds_over_a_restart(tmp_path, folder, kind):
    async def work():
        says = {"cheap": verdict("", output=20), "dear": verdict("A", output=300)}
        async with serving_model(Model(says["cheap"])) as cheap, serving_model(Model(says["dear"])) as dear:
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            for half in range(2):
                async with gateway(told, tmp_path / "g.db", routing(folder, told, kind, 4.0)) as client:
                    for first in range(half * 60, half * 60 + 60, 20):
                        body = {"arm": "auto", "items": pairs(20, 1000 + first)}
                        status, found = await client.post("/v1/judge", body)
                        assert (status, found["failed"]) == (200, 0)
                    _, text = await client.get("/metrics")
                    mean = next(float(x.split()[1]) for x in text.splitlines() if x.startswith("adjudge_mean_cost_rel"))
            spent = cheap.answered * 20 + dear.answered * 300
            assert mean == pytest.approx(spent / 120 / 20, rel=0.02)  # the second process knows of both halves
            assert dear.answered > 5

    asyncio.run(work())


@pytest.mark.parametrize("kind", ["racer", "acer"])
def test_auto_picks_an_arm_for_a_chat_completion_and_the_pace_counts_it(tmp_path, folder, kind):
    async def work():
        says = {"cheap": lambda b: completion("c", output=20), "dear": lambda b: completion("d", output=200)}
        async with serving_model(Model(says["cheap"])) as cheap, serving_model(Model(says["dear"])) as dear:
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            async with gateway(told, tmp_path / "g.db", routing(folder, told, kind, 4.0)) as client:
                for i in range(12):
                    messages = [{"role": "user", "content": f"Which is better? {i}"}]
                    body = {"model": "adjudge/auto", "messages": messages, "stream": i % 2 == 1}
                    status, _, headers = await client.posted("/v1/chat/completions", body)
                    assert (status, headers["x-adjudge-arm"] in ("cheap", "dear")) == (200, True)
                _, text = await client.get("/metrics")
                mean = next(float(x.split()[1]) for x in text.splitlines() if x.startswith("adjudge_mean_cost_rel"))
                assert mean == pytest.approx((cheap.answered * 20 + dear.answered * 200) / 12 / 20, rel=0.02)

    asyncio.run(work())


def test_where_the_caps_have_no_room_for_all_a_router_may_buy_less_is_bought(tmp_path, folder):
    async def work():
        async with serving_model(Model(verdict("", output=20))) as cheap, serving_model(Model(verdict("A"))) as dear:
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            cap = 0.004  # two of the cheap arm's worst cases, and none of the dear one's
            async with gateway(told, tmp_path / "g.db", routing(folder, told, budget=10.0), cap_usd=cap) as client:
                status, found = await client.post("/v1/judge", {"arm": "auto", **pairs(1)[0]})
                assert (status, found["outcome"]) == (200, "unread")
                assert {one["arm"] for one in found["bought"]} == {"cheap"}
            assert not dear.asked

    asyncio.run(work())


def test_what_is_asked_in_vain_saves_nothing_that_is_spent_later(tmp_path, folder):
    async def work():
        async with serving_model(Model(verdict(output=20))) as model:
            told = settings({"cheap": "http://127.0.0.1:1/v1", "dear": model.url}, PRICES)
            async with gateway(told, tmp_path / "g.db", routing(folder, told, budget=4.0)) as client:
                for body in pairs(4):  # until the breaker opens: then nothing is asked
                    await client.post("/v1/judge", {"arm": "cheap", **body})
                before = await routed_judgments(client)
                chat = {"model": "adjudge/auto", "messages": SAYS_HI}
                room = client.gateway.room
                room.inside += room.most  # it is full
                for _ in range(5):
                    assert (await client.post("/v1/chat/completions", chat))[0] == 503
                room.inside -= room.most
                for body in pairs(5, 50):
                    _, found = await client.post("/v1/judge", {"arm": "auto", **body})
                    assert (found["arm"], found["outcome"]) == ("dear", "A")
                assert await routed_judgments(client) - before == 5  # and not ten, nor fifteen
            async with Ledger(str(tmp_path / "g.db")) as ledger:
                totals = await ledger.totals(routing(folder, told, budget=4.0).account)
                assert (totals.judgments, totals.units) == (5, 100)

    asyncio.run(work())


async def routed_judgments(client):
    _, text = await client.get("/metrics")
    return next(float(x.split()[1]) for x in text.splitlines() if x.startswith("adjudge_routed_judgments"))


def test_what_a_routed_judgment_falls_back_to_counts_in_the_routers_budget_and_nothing_else_does(tmp_path, folder):
    async def work():
        async with serving_model(Model(verdict("A", output=200))) as dear:
            told = settings({"cheap": "http://127.0.0.1:1/v1", "dear": dear.url}, PRICES)
            given = routing(folder, told, budget=4.0)
            async with gateway(told, tmp_path / "g.db", given) as client:
                for body in pairs(4, 10):
                    assert (await client.post("/v1/judge", {"arm": "cheap", **body}))[0] in (502, 503)
                first, second = pairs(2)
                _, found = await client.post("/v1/judge", {"arm": "auto", **first})
                tried = [one["arm"] for one in found["why"]["tried"]]
                assert (found["arm"], tried) == ("dear", [given.arm.name, "cheap"])
                await client.post("/v1/judge", {"arm": "dear", **second})
            async with Ledger(str(tmp_path / "g.db")) as ledger:
                assert (await ledger.totals(given.account)).units == 200
                assert (await ledger.totals("")).output_tokens == 400

    asyncio.run(work())
