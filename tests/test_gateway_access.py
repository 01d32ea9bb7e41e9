"""Who may ask, how much at once, and what is written down: keys, bounds, logs."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from adjudge.commands.keys import command as keys
from adjudge.errors import ConfigError
from adjudge.gateway.ledger.ledger import Ledger
from tests.gateways import PAIR, Model, completion, gateway, serving_model, settings, verdict

JUDGE = {"arm": "plain", **PAIR}


def made(store, *options):
    """A key by `adjudge keys add`: (what is presented, its id)"""
    found = CliRunner().invoke(keys, ["add", "--store", str(store), "--name", "x", "--json", *options])
    assert found.exit_code == 0, found.output
    told = json.loads(found.output)
    return told["key"], told["id"]


def test_with_keys_each_path_needs_one_with_its_scope_and_all_wrong_ones_are_refused_alike(tmp_path):
    store = tmp_path / "g.db"
    judge, _ = made(store, "--scopes", "judge")
    reward, _ = made(store, "--scopes", "reward")
    admin, _ = made(store, "--scopes", "admin,feedback")
    revoked, its_id = made(store, "--scopes", "judge")
    assert CliRunner().invoke(keys, ["revoke", its_id, "--store", str(store)]).exit_code == 0

    async def work():
        async with serving_model(Model(verdict())) as model, gateway(settings({"plain": model.url}), store) as client:
            assert client.gateway.keyed
            refusals = []
            for key in ("", "nonsense", judge[:-1] + "x", judge + "x", revoked):
                status, answer, headers = await client.posted("/v1/judge", JUDGE, key=key)
                refusals.append((status, str(answer), headers["WWW-Authenticate"]))
            assert len(set(refusals)) == 1
            assert refusals[0][0] == 401
            status, found = await client.post("/v1/judge", JUDGE, key=judge)
            assert status == 200
            chat = {"model": "adjudge/plain", "messages": [{"role": "user", "content": "hi"}]}
            for path, body, right in (
                ("/v1/judge", JUDGE, judge),
                ("/v1/chat/completions", chat, judge),
                ("/v1/feedback", {"id": found["id"], "gold": "A"}, admin),
                ("/v1/rewards", {"arm": "plain", "groups": [{"prompt": "p", "responses": ["a", "b"]}]}, reward),
            ):
                for key in (judge, reward, admin):
                    assert (await client.post(path, body, key=key))[0] == (200 if key == right else 403), path
            assert (await client.get("/metrics", key=judge))[0] == 403
            assert (await client.get("/metrics", key=admin))[0] == 200
            assert (await client.get("/v1/models"))[0] == 401
            assert (await client.get("/healthz"))[0] == 200
            text = client.log.getvalue()
            for secret in (judge, reward, admin, revoked, PAIR["prompt"], PAIR["response_a"], "[[A]]"):
                assert secret not in text
            assert {line["id"][:4] for line in client.lines()} == {"req_"}

    asyncio.run(work())


def test_a_keys_own_cap_and_rate_are_its_own(tmp_path):
    store = tmp_path / "g.db"
    poor, _ = made(store, "--total-usd", "0.0001")
    rich, _ = made(store)
    slow, _ = made(store, "--rate", "6")

    async def work():
        async with serving_model(Model(verdict())) as model, gateway(settings({"plain": model.url}), store) as client:
            assert (await client.post("/v1/judge", JUDGE, key=poor))[0] == 402
            assert (await client.post("/v1/judge", JUDGE, key=rich))[0] == 200
            assert (await client.post("/v1/judge", JUDGE, key=poor))[0] == 200  # it is known now, and free
            found = [await client.posted("/v1/judge", JUDGE, key=slow) for _ in range(4)]
            assert [found[0][0], found[-1][0]] == [200, 429]
            assert int(found[-1][2]["Retry-After"]) > 1

    asyncio.run(work())


def test_what_another_keys_cap_refuses_is_bought_by_whoever_can_pay(tmp_path):
    store = tmp_path / "g.db"
    poor, its_id = made(store, "--total-usd", "0.0001")
    rich, _ = made(store)

    async def work():
        async with serving_model(Model(verdict())) as model, gateway(settings({"plain": model.url}), store) as client:
            for i in range(5):
                body = {**JUDGE, "response_a": f"answer {i}"}
                found = await asyncio.gather(*(client.post("/v1/judge", body, key=key) for key in (poor, rich, rich)))
                assert [status for status, _ in found[1:]] == [200, 200]
                assert its_id not in str(found[1:])
            assert len(model.asked) == 5

    asyncio.run(work())


def test_without_keys_only_this_machine_is_served_by_its_own_name(tmp_path):
    async def work():
        told = settings({"plain": "http://127.0.0.1:1/v1"})
        with pytest.raises(ConfigError, match="no keys"):
            async with gateway(told, tmp_path / "g.db", host="0.0.0.0"):
                pass
        async with gateway(told, tmp_path / "g.db") as client:
            assert not client.gateway.keyed
            assert any("no keys" in remark for remark in client.gateway.remarks)
            assert (await client.get("/v1/models"))[0] == 200
            for host in ("localhost", "127.0.0.1:80", "127.0.0.2", "[::1]:8080"):
                assert (await client.get("/v1/models", Host=host))[0] == 200
            for host in ("evil.example:80", "127.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "["):
                assert (await client.get("/v1/models", Host=host))[0] == 403

    asyncio.run(work())


async def raw(address: str, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """What comes back for bytes that are sent as they are."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEAD = b"POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_what_is_too_large_too_slow_or_no_http_is_refused_and_others_are_served_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr("adjudge.gateway.wire.HEAD_S", 0.6)

    async def work():
        told = settings({"plain": "http://127.0.0.1:1/v1"})
        async with gateway(told, tmp_path / "g.db", body_mb=0.5, body_s=0.6) as client:
            at = client.address
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            cases = {
                "whole": (raw(at, HEAD + b"Content-Length: 8000000\r\n\r\n", *[b"x" * 80_000] * 100), b"413"),
                "chunked": (raw(at, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40, b"0\r\n\r\n"), b"413"),
                "announced": (raw(at, HEAD + b"Expect: 100-continue\r\nContent-Length: 9000000000\r\n\r\n"), b"413"),
                "slow body": (raw(at, HEAD + b"Content-Length: 100\r\n\r\n{", b" ", b" ", pause_s=0.1), b"408"),
                "slow head": (raw(at, HEAD, b"X-A: b\r\n", b"X-B: c\r\n", pause_s=0.1), b"408"),
                "many headers": (raw(at, HEAD + b"X-A: b\r\n" * 5000 + b"\r\n"), b"431"),
                "a long header": (raw(at, HEAD + b"X-A: ", *[b"y" * 20_000] * 20), b"431"),
                "a long address": (raw(at, b"GET /" + b"z" * 100_000 + b" HTTP/1.1\r\n\r\n"), b"4"),
                "no http": (raw(at, b"\x16\x03\x01 hello\r\n\r\n"), b"400"),
            }
            asked = [asyncio.ensure_future(sent) for sent, _ in cases.values()]
            healthy = []
            while not all(task.done() for task in asked):
                healthy.append((await client.get("/healthz"))[0])
                await asyncio.sleep(0.05)
            assert set(healthy) == {200}
            for (name, (_, status)), task in zip(cases.items(), asked, strict=True):
                assert task.result().startswith(b"HTTP/1.1 " + status), (name, task.result()[:80])

    asyncio.run(work())


