"""Keys of the gateway: made, checked, rated, revoked; and the command that does so."""

import asyncio
import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import sqlalchemy as sa

from adjudge.__main__ import main
from adjudge.errors import CapReached, KeyRefused, RateReached, StoreError
from adjudge.gateway.keys import key as keys
from adjudge.gateway.keys import ring as rings
from adjudge.gateway.keys import sql
from adjudge.gateway.keys.key import Kept, Key, Scope, hashed, id_of, new_id, new_presented
from adjudge.gateway.keys.ring import KeyRing
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE, Caps, Spent
from adjudge.store.engine import Database

from .gateway_ledgers import (
    fixture_ledger_url,  # noqa: F401
    fixture_made_once,  # noqa: F401
    with_ledger,
)

T = TypeVar("T")


def with_ring(url: str, use: Callable[[KeyRing], Awaitable[T]]) -> T:
    async def run() -> T:
        ring = KeyRing(url)
        await ring.open()
        try:
            return await use(ring)
        finally:
            await ring.close()

    return asyncio.run(run())


def put(url: str, **said: object) -> tuple[Key, str]:
    """A key in the store, and what its holder presents."""
    made = Key(new_id(), "test", frozenset(Scope), None, time.time_ns())._replace(**said)
    presented = new_presented(made.id)
    write(url, lambda c: sql.add(c, Kept(made, hashed(presented))))
    return made, presented


def write(url: str, work: Callable[[sa.Connection], T]) -> T:
    database = Database(url)
    try:
        return database.write(work)
    finally:
        database.close()


def adjudge(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *args])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_key_is_known_again_by_what_its_holder_presents(ledger_url):
    made, presented = put(ledger_url, scopes=frozenset({Scope.JUDGE}), per_minute=90.0)

    async def use(ring: KeyRing) -> None:
        assert await ring.has_keys()
        assert await ring.check(presented) == made

    with_ring(ledger_url, use)


def test_unknown_wrong_revoked_and_expired_keys_are_refused_alike(ledger_url, monkeypatch):
    good, presented = put(ledger_url)
    revoked, once_valid = put(ledger_url)
    _, over = put(ledger_url, expires_ns=time.time_ns() - 1)
    write(ledger_url, lambda c: sql.revoke(c, revoked.id))
    wrong = [
        new_presented(new_id()),
        new_presented(good.id),
        presented[:-1],
        presented + "x",
        presented.upper(),
        once_valid,
        over,
        "",
        "adj_",
        f"adj_{good.id}_",
        "sk-something-else",
        presented.partition("_")[2],
        "adj_\udcff_é_\0",
        "x" * 10_000,
    ]
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))

    async def use(ring: KeyRing) -> None:
        messages = set()
        for one in wrong:
            with pytest.raises(KeyRefused) as refused:
                await ring.check(one)
            messages.add(str(refused.value))
            assert refused.value.__cause__ is None
        assert len(messages) == 1
        assert len(compared) == len(wrong)  # as much work for each, the unknown ones too
        assert {len(digest) for pair in compared for digest in pair} == {64}
        await ring.check(presented)

    with_ring(ledger_url, use)


def test_what_is_kept_does_not_tell_the_key(ledger_url):
    made, presented = put(ledger_url)
    row = write(ledger_url, lambda c: c.execute(sa.text("SELECT * FROM gateway_keys")).one())
    secret = presented.removeprefix(f"adj_{made.id}_")
    assert len(secret) == 43  # 256 bits
    assert secret not in repr(row)
    assert id_of(presented) == made.id
    assert len({new_presented("0" * 12) for _ in range(1000)}) == 1000


def test_a_revoked_key_is_refused_as_soon_as_the_keys_are_looked_at_anew(ledger_url, monkeypatch):
    monkeypatch.setattr(rings, "KNOWN_S", 0.2)
    made, presented = put(ledger_url)

    async def use(ring: KeyRing) -> None:
        await ring.check(presented)
        assert await asyncio.to_thread(write, ledger_url, lambda c: sql.revoke(c, made.id)) is True
        _, new = await asyncio.to_thread(put, ledger_url)
        await asyncio.sleep(0.2)
        with pytest.raises(KeyRefused):
            await ring.check(presented)
        await ring.check(new)

    with_ring(ledger_url, use)
    assert write(ledger_url, lambda c: sql.revoke(c, made.id)) is False
    assert write(ledger_url, lambda c: sql.revoke(c, "nobody")) is None


