"""The gateway watched while it works: told of every judgment and label, and once a second looking at what grew.

judgment -> counters -+-> steps by second and minute -> the page (events.py)
                      +-> /metrics
features -> drift     audit share -> the most expensive arm -> agreement     labels -> accuracy
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from adjudge.errors import AdjudgeError, StoreError
from adjudge.gateway.asgi import Caller
from adjudge.gateway.desk import Desk, Judged
from adjudge.gateway.problems import Problem, problem_of
from adjudge.gateway.telemetry import Log, Metrics
from adjudge.gateway.upstreams import Upstreams
from adjudge.gateway.watch.accounts import AUDIT, Account, accounts
from adjudge.gateway.watch.counts import By, Counts
from adjudge.gateway.watch.monitor import Monitor
from adjudge.gateway.watch.quality import Known, Labelled
from adjudge.judging.driver import cancelled
from adjudge.types import Judgment, Pair, Side

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed  # routing takes seconds to import
    from adjudge.gateway.watch.router import RouterWatch

LOOK_S = 1.0
ACCOUNTS_LOOKS = 3
ACCOUNTS_WAIT_S = 1.0  # a database that does not answer is waited for elsewhere
UNWATCHED_LOOKS = 5
"""While no page is open only every fifth look is taken: with ten arms one takes 4 ms, which some request waits for."""


class Watching:
    """Use it from one event loop, between `open` and `close`. `names`: of the keys, by id. `store_fault`: why the store
    fails, "" where it does not; `store` is what was seen last, and `on_store` told when it changes."""

    def __init__(
        self, desk: Desk, upstreams: Upstreams, metrics: Metrics, names: Callable[[], Mapping[str, str]]
    ) -> None:
        self.desk = desk
        self.counts, self.known = Counts(metrics.registry), Known()
        self.router: RouterWatch | None = None
        self.accounts: list[Account] = []
        self.store = ""
        self.store_fault: Callable[[], str] = lambda: ""
        self.on_store: Callable[[str], None] = lambda fault: None  # noqa: ARG005
        self.watchers = 0
        self.monitor = Monitor(metrics.registry)
        self._metrics, self._upstreams, self._names = metrics, upstreams, names
        self._looked = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._looks = 0

    def follow(self, routed: "Routed", log: Log, share: float, running: int) -> None:
        """Watch the router too. `share`: of its judgments that are audited; `running`: judgments under way at most."""
        from adjudge.gateway.watch.router import Bench, RouterWatch

        bench = Bench(self.desk, self._upstreams, self._metrics, log, self.counts, self.known, running)
        self.router = RouterWatch(routed, bench, share)

    async def open(self) -> None:
        self.monitor.begin()
        self._tasks = [asyncio.create_task(self._look_on())]
        if self.router is not None:
            self._tasks.append(asyncio.create_task(self.router.run()))
        for task in self._tasks:
            task.add_done_callback(self._over)

    async def close(self) -> None:
        await cancelled(self._tasks if self._reading is None else [*self._tasks, self._reading])

    def judged(self, pair: Pair, judged: Judged, seconds: float) -> None:
        """A judgment was bought."""
        self._metrics.bought(judged.arm, judged.judgment, seconds)
        router = self.router
        routed = router is not None and judged.arm == router.routed.name
        audit = router is not None and router.is_audit(judged)
        by: By = "router" if routed else "audit" if audit else "asked"
        self.counts.judged(judged, by)
        self.monitor.judged(judged, seconds, rated=pair.responses is not None, audit=audit)
        if routed and router is not None:
            router.judged(pair, judged)

    def unjudged(self, error: Problem | AdjudgeError, caller: Caller) -> None:
        """A judgment that was asked for came to nothing."""
        if caller.account == AUDIT:
            return  # it is counted as skipped
        code = error.code if isinstance(error, Problem) else problem_of(error).code
        self.counts.unjudged.labels(code).inc()

    def labelled(self, key: str, judgment: Judgment, gold: Side) -> None:
        """Somebody told which side is the better one."""
        said = Labelled(judgment.arm, judgment.outcome, gold)
        self.known.labelled(key, said)
        self.counts.feedback.labels(said.arm, said.result).inc()

    def down(self) -> dict[str, str]:
        """Servers that are not asked now, and why."""
        return self._upstreams.down()

    async def next_look(self) -> None:
        """Wait for it."""
        async with self._looked:
            await self._looked.wait()

    async def read_accounts(self) -> None:
        """What they have spent, as of now; what was known stays where the ledger cannot be read, or not at once."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_accounts())
        await asyncio.wait({self._reading}, timeout=ACCOUNTS_WAIT_S)

    async def _read_accounts(self) -> None:
        with suppress(StoreError):
            self.accounts = await accounts(self.desk.ledger, self._names())

    def _look_at_store(self) -> None:
        fault = self.store_fault()
        if fault != self.store:
            self.store = fault
            self.on_store(fault)

    def _over(self, task: "asyncio.Task[None]") -> None:
        """They go on for ever; one that does not is a fault, and is to be seen as one."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.desk.room.on_fault(fault)

    async def _look_on(self) -> None:
        await asyncio.to_thread(import_module, "adjudge.metrics")  # it takes its time, which no request should wait for
        while True:
            await asyncio.sleep(LOOK_S)
            self._looks += 1
            self._look_at_store()
            if self.watchers and self._looks % ACCOUNTS_LOOKS == 0:
                await self.read_accounts()
            if self.watchers or self._looks % UNWATCHED_LOOKS == 0:
                self.monitor.look()
            async with self._looked:
                self._looked.notify_all()
