"""The gateway as a process: everything opened in order, served until it is told to stop, closed in order.

    store, ledger, keys -> connections -> router (paced from the ledger's totals) -> desk -> routes -> uvicorn

On SIGTERM or SIGINT nothing new is let in, what is under way ends (for `stop_s` at most), every judgment is kept and
booked, and the store is closed. A second signal does not wait.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import uvicorn
from starlette.routing import Route, Router

from adjudge.config import Arm, Settings
from adjudge.errors import ConfigError
from adjudge.gateway.api.chat import ChatApi
from adjudge.gateway.api.judge import JudgeApi
from adjudge.gateway.api.plain import PlainApi
from adjudge.gateway.api.rewards import RewardsApi, rates
from adjudge.gateway.asgi import Answer, Call, Endpoint, Handler, Limits, plain
from adjudge.gateway.desk import Desk, all_guided, definitions
from adjudge.gateway.front import Front, is_loopback
from adjudge.gateway.keys.ring import KeyRing
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE, Totals
from adjudge.gateway.openapi import Arms, document
from adjudge.gateway.operations import Apis, operations
from adjudge.gateway.page.page import PageApi
from adjudge.gateway.problems import Problem
from adjudge.gateway.room import Room
from adjudge.gateway.shelf import Shelf
from adjudge.gateway.telemetry import Log, Metrics
from adjudge.gateway.upstreams import Upstreams
from adjudge.gateway.watch.events import EventsApi
from adjudge.gateway.watch.watching import Watching
from adjudge.gateway.wire import Guarded

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed, Routing  # routing takes seconds to import
    from adjudge.gateway.tracing import Tracing  # an extra

KEEP_ALIVE_S = 75
FORCED_S = 1.0


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve. `store`: URL of the judgments, the ledger and the keys. `cap_usd`: hard cap on all that is ever
    spent, None to leave what is set. `running`, `waiting`: judgments and completions under way and in line at most.
    `deadline_s`: of each. `stop_s`: what is under way at the end gets so long. `body_mb`, `body_s`: of a request, at
    most. `reward_arm`: what scores where a request for rewards names none. `fallback`: arms that chat completions fall
    back to. `audit`: share of the routed judgments that the most expensive arm judges too."""

    store: str
    host: str = "127.0.0.1"
    port: int = 8080
    cap_usd: float | None = None
    running: int = 256
    waiting: int = 1024
    deadline_s: float = 120.0
    stop_s: float = 30.0
    body_mb: float = 4.0
    body_s: float = 20.0
    reward_arm: str | None = None
    fallback: tuple[str, ...] = ()
    audit: float = 0.0


class Gateway(NamedTuple):
    """An open gateway. `keyed`: whether it asks for keys; `remarks`: what its operator should know."""

    app: Router
    room: Room
    keyed: bool
    remarks: tuple[str, ...]


class Running(NamedTuple):
    """A gateway that takes requests at `address`, until `stop` is called; a second call does not wait."""

    address: str
    gateway: Gateway
    stop: Callable[[], None]