def test_requests_one_after_the_other_on_one_connection_are_each_bounded(tmp_path):
    async def work():
        async with gateway(settings({"plain": "http://127.0.0.1:1/v1"}), tmp_path / "g.db") as client:
            get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            found = await raw(client.address, get * 3 + get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert found.count(b"HTTP/1.1 200 OK") == 4
            flood = get.replace(b"\r\n\r\n", b"\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n")
            found = await raw(client.address, get, flood, pause_s=0.1)
            assert found.count(b"HTTP/1.1 200 OK") == 1
            assert b"HTTP/1.1 431" in found

    asyncio.run(work())


def test_every_answer_has_an_id_the_callers_own_where_it_is_a_plain_one(tmp_path):
    async def work():
        async with (
            serving_model(Model(lambda body: completion("[[A]]"))) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            for given, kept in (("my-id.7", True), ("x" * 65, False), ("a b", False)):
                _, found, headers = await client.posted("/v1/judge", JUDGE, **{"X-Request-Id": given})
                assert (headers["X-Request-Id"] == given) == kept
                assert found["request_id"] == headers["X-Request-Id"]

    asyncio.run(work())


@pytest.mark.parametrize("path", ["/v1/judge", "/v1/chat/completions", "/v1/rewards", "/v1/feedback"])
def test_json_that_is_none_too_deep_or_no_text_is_refused_everywhere(tmp_path, path):
    async def work():
        async with gateway(
            settings({"plain": "http://127.0.0.1:1/v1"}), tmp_path / "g.db", reward_arm="plain"
        ) as client:
            deep = b"[" * 100_000 + b"]" * 100_000
            model = b'{"model":"adjudge/plain","arm":"plain","id":"jdg_' + b"0" * 32 + b'","gold":"A","prompt":"p",'
            for body in (
                b"",
                b"nonsense",
                b"null",
                deep,
                model + b'"messages":' + deep + b',"items":' + deep + b',"note":' + deep + b"}",
                model + b'"messages":[{"role":"user","content":"\xff"}],"items":[{"prompt":"\xff"}],"note":"\xff"}',
                model + b'"messages":7,"items":7,"note":7}',
            ):
                status, answer = await client.post(path, body)
                assert (status, answer["error"]["type"]) == (400, "invalid_request_error"), body[:80]
            assert "fault" not in client.log.getvalue()

    asyncio.run(work())


def test_trailers_are_no_headers_and_without_end_they_are_cut_off(tmp_path):
    async def work():
        async with gateway(settings({"plain": "http://127.0.0.1:1/v1"}), tmp_path / "g.db") as client:
            head = b"POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            body = b"2\r\n{}\r\n0\r\n"
            typed = b"Content-Type: application/json\r\n"
            sent = head + b"Connection: close\r\n" + typed + b"\r\n" + body
            assert b"HTTP/1.1 400" in await raw(client.address, sent + b"\r\n")
            sent = head + b"Connection: close\r\n\r\n" + body + typed + b"\r\n"
            assert b"HTTP/1.1 415" in await raw(client.address, sent)
            began = time.monotonic()
            lines = [b"X-A: " + b"y" * 100 + b"\r\n"] * 1000
            for flood in (lines, [b"X-A: ", *[b"y" * 10_000] * 10]):
                assert b"200" not in await raw(client.address, head + typed + b"\r\n" + body, *flood)
            assert time.monotonic() - began < 10  # not only once the body's time is over
            assert (await client.get("/healthz"))[0] == 200

    asyncio.run(work())


def test_who_reads_nothing_of_a_stream_loses_it_and_holds_no_place(tmp_path, monkeypatch):
    monkeypatch.setattr("adjudge.gateway.wire.STALL_S", 0.4)
    long = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 50_000}}]}).encode() + b"\n\n"

    async def work():
        async with (
            serving_model(Model(lambda body: [long] * 400)) as model,
            gateway(settings({"plain": model.url}, max_reply_mb=64.0), tmp_path / "g.db", deadline_s=60.0) as client,
        ):
            host, port = client.address.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            said = [{"role": "user", "content": "hi"}]
            body = json.dumps({"model": "adjudge/plain", "messages": said, "stream": True})
            head = HEAD.replace(b"/v1/judge", b"/v1/chat/completions")
            writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body.encode())
            assert (await reader.read(8)).startswith(b"HTTP/1.1")
            assert client.gateway.room.inside == 1
            began = time.monotonic()
            while client.gateway.room.inside:
                assert time.monotonic() - began < 8
                await asyncio.sleep(0.05)
            writer.close()
        async with Ledger(str(tmp_path / "g.db")) as ledger:
            totals = await ledger.totals("")
            assert totals.usd > 0
            assert totals.presumed_usd == totals.reserved_usd == 0

    asyncio.run(work())
