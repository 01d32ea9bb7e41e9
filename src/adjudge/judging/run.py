"""Many pairs: what is not in the store is bought, within the servers' limits and the cap, and written as it comes in.

    pairs -> Feed (claims) -> workers (judge, Asker: cap, gate, retries) -> Writer -> store

A judgment that fails is kept as one with outcome `failed`; a run that fails raises. Stopping: when `stop` is set no new
judgment begins and those in flight finish; cancelling the run gives up what is in flight too, and the next run of the
store counts it as interrupted.
"""

import asyncio
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import AdjudgeError, ConfigError
from adjudge.judging.asking import Asker
from adjudge.judging.backends.base import Backend
from adjudge.judging.budget import Budget
from adjudge.judging.driver import Driver, Judge, cancelled
from adjudge.judging.feed import Feed, Job
from adjudge.judging.ledger import Ledger, Writer
from adjudge.judging.limits import Gate, Shut
from adjudge.judging.progress import Progress, Summary, Tally
from adjudge.judging.rubrics import Rubrics
from adjudge.store.store import Bought, Store
from adjudge.types import Pair

HEARTBEAT_S = 10.0
PROGRESS_S = 0.1
MOST_CLAIMED_AHEAD = 128


async def run(
    pairs: Iterable[Pair],
    arms: Sequence[Arm],
    settings: Settings,
    store: Store,
    *,
    backends: Mapping[str, Backend],
    concurrency: int,
    cap_usd: float | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
    judges: Mapping[str, Judge] | None = None,
) -> Summary:
    """Judge every pair with every arm, but for what the store holds already.

    `backends`: server name -> Backend, for every server of `reachable(arms)`; they stay open. `concurrency`: judgments
    under way at once; each server's own limit is on calls. `cap_usd` bounds the spend of this run. `progress` is called
    on the event loop, at most ten times a second and once at the end; the total is known when `pairs` has a length (or
    a length hint). `judges`: arm name -> how that arm judges, for arms that are not asked by `judge` (routers).

    Raises ConfigError (a cap and an arm without a price, a server without a backend, two arms that are one), StoreError
    and, after what is in flight is finished and written, what the iterator of pairs raises.
    """
    _check(arms, settings, backends, cap_usd)
    used = (*reachable(arms, settings), *arms)
    ledger = Ledger(store, settings.evaluator, {settings.arm_key(a.name): (a.name, _definition(a)) for a in used})
    try:
        buying = _Buying(arms, settings, ledger, backends, Budget(cap_usd), stop or asyncio.Event(), judges or {})
        return await buying.buy(pairs, concurrency, progress)
    finally:
        ledger.close()


def reachable(arms: Iterable[Arm], settings: Settings) -> list[Arm]:
    """These arms, and those that they ask in turn: rubric writers and the choices of self-routing."""
    found: dict[str, Arm] = {}
    waiting = list(arms)
    while waiting:
        arm = waiting.pop(0)
        if arm.name not in found:
            found[arm.name] = arm
            others = [arm.rubric[4:]] if arm.rubric.startswith("arm:") else []
            waiting += [settings.arms[name] for name in (*others, *(arm.choices or ()))]
    return list(found.values())


def guided(settings: Settings, arm: Arm) -> Settings:
    """The settings where the arm, and what it chooses from, read the rubric that comes with a response."""
    names = {
        one.name for one in reachable([arm], settings) if not one.rubric and one.protocol not in ("rubric", "route")
    }
    arms = {n: msgspec.structs.replace(a, rubric="item") if n in names else a for n, a in settings.arms.items()}
    return msgspec.structs.replace(settings, arms=arms)


