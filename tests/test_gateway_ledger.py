"""The gateway's ledger on both databases: what is reserved, settled, given back and refused; and when things fail."""

import asyncio

import pytest
import sqlalchemy as sa

from adjudge.errors import CapReached, ConfigError, StoreError
from adjudge.gateway.ledger import ledger as ledgers
from adjudge.gateway.ledger import refusals
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import HOUR_S, WHOLE, Caps, Spent, Totals
from adjudge.store.engine import Database
from adjudge.store.store import Store

from .gateway_ledgers import (
    assert_books_agree,
    counting,
    fixture_ledger_url,  # noqa: F401
    fixture_made_once,  # noqa: F401
    refused,
    reserved_until_full,
    with_ledger,
)
from .stored import ARMS, bought, pair


def test_what_is_settled_is_what_was_spent_by_a_hand_count(ledger_url):
    async def use(ledger: Ledger) -> dict[str, Totals]:
        for key in ("a", "b", "a"):
            reservation = await ledger.reserve([key, WHOLE], 0.01)
            await ledger.settle(reservation, Spent(0.0025, units=1.5, prompt_tokens=100, output_tokens=7))
        return await ledger.all_totals()

    totals = with_ledger(ledger_url, use)
    one = Totals(usd=0.0025, units=1.5, judgments=1, prompt_tokens=100, output_tokens=7)
    assert totals["b"] == one
    assert totals["a"] == Totals(usd=0.005, units=3.0, judgments=2, prompt_tokens=200, output_tokens=14)
    assert totals[WHOLE] == Totals(usd=0.0075, units=4.5, judgments=3, prompt_tokens=300, output_tokens=21)


@pytest.mark.parametrize("caps", [None, Caps(total_usd=1.0)])
def test_settling_twice_counts_once(ledger_url, caps):
    async def use(ledger: Ledger) -> Totals:
        if caps:
            await ledger.set_caps("a", caps)
        reservation = await ledger.reserve(["a"], 0.5)
        await asyncio.gather(*(ledger.settle(reservation, Spent(0.1)) for _ in range(3)))
        await ledger.settle(reservation, Spent(0.1))
        await ledger.release(reservation)
        return await ledger.totals("a")

    totals = with_ledger(ledger_url, use)
    assert (totals.usd, totals.judgments) == (0.1, 1)
    assert_books_agree(ledger_url)


def test_a_cap_is_used_up_to_its_last_cent_and_never_passed(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(day_usd=0.3))
        held, reached = await reserved_until_full(ledger, "a", 0.1)
        assert len(held) == 3
        assert (reached.account, reached.window, reached.retry_after_s) == (
            "a",
            "day",
            1.0,
        )  # calls in flight are in the way
        await ledger.settle(held.pop(), Spent(0.04))
        again, _ = await reserved_until_full(ledger, "a", 0.06)
        assert len(again) == 1
        for reservation in (*held, *again):
            await ledger.settle(reservation, Spent(reservation.worst_usd))
        reached = await refused(ledger.reserve(["a"], 0.001))
        assert HOUR_S * 24 >= (reached.retry_after_s or 0) > 1.0
        assert (await ledger.totals("a", "day")).usd == 0.3

    with_ledger(ledger_url, use)
    assert_books_agree(ledger_url)


def test_of_many_at_once_as_many_are_let_in_as_fit(ledger_url):
    async def use(ledger: Ledger) -> int:
        await ledger.set_caps(WHOLE, Caps(total_usd=0.5))
        asked = [ledger.reserve([f"key {i % 7}", WHOLE], 0.01) for i in range(200)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(one) for one in told} == {CapReached, ledgers.Reservation}
        return sum(isinstance(one, ledgers.Reservation) for one in told)

    assert with_ledger(ledger_url, use) == 50
    assert_books_agree(ledger_url)


