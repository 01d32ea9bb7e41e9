"""A gateway watched over HTTP: its events, who may read them, audits within the caps, features made once."""

import asyncio
import contextlib
import json

import pytest
from click.testing import CliRunner
from yarl import URL

from adjudge.commands.serve import command as serve
from adjudge.errors import StoreError
from adjudge.gateway.ledger import sql as ledger_sql
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import Caps
from adjudge.gateway.watch import events as events_module
from adjudge.routing import live
from tests.gateway_watched import PRICES, fitted, pairs, routing
from tests.gateways import Model, gateway, serving_model, settings, verdict


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("fitted") / "router")


@contextlib.asynccontextmanager
async def plain(folder):
    """A gateway of one arm."""
    async with (
        serving_model(Model(verdict())) as model,
        gateway(settings({"plain": model.url}), folder / "g.db") as client,
    ):
        yield client


async def events(client, count, **how):
    """The first events of a stream: (event, data) each."""
    found = []
    async with client.session.get(client.address + "/v1/events", **how) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        rest = b""
        async for piece in answer.content.iter_any():
            *whole, rest = (rest + piece).split(b"\n\n")
            for event in whole:
                name, data = event.decode().split("\n")
                found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
            if len(found) >= count:
                return found[:count]
    return found


def audits_of(text):
    """result -> how many, of what /metrics says"""
    lines = [line for line in text.splitlines() if line.startswith("adjudge_audits_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def sums(ticks):
    """What the minutes' steps of a stream add up to, by name; the last telling of each counts."""
    names, steps = [], {}
    for tick in ticks:
        names += [tuple(name) for name in tick["names"]]
        steps |= {step["t"]: step["v"] for step in tick["minutes"]}
    found = {}
    for values in steps.values():
        for place, value in values.items():
            found[names[int(place)]] = found.get(names[int(place)], 0.0) + value
    return found


def test_steps_and_totals_add_up_to_what_was_judged(tmp_path):
    async def work():
        async with plain(tmp_path) as client:
            for i in range(3):
                await client.post("/v1/judge", {"arm": "plain", **pairs(1, i)[0]})
            await client.post("/v1/judge", {"arm": "plain", **pairs(1, 0)[0]})
            first = asyncio.ensure_future(events(client, 4))
            await asyncio.sleep(1.2)
            for i in range(5):
                await client.post("/v1/judge", {"arm": "plain", **pairs(1, 10 + i)[0]})
            told = await first
            assert [name for name, _ in told] == ["hello", "tick", "tick", "tick"]
            ticks = [tick for _, tick in told]
            assert ticks[0]["about"]["arms"] == ["plain"]
            assert ticks[0]["about"]["router"] is None
            found = sums(ticks)
            assert found["judgments", "plain", "A"] == 8
            assert found["judgments_cached", "plain"] == 1
            assert found["purchases", "plain", "A", "asked"] == 8
            names = [tuple(name) for tick in ticks for name in tick["names"]]
            totals = {names[int(place)]: value for place, value in ticks[-1]["totals"].items()}
            assert totals["judgments", "plain", "A"] == 8
            latest = [one for tick in ticks for one in tick["latest"]]
            assert [one["number"] for one in latest] == list(range(1, 9))
            status, kept = await client.get(f"/v1/judgments/{latest[-1]['id']}")
            assert (status, kept["prompt"]) == (200, "Add 14 and 14.")
            assert "Add 14" not in json.dumps(told)

    asyncio.run(work())


def test_a_long_past_comes_in_parts_and_without_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(events_module, "AT_ONCE", 1)

    async def work():
        async with plain(tmp_path) as client:
            watched = asyncio.ensure_future(events(client, 4))  # so that every second is looked at
            for i in range(4):
                await client.post("/v1/judge", {"arm": "plain", **pairs(1, i)[0]})
                await asyncio.sleep(1.1)
            await watched
            told = [tick for _, tick in await events(client, 4)]
            assert [len(tick["seconds"]) for tick in told] == [1, 1, 1, 1]
            assert told[2]["now_s"] - told[0]["now_s"] < 0.9
            names = [tuple(name) for tick in told for name in tick["names"]]
            steps = {step["t"]: step["v"] for tick in told for step in tick["seconds"]}
            judged = str(names.index(("judgments", "plain", "A")))
            assert sum(values.get(judged, 0.0) for values in steps.values()) >= 3

    asyncio.run(work())


def test_only_so_many_watch_at_once_and_a_stream_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(events_module, "MOST_WATCHERS", 1)
    monkeypatch.setattr(events_module, "LIFE_S", 1.5)

    async def work():
        async with plain(tmp_path) as client:
            first = asyncio.ensure_future(events(client, 100))
            await asyncio.sleep(0.3)
            status, answer, headers = 0, None, None
            async with client.session.get(client.address + "/v1/events") as refused:
                status, answer, headers = refused.status, await refused.json(), refused.headers
            assert (status, answer["error"]["code"]) == (503, "overloaded")
            assert int(headers["Retry-After"]) >= 1
            told = await asyncio.wait_for(first, 10)
            assert 2 <= len(told) < 5  # it ended by itself
            assert (await events(client, 1))[0][0] == "hello"

    asyncio.run(work())


def test_audits_are_bought_of_the_share_on_their_own_account(tmp_path, folder):
    async def work():
        async with (
            serving_model(Model(verdict("A", output=20))) as cheap,
            serving_model(Model(verdict("B", output=200))) as dear,
        ):
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            found = routing(folder, told, budget=1.5)  # so that the cheap arm is what most get
            async with gateway(told, tmp_path / "g.db", found, audit=0.5) as client:
                await client.post("/v1/judge", {"arm": "auto", "items": pairs(60, 1000)})
                _, text = await client.get("/metrics")
                results, before = audits_of(text), -1.0
                while sum(results.values()) != before or "adjudge_audits_waiting 0.0" not in text:
                    before = sum(results.values())
                    await asyncio.sleep(0.5)
                    _, text = await client.get("/metrics")
                    results = audits_of(text)
                assert 15 < sum(results.values()) < 45  # half of 60, within 4 deviations
                assert results["other"] > 0
                hello = (await events(client, 1))[0][1]
                accounts = {one["kind"]: one for one in hello["state"]["accounts"]}
                audits = sum(n for result, n in results.items() if result != "skipped")
                bought = hello["state"]["quality"]["audits"]
                assert bought == audits
                assert 0 < accounts["audit"]["all"]["usd"] < accounts["all"]["all"]["usd"]
                assert accounts["audit"]["judgments"] <= audits  # what the router had bought whole is known already
                assert hello["about"]["router"]["dear"] == "dear"
                assert hello["state"]["quality"]["regret_most"]["value"] > 0.5  # they agree where dear was bought alone

    asyncio.run(work())


def test_audits_that_a_cap_has_no_room_for_are_left_out_and_answers_are_not(tmp_path, folder):
    async def work():
        async with (
            serving_model(Model(verdict("A", output=20))) as cheap,
            serving_model(Model(verdict("B", output=200))) as dear,
        ):
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            async with Ledger(str(tmp_path / "g.db")) as ledger:
                await ledger.set_caps("audit", Caps(total_usd=0.0))
            async with gateway(told, tmp_path / "g.db", routing(folder, told, budget=1.5), audit=1.0) as client:
                status, answer = await client.post("/v1/judge", {"arm": "auto", "items": pairs(10, 1000)})
                assert (status, answer["failed"]) == (200, 0)
                for _ in range(100):
                    _, text = await client.get("/metrics")
                    if 'adjudge_audits_total{result="skipped"} 10.0' in text:
                        break
                    await asyncio.sleep(0.05)
                assert 'adjudge_audits_total{result="skipped"} 10.0' in text
                assert not [line for line in text.splitlines() if line.startswith("adjudge_unjudged_total")]

    asyncio.run(work())


def test_the_features_of_a_pair_are_made_once(tmp_path, folder, monkeypatch):
    made = []
    extract = live.extract

    def counted(pairs_, embedder=None):
        made.append([pair.prompt for pair in pairs_])
        return extract(pairs_, embedder)

    monkeypatch.setattr(live, "extract", counted)

    async def work():
        async with serving_model(Model(verdict())) as cheap, serving_model(Model(verdict())) as dear:
            told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES)
            async with gateway(told, tmp_path / "g.db", routing(folder, told)) as client:
                await client.post("/v1/judge", {"arm": "auto", "items": pairs(6, 1000)})
                for _ in range(100):
                    _, text = await client.get("/metrics")
                    pairs_seen = next(line for line in text.splitlines() if line.startswith("adjudge_drift_nats"))
                    if pairs_seen != "adjudge_drift_nats 0.0":
                        break
                    await asyncio.sleep(0.1)
                assert float(pairs_seen.split()[1]) > 0  # drift has seen them

    asyncio.run(work())
    assert sorted(made) == sorted([f"Add {i} and {i}."] for i in range(1000, 1006))


def test_a_share_to_audit_needs_a_router(tmp_path):
    arms = tmp_path / "arms.toml"
    arms.write_text('[servers.s]\nurl = "http://127.0.0.1:9/v1"\n[arms.plain]\nserver = "s"\nmodel = "m"\n')
    told = ["--arms", str(arms), "--store", str(tmp_path / "g.db"), "--port", "0"]
    refused = CliRunner().invoke(serve, [*told, "--audit", "1%"])
    assert refused.exit_code != 0
    assert "name one with --router" in str(refused.exception or refused.output)
    for wrong in ("101%", "-1", "much", "nan"):
        refused = CliRunner().invoke(serve, [*told, "--audit", wrong])
        assert refused.exit_code == 2
        assert "is no share" in refused.output


def test_the_page_is_for_this_machine_alone_where_there_are_no_keys(tmp_path):
    async def work():
        async with plain(tmp_path) as client:
            for path in ("/", "/v1/events"):
                async with client.session.get(client.address + path, headers={"Host": "evil.example"}) as answer:
                    assert answer.status == 403
            await client.post("/v1/judge", {"arm": "plain", **pairs(1)[0]})
            async with client.session.get(client.address + "/") as answer:
                html = await answer.text()
            assert "Add 0 and 0." not in html  # the page holds no figure and no text: they come by the events

    asyncio.run(work())


def test_a_store_that_fails_is_told_on_the_page_and_in_the_log_and_to_others_without_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("adjudge.gateway.ledger.ledger.BEAT_S", 0.05)
    beat, broken = ledger_sql.beat, []

    def beating(connection, run_id):
        if broken:
            raise StoreError("store g.db: the disk is full")
        return beat(connection, run_id)

    monkeypatch.setattr(ledger_sql, "beat", beating)

    async def work():
        async with plain(tmp_path) as client:
            assert (await client.get("/readyz"))[0] == 200
            broken.append(True)
            await asyncio.sleep(0.2)
            status, answer = await client.get("/readyz")
            assert (status, "g.db" in str(answer)) == (503, False)
            await asyncio.sleep(1.2)
            assert (await events(client, 1))[0][1]["state"]["store"] == "store g.db: the disk is full"
            broken.clear()
            await asyncio.sleep(1.3)
            assert (await client.get("/readyz"))[0] == 200
            assert (await events(client, 1))[0][1]["state"]["store"] == ""
            told = [line["fault"] for line in client.lines() if line.get("event") == "store"]
            assert told == ["store g.db: the disk is full", None]

    asyncio.run(work())


def test_a_database_that_does_not_answer_does_not_stop_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("adjudge.gateway.watch.watching.ACCOUNTS_WAIT_S", 0.05)

    async def never(ledger, names):
        await asyncio.sleep(600)

    monkeypatch.setattr("adjudge.gateway.watch.watching.accounts", never)

    async def work():
        async with plain(tmp_path) as client:
            told = await asyncio.wait_for(events(client, 3), 5)
            assert [name for name, _ in told] == ["hello", "tick", "tick"]

    asyncio.run(work())


def test_an_id_that_is_none_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.delattr("adjudge.gateway.shelf.Shelf.whole")  # PostgreSQL would fail at the first of these

    async def work():
        async with plain(tmp_path) as client:
            for name in ("jdg_%00" + "a" * 31, "jdg_" + "A" * 32, "jdg_", "a" * 32, "jdg_" + "0" * 33):
                url = URL(f"{client.address}/v1/judgments/{name}", encoded=True)
                async with client.session.get(url) as answer:
                    assert answer.status == 404

    asyncio.run(work())