class _Buying:
    """One run under way."""

    def __init__(
        self,
        arms: Sequence[Arm],
        settings: Settings,
        ledger: Ledger,
        backends: Mapping[str, Backend],
        budget: Budget,
        stop: asyncio.Event,
        judges: Mapping[str, Judge],
    ) -> None:
        self.arms = [(settings.arm_key(arm.name), arm) for arm in arms]
        self.settings = settings
        self.ledger = ledger
        self.stop = stop
        used = reachable(arms, settings)
        servers = {arm.server: settings.servers[arm.server] for arm in used}
        self.gates = {name: Gate(name, server) for name, server in servers.items()}
        askers = {n: Asker(backends[n], self.gates[n], budget, server.retries) for n, server in servers.items()}
        self.driver = Driver(settings, askers, Rubrics(ledger), judges)
        self.servers_of = {arm.name: {a.server for a in reachable([arm], settings)} for arm in arms}
        self.writer = Writer(ledger)
        self.ready: asyncio.Queue[Job | None] = asyncio.Queue()
        self.hungry = asyncio.Event()
        self.few = 0
        self.unbought: list[str] = []
        self.pairs_error: AdjudgeError | None = None
        self.tally = Tally(None)

    async def buy(
        self, pairs: Iterable[Pair], concurrency: int, progress: Callable[[Progress], None] | None
    ) -> Summary:
        hint = operator.length_hint(pairs, -1)
        self.tally = Tally(hint * len(self.arms) if hint >= 0 else None, interrupted=await self.ledger.begin())
        ahead = max(1, min(concurrency // 2, MOST_CLAIMED_AHEAD))
        self.few = ahead // 2
        feed = Feed(pairs, self.arms, self.ledger, self.tally, batch=ahead, is_open=self._is_open, stop=self.stop)
        writing = asyncio.create_task(self.writer.run())
        beside = [asyncio.create_task(t) for t in (self._heartbeat(), self._hurry(), self._show(progress))]
        main = [asyncio.create_task(self._feed(feed, concurrency))]
        main += [asyncio.create_task(self._work()) for _ in range(concurrency)]
        try:
            await _all_done(main, [writing, *beside])
        finally:
            feed.close()
            await cancelled([*main, *beside])
            self.writer.close()
            await writing
            await self.ledger.release(self.unbought)
        await self.ledger.end()
        if progress:
            progress(self.tally.progress())
        if self.pairs_error:
            raise self.pairs_error
        return await self._summary(feed)

    # -- tasks

    async def _feed(self, feed: Feed, workers: int) -> None:
        try:
            while jobs := await feed.next():
                for job in jobs:
                    self.ready.put_nowait(job)
                while self.ready.qsize() > self.few and not self.stop.is_set():
                    self.hungry.clear()
                    await self.hungry.wait()
        except AdjudgeError as error:
            self.pairs_error = error
        if self.stop.is_set():
            while not self.ready.empty():
                unstarted = self.ready.get_nowait()
                self.unbought += [] if unstarted is None else [unstarted.wanted.key]
        for _ in range(workers):
            self.ready.put_nowait(None)

    async def _work(self) -> None:
        while (job := await self.ready.get()) is not None:
            if self.ready.qsize() <= self.few:
                self.hungry.set()
            try:
                judgment, not_bought = await self.driver.judge(job.pair, job.arm)
            except Shut:
                self.unbought.append(job.wanted.key)
                continue
            self.writer.add(Bought(job.wanted, job.pair, judgment))
            self.tally.add(judgment, not_bought=not_bought)
            if self.writer.is_full:
                await self.writer.room()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self.ledger.heartbeat()

    async def _hurry(self) -> None:
        await self.stop.wait()
        self.hungry.set()
        for gate in self.gates.values():
            gate.hurry()

    async def _show(self, progress: Callable[[Progress], None] | None) -> None:
        while progress:
            progress(self.tally.progress())
            await asyncio.sleep(PROGRESS_S)

    # -- the end

    def _is_open(self, arm: Arm) -> bool:
        return not any(self.gates[server].shut_why for server in self.servers_of[arm.name])

    async def _summary(self, feed: Feed) -> Summary:
        tally = self.tally
        known_left = feed.dropped + len(self.unbought) if feed.exhausted else tally.left
        given_up = {name: gate.shut_why for name, gate in self.gates.items() if gate.shut_why}
        return Summary(
            run_id=self.ledger.run_id,
            bought=tally.bought,
            skipped=tally.skipped,
            failed=tally.failed,
            not_bought=tally.not_bought,
            left=known_left,
            interrupted=tally.interrupted,
            outcomes=dict(tally.outcomes),
            spend=await self.ledger.spend(),
            seconds=time.perf_counter() - tally.began,
            failures=tally.failures,
            stopped="; ".join(given_up.values()) or ("stopped" if known_left != 0 else ""),
            given_up=given_up,
        )


def _check(arms: Sequence[Arm], settings: Settings, backends: Mapping[str, Backend], cap_usd: float | None) -> None:
    used = reachable(arms, settings)
    unpriced = [arm.name for arm in used if arm.price is None]
    if cap_usd is not None and unpriced:
        raise ConfigError(f"a cap needs prices: give arms.{unpriced[0]} a price, or leave the cap out")
    missing = {arm.server for arm in used} - backends.keys()
    if missing:
        raise ConfigError(f"no backend is open for server {sorted(missing)[0]!r}")
    names: dict[str, str] = {}
    for arm in arms:
        other = names.setdefault(settings.arm_key(arm.name), arm.name)
        if other != arm.name:
            raise ConfigError(f"arms.{other} and arms.{arm.name} would buy the same judgments; name one of the two")


def _definition(arm: Arm) -> str:
    return msgspec.json.encode(arm).decode()


async def _all_done(main: Sequence[asyncio.Task[None]], beside: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all of `main`; the first exception of any task is raised at once."""
    left: set[asyncio.Task[None]] = set(main)
    watched = {*main, *beside}
    while left:
        done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        left -= done