def test_a_call_is_let_in_by_all_its_accounts_or_none(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(hour_usd=0.1))
        await ledger.set_caps(WHOLE, Caps(total_usd=1.0))
        reached = await refused(ledger.reserve(["a", WHOLE], 0.2))
        assert (reached.account, reached.window, reached.retry_after_s) == ("a", "hour", None)  # it can never fit
        assert counting(await ledger.totals(WHOLE)) == 0.0

    with_ledger(ledger_url, use)


def test_of_two_caps_in_the_way_the_one_that_stays_longer_is_named(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(hour_usd=0.1, day_usd=0.1, total_usd=0.1))
        reservation = await ledger.reserve(["a"], 0.1)
        assert (await refused(ledger.reserve(["a"], 0.1))).retry_after_s == 1.0
        await ledger.settle(reservation, Spent(0.1))
        reached = await refused(ledger.reserve(["a"], 0.1))
        assert (reached.window, reached.retry_after_s) == ("all", None)
        assert "raise the cap" in str(reached)

    with_ledger(ledger_url, use)


def test_releasing_frees_and_settling_frees_what_was_not_spent(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=0.1))
        for _ in range(5):
            await ledger.release(await ledger.reserve(["a"], 0.1))
        for _ in range(5):
            await ledger.settle(await ledger.reserve(["a"], 0.06), Spent(0.01))
        assert (await ledger.totals("a")).usd == 0.05

    with_ledger(ledger_url, use)
    assert_books_agree(ledger_url)


def test_an_overrun_is_booked_in_full_and_counted(ledger_url):
    async def use(ledger: Ledger) -> Totals:
        await ledger.set_caps("a", Caps(total_usd=0.1))
        await ledger.settle(await ledger.reserve(["a"], 0.1), Spent(0.25))
        await refused(ledger.reserve(["a"], 0.001))
        await ledger.release(await ledger.reserve(["a"], 0.0))
        return await ledger.totals("a")

    totals = with_ledger(ledger_url, use)
    assert totals == Totals(usd=0.25, overrun_usd=0.15, overruns=1, judgments=1)


