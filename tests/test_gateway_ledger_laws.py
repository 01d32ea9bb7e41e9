"""Laws of the ledger, over every order of events that hypothesis thinks of."""

import asyncio
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adjudge.errors import CapReached
from adjudge.gateway.ledger import refusals, sql
from adjudge.gateway.ledger.account import Account, Amount, booked, rolled, room
from adjudge.gateway.ledger.batch import SHARE, Ask, Batch, Booking, Granted, decide
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import DAY_S, HOUR_S, NANO, WHOLE, WINDOWS, Caps, Reservation, Spent, Totals
from adjudge.store import migrate
from adjudge.store.engine import Database

from .gateway_ledgers import assert_books_agree, assert_books_agree_by

NOW_S = 1_800_000 * HOUR_S + 7
ACCOUNTS = ("a", "b", WHOLE)
amounts = st.integers(0, 50)


@st.composite
def states(draw: st.DrawFn) -> dict[str, Account]:
    """Accounts with caps, within them."""
    found = {}
    for name in draw(st.sets(st.sampled_from(ACCOUNTS))):
        of_all = [Amount(draw(amounts), draw(amounts)) for _ in WINDOWS]
        caps = [draw(st.none() | st.integers(sum(amount), 400)) for amount in of_all]
        found[name] = Account(name, *caps, NOW_S - draw(st.integers(0, 30)) * HOUR_S - 7, *of_all)
    return found


asks = st.lists(st.builds(Ask, st.lists(st.sampled_from(ACCOUNTS), min_size=1, unique=True).map(tuple), amounts))
wishes = st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 1000))


