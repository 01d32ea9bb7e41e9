"""GET /v1/events: what the page draws, as server-sent events: `hello` with all there is, then a `tick` every second
with what is new; a long past comes in several at once. Whoever reads slowly is sent later and more, and nothing waits
for it here.

A stream ends after LIFE_S, so that a key that was revoked meanwhile does not go on reading; the page comes back.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

import msgspec

from adjudge import __version__
from adjudge.gateway.asgi import EVENTS, Call, Streamed
from adjudge.gateway.problems import Problem
from adjudge.gateway.watch.accounts import Account
from adjudge.gateway.watch.monitor import Latest, Name
from adjudge.gateway.watch.quality import Quality
from adjudge.gateway.watch.steps import Step
from adjudge.gateway.watch.watching import Watching

LIFE_S = 300.0
AT_ONCE = 100  # steps in one event: a busy day in one would hold up every request for 50 ms
MOST_WATCHERS = 32
_encode = msgspec.json.Encoder().encode


class Router(msgspec.Struct, frozen=True):
    """`budget`: mean cost per judgment in mean costs of `reference`. `radius_fitted`: else it is the default one, and
    None where the router kept nothing to measure drift by. `audit`: the share, by the arm `dear`."""

    name: str
    kind: str
    budget: float
    reference: str
    unit: str
    radius_nats: float | None
    radius_fitted: bool
    audit: float
    dear: str


class About(msgspec.Struct, frozen=True):
    """What does not change while the process runs. `arms`: in the order of the settings."""

    version: str
    started_s: float
    arms: tuple[str, ...]
    router: Router | None


class Drift(msgspec.Struct, frozen=True):
    nats: float
    least_nats: float
    pairs: float
    since_s: float | None


class State(msgspec.Struct, frozen=True):
    """As it is now. `down`: servers that are not asked, and why. `store`: why the store fails, "" where it does not;
    the accounts are then as they were."""

    accounts: list[Account]
    quality: Quality
    drift: Drift | None
    down: dict[str, str]
    closing: bool
    store: str


class Tick(msgspec.Struct, frozen=True):
    """`names`: new ones since the last, whose places follow on. `totals`: of everything, as in /metrics. The last
    step that was told comes again, as it has become."""

    now_s: float
    names: list[Name]
    totals: dict[int, float]
    seconds: list[Step]
    minutes: list[Step]
    latest: list[Latest]
    state: State
    about: About | None = None


class EventsApi:
    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._about = about(watching)

    async def get(self, call: Call) -> Streamed:  # noqa: ARG002 -- the same for all
        if self._watching.watchers >= MOST_WATCHERS:
            raise Problem(503, "overloaded", f"{MOST_WATCHERS} pages are open already", retry_after_s=5)
        return Streamed(self._events(), EVENTS)

    async def _events(self) -> AsyncGenerator[bytes, None]:
        watching, until = self._watching, time.monotonic() + LIFE_S
        watching.watchers += 1
        try:
            await watching.read_accounts()
            watching.monitor.look()
            seen = _Seen()
            yield _framed("hello", seen.tick(watching, self._about))
            while time.monotonic() < until and not watching.desk.room.closing:
                if seen.behind:
                    await asyncio.sleep(0)
                else:
                    await watching.next_look()
                yield _framed("tick", seen.tick(watching))
        finally:
            watching.watchers -= 1


class _Seen:
    """How far one reader is. `behind`: there is more to tell at once."""

    def __init__(self) -> None:
        self.behind = False
        self._names = self._second = self._minute = self._number = 0

    def tick(self, watching: Watching, told: About | None = None) -> Tick:
        monitor = watching.monitor
        seconds, minutes = monitor.seconds.since(self._second), monitor.minutes.since(self._minute)
        self.behind = max(len(seconds), len(minutes)) > AT_ONCE
        tick = Tick(
            now_s=time.time(),
            names=monitor.names[self._names :],
            totals=monitor.totals,
            seconds=seconds[:AT_ONCE],
            minutes=minutes[:AT_ONCE],
            latest=monitor.latest_since(self._number),
            state=state(watching),
            about=told,
        )
        self._names = len(monitor.names)
        self._second = _next(seconds, self._second)
        self._minute = _next(minutes, self._minute)
        self._number = tick.latest[-1].number if tick.latest else self._number
        return tick


def _next(steps: list[Step], before: int) -> int:
    """Where to go on: after what was told, or where all was, with the last step again, which may still grow."""
    if len(steps) > AT_ONCE:
        return steps[AT_ONCE].t
    return steps[-1].t if steps else before


def about(watching: Watching) -> About:
    settings, watch = watching.desk.settings, watching.router
    arms = tuple(arm.name for arm in settings.arms.values() if arm.protocol not in ("rubric", "route"))
    router: Router | None = None
    if watch is not None:
        routed = watch.routed
        radius = None if watch.drift is None else watch.drift.radius
        router = Router(
            name=routed.name,
            kind=routed.card.kind,
            budget=routed.routing.budget,
            reference=routed.card.arms[0],
            unit=routed.card.cost_unit,
            radius_nats=None if radius is None else radius.nats,
            radius_fitted=radius is not None and radius.fitted,
            audit=0.0 if watch.audit is None else watch.audit.share,
            dear=watch.dear,
        )
    return About(__version__, watching.monitor.started_s, arms, router)


def state(watching: Watching) -> State:
    drift: Drift | None = None
    if watching.router is not None and watching.router.drift is not None:
        shift, since_s = watching.router.drift.state
        drift = Drift(shift.kl, shift.least, shift.pairs, since_s)
    return State(
        accounts=watching.accounts,
        quality=watching.known.figures(),
        drift=drift,
        down=watching.down(),
        closing=watching.desk.room.closing,
        store=watching.store,
    )


def _framed(event: str, tick: Tick) -> bytes:
    return b"event: " + event.encode() + b"\ndata: " + _encode(tick) + b"\n\n"