def test_who_asks_again_and_again_of_a_reached_cap_does_not_go_to_the_database(ledger_url, monkeypatch):
    monkeypatch.setattr(refusals, "REMEMBERED_S", 60.0)

    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=0.1))
        reservation = await ledger.reserve(["a"], 0.1)
        statements: list[str] = []
        first = await refused(ledger.reserve(["a"], 0.05))
        sa.event.listen(ledger._database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        for _ in range(100):
            again = await refused(ledger.reserve(["a"], 0.06))
            assert (again.window, again.retry_after_s) == (first.window, first.retry_after_s)
        assert statements == []
        await ledger.release(reservation)
        await ledger.release(await ledger.reserve(["a"], 0.1))  # what is given back here is seen at once

    with_ledger(ledger_url, use)


def test_without_caps_reserving_writes_nothing_and_settling_does(ledger_url):
    async def use(ledger: Ledger) -> None:
        statements: list[str] = []
        await ledger.release(await ledger.reserve(["a", WHOLE], 1.0))
        sa.event.listen(ledger._database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        held = [await ledger.reserve(["a", WHOLE], 1.0) for _ in range(100)]
        assert statements == []
        await ledger.settle(held[0], Spent(0.5))
        assert any("ledger_hours" in statement for statement in statements)
        assert counting(await ledger.totals("a")) == 0.5

    with_ledger(ledger_url, use)


def test_with_the_first_caps_what_was_spent_before_starts_to_count(ledger_url):
    async def use(ledger: Ledger) -> None:
        flying = await ledger.reserve(["a"], 0.3)
        await ledger.settle(await ledger.reserve(["a"], 0.5), Spent(0.4))
        await ledger.set_caps("a", Caps(day_usd=0.5))
        await refused(ledger.reserve(["a"], 0.2))
        await ledger.settle(flying, Spent(0.05))  # made before the cap, and counts
        await refused(ledger.reserve(["a"], 0.1))
        await ledger.release(await ledger.reserve(["a"], 0.05))
        await ledger.set_caps("a", Caps())
        await ledger.release(await ledger.reserve(["a"], 100.0))
        assert await ledger.caps() == {"a": Caps()}

    with_ledger(ledger_url, use)
    assert_books_agree(ledger_url)


def test_caps_that_another_process_sets_hold_from_the_next_beat_on(ledger_url, monkeypatch):
    monkeypatch.setattr(ledgers, "BEAT_S", 0.02)

    async def use(ledger: Ledger) -> None:
        await ledger.release(await ledger.reserve(["a", WHOLE], 1.0))
        async with Ledger(ledger_url) as other:
            await other.set_caps("a", Caps(hour_usd=0.5))
        await asyncio.sleep(0.3)
        await refused(ledger.reserve(["a", WHOLE], 1.0))

    with_ledger(ledger_url, use)


def test_a_call_counts_in_the_hour_in_which_it_was_reserved(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(hour_usd=0.1))
        late = await ledger.reserve(["a"], 0.1)
        ledger._ahead_ns += HOUR_S * 10**9
        held, _ = await reserved_until_full(ledger, "a", 0.05)
        assert len(held) == 2
        await ledger.settle(late, Spent(0.07))
        await refused(ledger.reserve(["a"], 0.05))
        assert (await ledger.totals("a", "hour")).usd == 0.0
        assert [totals.usd for _, totals in await ledger.history("a", 2)] == [0.07]
        for reservation in held:
            await ledger.settle(reservation, Spent(0.01))
        assert [totals.usd for _, totals in await ledger.history("a", 2)] == [0.07, 0.02]

    with_ledger(ledger_url, use)
    assert_books_agree(ledger_url)


def test_a_closed_ledger_holds_nothing_but_calls_that_were_never_settled(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=100.0))
        for _ in range(20):
            await ledger.settle(await ledger.reserve(["a"], 0.1), Spent(0.1))
        await ledger.reserve(["a"], 0.25)

    with_ledger(ledger_url, use)

    async def look(ledger: Ledger) -> Totals:
        return await ledger.totals("a")

    assert with_ledger(ledger_url, look) == Totals(usd=2.0, presumed_usd=0.25, judgments=20)
    with pytest.raises(StoreError, match="the ledger is closed; open it first"):
        asyncio.run(Ledger(ledger_url).reserve(["a"], 0.1))


def test_what_is_presumed_spent_never_frees_the_cap(ledger_url):
    async def abandon(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=1.0))
        await ledger.reserve(["a"], 0.9)

    async def ask(ledger: Ledger) -> CapReached:
        return await refused(ledger.reserve(["a"], 0.2))

    with_ledger(ledger_url, abandon)
    for _ in range(2):
        reached = with_ledger(ledger_url, ask)
        assert (reached.window, reached.retry_after_s) == ("all", None)  # nobody will give it back
    assert_books_agree(ledger_url)


def test_a_process_that_was_taken_for_dead_settles_its_calls_all_the_same(ledger_url):
    async def use(cut_off: Ledger) -> Totals:
        await cut_off.set_caps("a", Caps(total_usd=1.0))
        reservation = await cut_off.reserve(["a"], 0.9)
        end = sa.text(f"UPDATE runs SET ended_ns = 1 WHERE run_id = {cut_off._run_id}")
        cut_off._database.write(lambda c: c.execute(end))
        async with Ledger(ledger_url) as other:
            assert 0.9 <= (await other.totals("a")).presumed_usd <= 0.9 + 0.1 / 64
            await refused(other.reserve(["a"], 0.2))
            await cut_off.settle(reservation, Spent(0.1))
            await asyncio.sleep(refusals.REMEMBERED_S)
            await other.release(await other.reserve(["a"], 0.8))
            return await other.totals("a")

    assert with_ledger(ledger_url, use).usd == 0.1
    assert_books_agree(ledger_url)