@asynccontextmanager
async def opened(
    settings: Settings,
    serving: Serving,
    routing: "Routing | None" = None,
    log: Log | None = None,
    tracing: "Tracing | None" = None,
) -> AsyncIterator[Gateway]:
    """A gateway, open for the block. Raises ConfigError, StoreError, and what opening a server's backend raises."""
    log = log or Log()
    _check(settings, serving, routing is not None)
    if routing is not None:
        settings = msgspec.structs.replace(settings, arms=settings.arms | {routing.arm.name: routing.arm})
    async with AsyncExitStack() as stack:
        ledger = Ledger(serving.store)
        await ledger.open()
        stack.push_async_callback(ledger.close)
        if serving.cap_usd is not None:
            await ledger.change_caps(WHOLE, {"total_usd": serving.cap_usd})
        ring = KeyRing(serving.store)
        await ring.open()
        stack.push_async_callback(ring.close)
        keyed = await ring.has_keys()
        if not keyed and not is_loopback(serving.host):
            raise ConfigError(
                f"there are no keys, so that {serving.host} would be open to whoever reaches it; "
                "make one with `adjudge keys add`, or serve on 127.0.0.1"
            )
        shelf = Shelf(serving.store, settings.evaluator, definitions(settings))
        stack.push_async_callback(shelf.close)
        await shelf.open()
        upstreams = Upstreams(settings, _asking(settings), tracing)
        stack.push_async_callback(upstreams.close)
        before = Totals() if routing is None else await ledger.totals(routing.account)
        routed = None if routing is None else _routed(routing, settings, before)
        room = Room(serving.running, serving.waiting)
        stack.push_async_callback(room.close, serving.stop_s)
        desk = Desk(settings, upstreams, shelf, ledger, room, serving.deadline_s, routed)
        metrics = Metrics()
        front = Front(ring if keyed else None, metrics, log, tracing)
        room.on_fault = front.noted
        watching = Watching(desk, upstreams, metrics, ring.names)
        desk.on_judged, desk.on_unjudged = watching.judged, watching.unjudged
        _gauges(metrics, room, upstreams, routed)
        if routed is not None:
            watching.follow(routed, log, serving.audit, serving.running)
        judging = JudgeApi(desk, metrics, routed)
        apis = Apis(
            judging,
            ChatApi(desk, upstreams, metrics, routed, serving.fallback),
            RewardsApi(judging, routed, serving.reward_arm),
            PlainApi(settings, shelf, metrics, routed, lambda: _unready(room, watching)),
        )
        watching.store_fault = lambda: shelf.fault or ledger.fault
        watching.on_store = lambda fault: log.line(event="store", fault=fault or None)
        apis.plain.on_label = watching.labelled
        shown = Shown(PageApi(keyed), EventsApi(watching))
        app = _routes(apis, shown, front, Limits(int(serving.body_mb * 1e6), serving.body_s), settings, routed)
        stack.push_async_callback(watching.close)
        await watching.open()
        yield Gateway(app, room, keyed, tuple(_remarks(settings, serving, keyed)))


async def serve(
    settings: Settings,
    serving: Serving,
    routing: "Routing | None" = None,
    *,
    started: Callable[[Running], None],
    log: Log | None = None,
    tracing: "Tracing | None" = None,
) -> None:
    """Serve until a signal says to stop. `started` is called once requests are taken.

    Raises what `opened` raises, and ConfigError where the address cannot be had.
    """
    log = log or Log()
    loop = asyncio.get_running_loop()
    with _bound(serving.host, serving.port) as listener, _logged(log), ExitStack() as signals:
        async with opened(settings, serving, routing, log, tracing) as gateway:
            config = uvicorn.Config(
                gateway.app,
                http=Guarded,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(serving.stop_s) + 1,
                backlog=2048,
            )
            server = _Server(config)

            def stop() -> None:
                server.stop(gateway)

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
                signals.callback(loop.remove_signal_handler, number)  # once all is closed
            host, port = listener.getsockname()[:2]
            started(Running(f"http://{f'[{host}]' if ':' in host else host}:{port}", gateway, stop))
            await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us: it would send them on before anything of ours is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self, gateway: Gateway) -> None:
        gateway.room.stop()
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


class Shown(NamedTuple):
    """The page and what it draws: nothing for programs, so /openapi.json leaves both out."""

    page: PageApi
    events: EventsApi


