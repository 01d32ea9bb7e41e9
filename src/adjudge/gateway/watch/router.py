"""What is watched of a router: its pace, how far traffic is from what it was fitted on, and a share of its judgments
judged by the most expensive arm too. Imported only where there is a router: routing takes its time to import."""

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from adjudge.gateway.asgi import Caller
from adjudge.gateway.desk import Desk, Judged
from adjudge.gateway.routed import Routed
from adjudge.gateway.telemetry import Log, Metrics
from adjudge.gateway.upstreams import Upstreams
from adjudge.gateway.watch import drift as drifting
from adjudge.gateway.watch.accounts import AUDIT
from adjudge.gateway.watch.audit import Audit, dearest
from adjudge.gateway.watch.counts import Counts
from adjudge.gateway.watch.drift import DriftWatch
from adjudge.gateway.watch.quality import Audited, Known
from adjudge.types import Outcome, Pair

DRIFT_LOOK_S = 5.0  # the shift takes milliseconds, so it is not looked at with every step


class Bench(NamedTuple):
    """What a router works with, and what is kept of its work. `running`: judgments under way at most."""

    desk: Desk
    upstreams: Upstreams
    metrics: Metrics
    log: Log
    counts: Counts
    known: Known
    running: int


class RouterWatch:
    """`drift`: None where the router kept nothing of its fitting data. `audit`: None where no share is audited."""

    def __init__(self, routed: Routed, bench: Bench, share: float) -> None:
        self.routed = routed
        self.drift: DriftWatch | None = None
        self.audit: Audit | None = None
        self.dear = dearest(routed.card)
        self._bench = bench
        self._buying: set[str] = set()
        bench.metrics.registry.register(PaceFigures(routed))
        if routed.routing.saved.fitted is not None:
            self.drift = DriftWatch(routed.routing.saved.fitted, drifting.radius_of(routed.card), self._drift_changed)
            routed.on_features = self.drift.saw
            self._drift_gauges(self.drift)
        if share > 0:
            self.audit = Audit(share, self._judged_by_dear, self._idle, self._audit_found)
            bench.metrics.gauge("audits_waiting", "Routed judgments that wait to be audited", self._audits_waiting)
            bench.metrics.gauge("agreement", "Of audits in which both gave a verdict", self._agreement)

    def is_audit(self, judged: Judged) -> bool:
        """Whether it was bought to check another."""
        return judged.key in self._buying

    def judged(self, pair: Pair, judged: Judged) -> None:
        """The router bought a judgment. Ratings have no verdict to agree with."""
        if self.audit is not None and pair.responses is None and judged.judgment.outcome is not Outcome.FAILED:
            self.audit.offer(pair, judged)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            if self.drift is not None:
                group.create_task(self._look_at(self.drift))
            if self.audit is not None:
                group.create_task(self.audit.run())

    async def _look_at(self, drift: DriftWatch) -> None:
        while True:
            await asyncio.sleep(DRIFT_LOOK_S)
            await asyncio.to_thread(drift.look)

    def _drift_gauges(self, drift: DriftWatch) -> None:
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("drift_nats", "Least KL between fitting data and traffic", lambda: drift.state.shift.kl),
            ("drift_least_nats", "The same less what chance makes of it", lambda: drift.state.shift.least),
            ("drift_radius_nats", "What the router was fitted for, or the default", lambda: drift.radius.nats),
            ("drift_alarm", "1 while drift has passed the radius", lambda: float(drift.state.since_s is not None)),
        )
        for name, words, value in gauges:
            self._bench.metrics.gauge(name, words, value)

    def _drift_changed(self, state: drifting.State) -> None:
        assert self.drift is not None
        self._bench.log.line(
            event="drift",
            alarm=state.since_s is not None,
            nats=round(state.shift.kl, 4),
            least_nats=round(state.shift.least, 4),
            radius_nats=self.drift.radius.nats,
            pairs=round(state.shift.pairs),
        )

    async def _judged_by_dear(self, pair: Pair) -> Judged:
        desk = self._bench.desk
        key = desk.key_of(pair, self.dear)
        self._buying.add(key)
        try:
            return await desk.judge(pair, self.dear, Caller(AUDIT, AUDIT), desk.deadline_s, ())
        finally:
            self._buying.discard(key)

    def _idle(self) -> bool:
        """Half of the room free, and half of what the server takes at once."""
        desk = self._bench.desk
        server = desk.settings.arms[self.dear].server
        asked = self._bench.upstreams[server].gate.under_way
        free = asked < max(1, desk.settings.servers[server].concurrency // 2)
        return free and not desk.room.closing and desk.room.inside <= self._bench.running // 2

    def _audit_found(self, key: str, audited: Audited | None) -> None:
        self._bench.counts.audits.labels("skipped" if audited is None else audited.result).inc()
        if audited is not None:
            self._bench.known.audited(key, audited)

    def _audits_waiting(self) -> float:
        return 0.0 if self.audit is None else self.audit.waiting

    def _agreement(self) -> float:
        found = self._bench.known.figures().agreement
        return math.nan if found is None else found.value


class PaceFigures:
    """What the router's pace has counted, for a registry: it goes on where the ledger stood at the start."""

    def __init__(self, routed: Routed) -> None:
        self._routed = routed

    def collect(self) -> Iterator[Metric]:
        pace = self._routed.steering.pace
        spent = pace.spent / self._routed.card.reference_cost
        yield CounterMetricFamily(
            "adjudge_routed_cost_rel", "Spent by the router, in mean costs of its first arm", value=spent
        )
        yield CounterMetricFamily(
            "adjudge_routed_judgments", "Judgments that the router bought", value=pace.judgments - pace.refused
        )