def test_a_caller_that_goes_away_holds_nothing(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=1.0))
        for wait_s in (0, 0.001, 0.005, 0.02):
            asking = asyncio.create_task(ledger.reserve(["a"], 0.8))
            await asyncio.sleep(wait_s)
            asking.cancel()
            for told in await asyncio.gather(asking, return_exceptions=True):
                if not isinstance(told, BaseException):
                    await ledger.release(told)
        await asyncio.sleep(0.1)
        await ledger.release(await ledger.reserve(["a"], 1.0))

    with_ledger(ledger_url, use)


def test_settling_goes_on_when_its_caller_goes_away(ledger_url):
    async def use(ledger: Ledger) -> None:
        settling = asyncio.create_task(ledger.settle(await ledger.reserve(["a"], 0.8), Spent(0.3)))
        await asyncio.sleep(0)
        settling.cancel()

    with_ledger(ledger_url, use)

    async def look(ledger: Ledger) -> float:
        return (await ledger.totals("a")).usd

    assert with_ledger(ledger_url, look) == 0.3


@pytest.mark.parametrize("committed", [True, False], ids=["after the commit", "before it"])
def test_a_batch_whose_commit_was_not_answered_is_booked_once(ledger_url, committed, monkeypatch):
    monkeypatch.setattr(ledgers, "_RETRY_S", (0.001, 0.01))

    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=1.0))
        held = [await ledger.reserve(["a"], 0.1) for _ in range(3)]
        write = ledger._database.write

        def cut(work, **how):
            monkeypatch.undo()
            if committed:
                write(work, **how)
            raise StoreError("the line was cut")

        monkeypatch.setattr(ledger._database, "write", cut)
        asking = asyncio.create_task(ledger.reserve(["a", "b"], 0.1))
        settled = [ledger.settle(reservation, Spent(0.05)) for reservation in held]
        await asyncio.gather(*settled)
        with pytest.raises(StoreError, match="the line was cut"):
            await asking
        left, _ = await reserved_until_full(ledger, "a", 0.05)
        assert len(left) == 17  # 1.00 - 3 x 0.05: nothing is held for who was told of the failure
        assert (await ledger.totals("a")).usd == 0.15

    with_ledger(ledger_url, use)
    assert_books_agree(ledger_url)


@pytest.mark.postgres
def test_connections_that_are_cut_lose_no_settled_spend(postgres):
    import psycopg

    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"

    async def use(ledger: Ledger) -> float:
        await ledger.set_caps("a", Caps(total_usd=1000.0))
        count = 0
        for _ in range(5):
            held = [await ledger.reserve(["a"], 0.1) for _ in range(20)]
            settling = [asyncio.create_task(ledger.settle(reservation, Spent(0.05))) for reservation in held]
            await asyncio.sleep(0.002)
            with psycopg.connect(postgres) as connection:
                connection.execute(cut)
            await asyncio.gather(*settling)
            count += len(held)
        assert count == 100
        return (await ledger.totals("a")).usd

    assert with_ledger(postgres, use) == 5.0
    assert_books_agree(postgres)


def test_a_database_that_stays_away_ends_in_an_error_and_not_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(ledgers, "LAST_TRIES_S", 0.1)

    async def main() -> None:
        ledger = Ledger(str(tmp_path / "l.db"))
        await ledger.open()
        await ledger.set_caps("a", Caps(total_usd=1.0))
        reservation = await ledger.reserve(["a"], 0.5)

        def away(*_: object, **__: object) -> None:
            raise StoreError("it is away")

        monkeypatch.setattr(ledger._database, "write", away)
        monkeypatch.setattr(ledger._database, "read", away)
        settling = asyncio.create_task(ledger.settle(reservation, Spent(0.2)))
        await asyncio.sleep(0.05)
        with pytest.raises(StoreError):
            await ledger.reserve(["a"], 0.7)
        await ledger.close()
        with pytest.raises(StoreError, match="what was not booked is presumed spent"):
            await settling

    asyncio.run(main())