def _routes(
    apis: Apis, shown: Shown, front: Front, limits: Limits, settings: Settings, routed: "Routed | None"
) -> Router:
    found = operations(apis)
    judges = [arm for arm in settings.arms.values() if arm.protocol not in ("rubric", "route")]
    rating = tuple(arm.name for arm in judges if rates(arm, settings))
    told = plain(document(found, Arms(tuple(arm.name for arm in judges), rating, routed is not None)))

    async def openapi(call: Call) -> Answer:  # noqa: ARG001 -- the same for all
        return told

    by_path: dict[str, dict[str, tuple[str | None, Handler]]] = {}
    for operation in found:
        by_path.setdefault(operation.path, {})[operation.method] = (operation.scope, operation.handler)
    by_path["/openapi.json"] = {"GET": (None, openapi)}
    by_path["/"] = {"GET": (None, shown.page.get)}
    by_path["/v1/events"] = {"GET": ("admin", shown.events.get)}
    routes = [Route(path, Endpoint(path, handlers, front, limits)) for path, handlers in by_path.items()]
    return Router(routes, redirect_slashes=False, default=Endpoint("other", _Nothing(), front, limits))


class _Nothing(dict[str, tuple[str | None, Handler]]):
    """Paths that there are none of, whatever the method."""

    def __contains__(self, method: object) -> bool:
        return True

    def __getitem__(self, method: str) -> tuple[str | None, Handler]:
        return None, self._no

    @staticmethod
    async def _no(call: Call) -> Answer:  # noqa: ARG004
        raise Problem(404, "not_found", "there is no such path; see /openapi.json")


def _unready(room: Room, watching: Watching) -> str:
    """Anybody may ask this, so it names no server: the log and the page do."""
    if room.closing:
        return "this server is going down"
    return "the store fails" if watching.store_fault() else ""


def _routed(routing: "Routing", settings: Settings, before: Totals) -> "Routed":
    from adjudge.gateway.routed import Routed

    return Routed(routing, settings, all_guided(settings), before)


def _check(settings: Settings, serving: Serving, routed: bool) -> None:
    if serving.audit and not routed:
        raise ConfigError("--audit checks a router's judgments, and there is no router; name one with --router")
    unpriced = [arm.name for arm in settings.arms.values() if arm.price is None]
    if serving.cap_usd is not None and unpriced:
        raise ConfigError(f"a cap needs prices: give arms.{unpriced[0]} a price, or leave --cap-usd out")
    settings.choose([name for name in (serving.reward_arm, *serving.fallback) if name])


def _remarks(settings: Settings, serving: Serving, keyed: bool) -> Iterator[str]:
    if not keyed:
        yield "no keys: whoever is on this machine may ask; make keys with `adjudge keys add` and start again"
    unpriced = [arm.name for arm in settings.arms.values() if arm.price is None]
    if unpriced:
        yield f"no price for {', '.join(unpriced)}: caps do not count what they cost"
    if not serving.store.startswith("postgres"):
        yield "the store is SQLite: one gateway at a time; for more of them give a postgresql:// URL"


def _asking(settings: Settings) -> list[Arm]:
    return [arm for arm in settings.arms.values() if arm.protocol != "route"]


def _gauges(metrics: Metrics, room: Room, upstreams: Upstreams, routed: "Routed | None") -> None:
    metrics.gauge("running", "Judgments and completions under way", lambda: room.running)
    metrics.gauge("waiting", "Judgments and completions in line", lambda: max(room.inside - room.running, 0))
    metrics.gauge("servers_down", "Model servers that are not asked now", lambda: len(upstreams.down()))
    if routed is not None:
        metrics.gauge(
            "budget_rel", "Budget per judgment, in mean costs of the first arm", lambda: routed.routing.budget
        )
        metrics.gauge("mean_cost_rel", "Mean cost per judgment, in the same", lambda: routed.spent_mean or 0.0)
        metrics.gauge("multiplier", "Reward that one more unit of cost must buy now", routed.multiplier)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error}; choose another --port or --host") from None
    with listener:
        listener.setblocking(False)
        yield listener


@contextmanager
def _logged(log: Log) -> Iterator[None]:
    """What libraries warn of, as lines of the same log."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fault = type(record.exc_info[1]).__name__ if record.exc_info and record.exc_info[1] else None
            says = record.getMessage().partition("\n")[0]  # asyncio goes on with the error, which may hold texts
            log.line(event="warning", source=record.name, fault=fault, says=says[:200])

    handler = Lines(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