def test_a_request_reads_no_database_and_many_that_come_at_once_one_look(ledger_url):
    _, presented = put(ledger_url)

    async def use(ring: KeyRing) -> None:
        statements: list[str] = []
        sa.event.listen(ring._database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        for _ in range(200):
            await ring.check(presented)
            with pytest.raises(KeyRefused):
                await ring.check(new_presented(new_id()))
        assert statements == []
        ring._read_at = -math.inf
        await asyncio.gather(*(ring.check(presented) for _ in range(200)))
        assert sum("gateway_keys" in statement for statement in statements) == 1  # the stamp: nothing has changed

    with_ring(ledger_url, use)


def test_who_cannot_read_the_keys_lets_nobody_in(tmp_path, monkeypatch):
    url = str(tmp_path / "k.db")
    with_ring(url, KeyRing.has_keys)
    _, presented = put(url)

    async def use(ring: KeyRing) -> None:
        await ring.check(presented)

        def away(*_: object) -> None:
            raise StoreError("it is away")

        monkeypatch.setattr(ring._database, "read", away)
        ring._read_at = -math.inf
        for answer in await asyncio.gather(*(ring.check(presented) for _ in range(3)), return_exceptions=True):
            assert isinstance(answer, StoreError)
        monkeypatch.undo()
        await ring.check(presented)

    with_ring(url, use)


def test_a_key_asks_no_faster_than_its_rate_and_is_told_when_to_come_again(ledger_url, monkeypatch):
    slow, _ = put(ledger_url, per_minute=60.0)
    free, _ = put(ledger_url)
    now = 1000.0
    monkeypatch.setattr(rings.time, "monotonic", lambda: now)

    async def use(ring: KeyRing) -> None:
        nonlocal now
        let_in = 0
        for _ in range(1200):  # two minutes, ten requests a second
            now += 0.1
            ring.take(free)
            try:
                ring.take(slow)
                let_in += 1
            except RateReached as reached:
                assert 0 < reached.retry_after_s <= 1.0
        assert let_in == 120 + rings.BURST_S
        with pytest.raises(RateReached) as refused:
            ring.take(slow)
        now += refused.value.retry_after_s + 1e-6
        ring.take(slow)

    with_ring(ledger_url, use)


def test_the_command_makes_lists_and_revokes_keys(ledger_url, capsys):
    code, presented, said = adjudge(
        capsys, "add", "--store", ledger_url, "--name", "evals", "--scopes", "judge,feedback", "--day-usd", "5",
        "--rate", "600", "--expires", "2199-01-31",
    )  # fmt: skip
    assert code == 0 and "It is not shown again" in said
    presented = presented.strip()
    key_id = id_of(presented)

    async def spend(ledger: Ledger) -> None:
        assert await ledger.caps() == {key_id: Caps(day_usd=5.0)}
        await ledger.settle(await ledger.reserve([key_id], 0.5), Spent(0.25))

    with_ledger(ledger_url, spend)
    code, out, _ = adjudge(capsys, "list", "--store", ledger_url, "--json")
    (row,) = json.loads(out)["keys"]
    assert presented not in out
    shown = {name: row[name] for name in ("id", "name", "state", "scopes", "per_minute", "expires", "caps")}
    assert shown == {
        "id": key_id,
        "name": "evals",
        "state": "valid",
        "scopes": ["feedback", "judge"],
        "per_minute": 600.0,
        "expires": "2199-01-31T00:00:00Z",
        "caps": {"hour_usd": None, "day_usd": 5.0, "total_usd": None},
    }
    assert row["spent"]["day"]["usd"] == 0.25
    assert adjudge(capsys, "list", "--store", ledger_url)[1].count(key_id) == 1
    code, out, _ = adjudge(capsys, "caps", key_id, "--store", ledger_url, "--day-usd", "none", "--total-usd", "9")
    assert (code, out) == (0, f"{key_id}: hour_usd any, day_usd any, total_usd 9\n")
    assert adjudge(capsys, "revoke", key_id, "--store", ledger_url)[:2] == (0, f"{key_id} is revoked\n")
    code, out, _ = adjudge(capsys, "revoke", key_id, "--store", ledger_url, "--json")
    assert json.loads(out)["was_revoked_before"] is True

    async def use(ring: KeyRing) -> None:
        with pytest.raises(KeyRefused):
            await ring.check(presented)

    with_ring(ledger_url, use)


def test_the_whole_and_audits_have_caps_of_every_window_too(ledger_url, capsys):
    adjudge(capsys, "add", "--store", ledger_url, "--name", "a team [x] [/y]")
    for account, caps in (("all", ("--hour-usd", "1", "--day-usd", "8")), ("audit", ("--total-usd", "2"))):
        assert adjudge(capsys, "caps", account, "--store", ledger_url, *caps)[0] == 0

    async def look(ledger: Ledger) -> None:
        assert await ledger.caps() == {WHOLE: Caps(hour_usd=1.0, day_usd=8.0), "audit": Caps(total_usd=2.0)}
        await ledger.change_caps(WHOLE, {"total_usd": 50.0})
        assert (await ledger.caps())[WHOLE] == Caps(hour_usd=1.0, day_usd=8.0, total_usd=50.0)
        with pytest.raises(CapReached):
            await ledger.reserve([WHOLE], 1.5)

    with_ledger(ledger_url, look)
    _, out, _ = adjudge(capsys, "list", "--store", ledger_url, "--json")
    shared = {row["id"]: row["caps"] for row in json.loads(out)["shared"]}
    assert shared["all"] == {"hour_usd": 1.0, "day_usd": 8.0, "total_usd": 50.0}
    out = adjudge(capsys, "list", "--store", ledger_url)[1]
    assert "[x]" in out
    assert "0/50" in out


def test_a_key_made_by_the_command_opens_the_door(ledger_url, capsys):
    _, out, _ = adjudge(capsys, "add", "--store", ledger_url, "--name", "x", "--json")
    row = json.loads(out)

    async def use(ring: KeyRing) -> Key:
        return await ring.check(row["key"])

    found = with_ring(ledger_url, use)
    assert (found.id, found.scopes) == (row["id"], {Scope.JUDGE, Scope.REWARD, Scope.FEEDBACK})


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("add", "--name", "x", "--scopes", "judge,fly"), "no scope 'fly'; known: judge, reward, feedback, admin"),
        (("add", "--name", "x", "--rate", "0"), "0.0 is not in the range x>0"),
        (("add", "--name", "x", "--day-usd", "-1"), "-1.0 is not in the range x>=0"),
        (("add", "--name", "x", "--day-usd", "1e12"), "day_usd is 1e+12; a cap is a number of dollars"),
        (("add", "--name", "x", "--expires", "2020-01-01"), "is over; give a time to come"),
        (
            ("add", "--name", "x", "--expires", "2999-01-01"),
            "is too far away; leave it out for a key that never expires",
        ),
        (("revoke", "nobody"), "no key has the id 'nobody'; see `adjudge keys list`"),
        (("caps", "nobody", "--day-usd", "1"), "no key has the id 'nobody'"),
        (("caps", "nobody"), "name a cap to change"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(tmp_path, capsys, args, says):
    url = str(tmp_path / "k.db")
    adjudge(capsys, "add", "--store", url, "--name", "first")
    code, out, said = adjudge(capsys, *args, "--store", url)
    assert (code, out, says in said) == (2, "", True), said
    assert json.loads(adjudge(capsys, "list", "--store", url, "--json")[1])["keys"][0]["name"] == "first"


def test_keys_of_a_store_that_is_not_there_are_not_listed(tmp_path, capsys):
    assert adjudge(capsys, "list", "--store", str(tmp_path / "none.db"))[0] == 2
    assert not (tmp_path / "none.db").exists()