def test_what_is_at_hand_is_given_back_when_nobody_calls(ledger_url, monkeypatch):
    monkeypatch.setattr(ledgers, "BEAT_S", 0.02)

    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=1000.0))
        await ledger.settle(await ledger.reserve(["a"], 0.1), Spent(0.1))
        for _ in range(500):
            if not (await ledger.totals("a")).reserved_usd:
                break
            await asyncio.sleep(0.02)
        assert await ledger.totals("a") == Totals(usd=0.1, judgments=1)

    with_ledger(ledger_url, use)


def test_what_is_at_hand_is_a_small_share_of_what_is_left(ledger_url):
    async def use(ledger: Ledger) -> None:
        await ledger.set_caps("a", Caps(total_usd=6.4))
        reservation = await ledger.reserve(["a"], 5.0)
        assert 5.0 < (await ledger.totals("a")).reserved_usd <= 5.0 + 1.4 / 64
        async with Ledger(ledger_url) as other:
            with pytest.raises(CapReached):
                await other.reserve(["a"], 1.4)
            await other.release(await other.reserve(["a"], 1.3))
        await ledger.settle(reservation, Spent(5.0))

    with_ledger(ledger_url, use)


def test_the_ledger_and_the_judgments_live_in_one_store(store_url):
    with Store.open(store_url) as store:
        store.put(store.begin_run("ev", ARMS).id, [bought(pair(1))])

        async def use(ledger: Ledger) -> None:
            await ledger.settle(await ledger.reserve(["a"], 0.1), Spent(0.1))

        with_ledger(store_url, use)
        assert store.spend().judgments == 1
        assert len(list(store.records())) == 1


def test_an_older_store_gets_the_ledgers_tables_and_keeps_its_judgments(store_url):
    with Store.open(store_url) as store:
        store.put(store.begin_run("ev", ARMS).id, [bought(pair(1))])
        before = list(store.records(calls=True))
    database = Database(store_url)
    for table in ("ledger_batches", "ledger_holds", "ledger_hours", "ledger_accounts", "gateway_keys"):
        database.write(lambda c, table=table: c.execute(sa.text(f"DROP TABLE {table}")))
    database.write(lambda c: c.execute(sa.text("UPDATE adjudge_version SET version_num = '0001'")))
    database.close()
    with Store.open(store_url, create=False) as store:  # as `export` and `report` open it
        assert list(store.records(calls=True)) == before

    async def use(ledger: Ledger) -> Totals:
        await ledger.settle(await ledger.reserve(["a"], 0.1), Spent(0.1))
        return await ledger.totals("a")

    assert with_ledger(store_url, use).usd == 0.1


def test_an_older_store_that_cannot_be_written_is_read_as_it_is(tmp_path, monkeypatch):
    url = str(tmp_path / "old.db")
    with Store.open(url) as store:
        store.put(store.begin_run("ev", ARMS).id, [bought(pair(1))])
        before = list(store.records(calls=True))
    database = Database(url)
    database.write(lambda c: c.execute(sa.text("DROP TABLE gateway_keys")))
    database.write(lambda c: c.execute(sa.text("UPDATE adjudge_version SET version_num = '0001'")))
    database.close()

    def read_only(*_: object, **__: object) -> None:
        raise StoreError("store old.db: is read-only")

    with monkeypatch.context() as locked:
        locked.setattr(Database, "write", read_only)
        with Store.open(url, create=False) as store:
            assert list(store.records(calls=True)) == before
        with pytest.raises(StoreError, match="is read-only"):
            Store.open(url)


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf"), 1e10])
def test_a_cap_that_is_no_amount_is_refused(usd):
    with pytest.raises(ConfigError, match=r"day_usd is .*; a cap is a number of dollars, 0 or more"):
        Caps(day_usd=usd)