@settings(max_examples=60)
@given(states(), asks, wishes)
def test_no_batch_passes_a_cap_and_none_that_fits_is_refused(before, asked, wanted):
    after, answer = decide(Batch(asks=asked, wanted=wanted), before, NOW_S, {})
    assert all((left := room(account)) is None or left >= 0 for account in after.values())
    now = {name: rolled(account, answer.hour_s) for name, account in before.items()}
    for ask, told in zip(asked, answer.told, strict=True):
        fits = all((left := room(now[name])) is None or ask.worst <= left for name in ask.accounts if name in now)
        assert isinstance(told, Granted) == fits
        if isinstance(told, Granted):
            for name in told.held:
                now[name] = booked(now[name], answer.hour_s, held=ask.worst)
        else:
            amount, cap = now[told.account].of(told.window)
            assert sum(amount) + ask.worst > cap
            assert told.retry_after_s is None or 1.0 <= told.retry_after_s <= DAY_S
    for name, kept in answer.kept.items():
        assert kept <= min(wanted[name], room(now[name]) // SHARE)


@settings(max_examples=60)
@given(states(), st.integers(0, 40), amounts, amounts)
def test_settling_frees_what_was_held_in_the_windows_in_which_it_was_reserved(before, hours_ago, worst, spent):
    hour_s = NOW_S - 7 - hours_ago * HOUR_S
    at = {(name, hour_s): worst for name in before}
    booking = Booking(spent=spent, judgments=1)
    after, _ = decide(Batch(bookings=dict.fromkeys(at, booking), freed=at), before, NOW_S, {})
    for name, account in before.items():
        old, new = rolled(account, NOW_S - 7), after[name]
        for window in WINDOWS:
            was, _ = old.of(window)
            inside = {"hour": hours_ago == 0, "day": hour_s // DAY_S == NOW_S // DAY_S, "all": True}[window]
            expected = Amount(was.spent + spent, was.held - worst) if inside else was
            assert new.of(window)[0] == expected


@given(st.lists(st.tuples(st.integers(0, 80), amounts), max_size=30))
@example([(5, 1), (4, 1)])
def test_an_hour_that_is_over_is_never_gone_back_to(events):
    account = Account("a", None, None, None, NOW_S - 7)
    for hours, amount in events:
        hour_s = NOW_S - 7 + hours * HOUR_S
        account = rolled(account, hour_s)
        account = booked(account, hour_s, spent=amount)
    latest = max((NOW_S - 7 + hours * HOUR_S for hours, _ in events), default=NOW_S - 7)
    assert account.hour_s == latest
    assert account.all.spent == sum(amount for _, amount in events)
    if events == sorted(events):
        assert account.hour.spent == sum(a for hours, a in events if NOW_S - 7 + hours * HOUR_S == latest)


class Processes(RuleBasedStateMachine):
    """Two ledgers on one SQLite file, as two processes see it: they reserve, settle, release, die and come again."""

    @initialize(cap=st.integers(20, 90))
    def begin(self, cap: int) -> None:
        self.folder = tempfile.mkdtemp()
        self.url = str(Path(self.folder, "l.db"))
        shutil.copy(made(), self.url)
        self.runner = asyncio.Runner()
        self.hours = 0
        self.open: list[tuple[int, Reservation]] = []
        self.settled: list[tuple[Reservation, int]] = []
        self.dead: list[Reservation] = []
        self.ledgers = [self._new(), self._new()]
        self.cap = Caps(hour_usd=cap / 100, day_usd=2 * cap / 100, total_usd=3 * cap / 100)
        self._do(self.ledgers[0].set_caps(WHOLE, self.cap))
        self._do(self.ledgers[0].set_caps("a", Caps(day_usd=cap / 100)))

    @rule(who=st.integers(0, 1), cents=st.integers(1, 20), names=st.sampled_from([("a", WHOLE), ("b", WHOLE), ("a",)]))
    def reserve(self, who: int, cents: int, names: tuple[str, ...]) -> None:
        try:
            self.open.append((who, self._do(self.ledgers[who].reserve(names, cents / 100))))
        except CapReached as reached:
            assert reached.account in names

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0), share=st.fractions(0, 1), times=st.integers(1, 2))
    def settle(self, which: int, share: Fraction, times: int) -> None:
        who, reservation = self.open.pop(which % len(self.open))
        nano = int(reservation.worst_nano * share)
        for _ in range(times):
            self._do(self.ledgers[who].settle(reservation, Spent(nano / NANO)))
        self.settled.append((reservation, nano))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0))
    def release(self, which: int) -> None:
        who, reservation = self.open.pop(which % len(self.open))
        for _ in range(2):
            self._do(self.ledgers[who].release(reservation))

    @rule(who=st.integers(0, 1))
    def die(self, who: int) -> None:
        self._abandon(self.ledgers[who])
        self.dead += [reservation for holder, reservation in self.open if holder == who]
        self.open = [(holder, reservation) for holder, reservation in self.open if holder != who]
        self.ledgers[who] = self._new()

    @rule(hours=st.sampled_from([1, 2, 24]))
    def time_goes_by(self, hours: int) -> None:
        self.hours += hours
        for ledger in self.ledgers:
            ledger._ahead_ns += hours * HOUR_S * NANO

    @invariant()
    def the_books_agree_and_no_cap_is_passed(self) -> None:
        with self.ledgers[0]._database.read() as connection:
            assert_books_agree_by(connection)
            found = sql.totals(connection, "all", 0)
        for name in ("a", "b", WHOLE):
            totals = found.get(name, Totals())
            assert round(totals.usd * NANO) == sum(nano for one, nano in self.settled if name in one.accounts)
            held = (totals.reserved_usd + totals.presumed_usd) * NANO
            alive = [reservation for _, reservation in self.open]
            assert held + 1 > sum(one.worst_nano for one in (*alive, *self.dead) if name in one.held)
            assert totals.presumed_usd * NANO + 1 > sum(one.worst_nano for one in self.dead if name in one.held)

    def teardown(self) -> None:
        if hasattr(self, "ledgers"):
            for ledger in self.ledgers:
                self._do(ledger.close())
            self.runner.close()
            assert_books_agree(self.url)
            shutil.rmtree(self.folder)

    def _do(self, work):
        return self.runner.run(work)

    def _new(self) -> Ledger:
        ledger = Ledger(self.url)
        self._do(ledger.open())
        ledger._ahead_ns += self.hours * HOUR_S * NANO
        return ledger

    def _abandon(self, ledger: Ledger) -> None:
        """What is left when its process is killed: its run, whose process is gone."""
        for task in ledger._tasks:
            task.cancel()
        self._do(asyncio.wait(ledger._tasks))
        gone = sa.text(f"UPDATE runs SET process_started = 'before' WHERE run_id = {ledger._run_id}")
        ledger._database.write(lambda c: c.execute(gone))
        ledger._thread.shutdown()
        ledger._database.close()


_made: list[str] = []


def made() -> str:
    """An empty store, made once."""
    if not _made:
        path = str(Path(tempfile.mkdtemp(), "empty.db"))
        database = Database(path)
        migrate.ready(database, create=True)
        database.close()
        _made.append(path)
    return _made[0]


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch):
    monkeypatch.setattr(refusals, "REMEMBERED_S", 0.0)


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(
    max_examples=8, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow], deadline=None
)
