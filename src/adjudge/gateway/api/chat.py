"""POST /v1/chat/completions: any client's own messages, sent to the arm that the model's name says, "adjudge/ARM" or
"adjudge/auto", streaming or not, within the caps and booked like a judgment."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adjudge.config import Arm
from adjudge.errors import BackendError, BudgetError, RateLimited, Rejected
from adjudge.gateway import relay
from adjudge.gateway.api.plain import MODEL_PREFIX
from adjudge.gateway.asgi import EVENTS, JSON, Answer, Call, Header, Streamed
from adjudge.gateway.desk import DOWN_RETRY_S, PATIENCE, Desk
from adjudge.gateway.ledger.values import WHOLE
from adjudge.gateway.problems import Problem, problem_of
from adjudge.gateway.purse import Purse
from adjudge.gateway.relay import Fields, Head
from adjudge.gateway.room import FULL_RETRY_S
from adjudge.gateway.telemetry import Metrics
from adjudge.gateway.upstreams import Upstreams
from adjudge.judging.asking import Asker
from adjudge.judging.backends.base import Backend
from adjudge.judging.budget import Spent as NotBought
from adjudge.judging.budget import worst_usd
from adjudge.judging.driver import cancelled
from adjudge.judging.limits import Shut
from adjudge.types import Ask, Pair, Reply, Usage, digest

if TYPE_CHECKING:
    from adjudge.gateway.routed import Picked, Routed  # routing takes seconds to import

AUTO = MODEL_PREFIX + "auto"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_head = msgspec.json.Decoder(Head)


class _Plan(NamedTuple):
    """The arms to be asked in turn; `picked` where the router chose."""

    arms: tuple[str, ...]
    picked: "Picked | None" = None


class _Sent(NamedTuple):
    """A request to one arm. `asked`: as gate and purse see it."""

    arm: Arm
    sent: bytes
    asked: Ask
    purse: Purse


_Asked = tuple[Reply | None, Problem | None]
"""What was replied, and why that is no answer."""


class ChatApi:
    """`fallback`: arms to be asked where one gives nothing, in turn."""

    def __init__(
        self, desk: Desk, upstreams: Upstreams, metrics: Metrics, routed: "Routed | None", fallback: Sequence[str] = ()
    ) -> None:
        self.desk, self.upstreams, self.metrics, self.routed = desk, upstreams, metrics, routed
        self._fallback = tuple(fallback)

    async def post(self, call: Call) -> Answer | Streamed:
        fields, head = _read(call.body)
        plan = await self._plan(head)
        call.notes |= {"model": head.model, "stream": bool(head.stream)}
        work = _Work(self, call, fields, head, plan)
        return await work.stream() if head.stream else await work.whole()

    async def _plan(self, head: Head) -> _Plan:
        """Raises Problem 404 and 400, and BudgetError."""
        arms = self.desk.settings.arms
        name = head.model.removeprefix(MODEL_PREFIX)
        if head.model == AUTO:
            return await self._routed_plan(head)
        if name == head.model or name not in arms or arms[name].protocol in ("rubric", "route"):
            raise Problem(404, "model_not_found", f"there is no model {head.model!r}; see /v1/models", param="model")
        return _Plan(tuple(dict.fromkeys((name, *self._fallback))))

    async def _routed_plan(self, head: Head) -> _Plan:
        routed = self.routed
        if routed is None:
            raise Problem(
                400, "no_router", f'this gateway has no router: name an arm, as in "{MODEL_PREFIX}ARM"', param="model"
            )
        text = relay.texts_of(head.messages)
        pair = Pair(id="c-" + digest(text)[:20], prompt=text)
        picked = routed.pick(pair, await routed.described(pair))
        return _Plan(tuple(dict.fromkeys((picked.arm, *self._fallback, *routed.arms))), picked)


class _Work:
    """One request under way."""

    def __init__(self, api: ChatApi, call: Call, fields: Fields, head: Head, plan: _Plan) -> None:
        self._api, self._call, self._fields, self._head, self._plan = api, call, fields, head, plan
        self._until = time.monotonic() + api.desk.deadline_s
        self._units: float | None = None  # nothing was asked

    async def whole(self) -> Answer:
        try:
            async with AsyncExitStack() as stack:
                await self._enter(stack)
                for name, left_s in self._turns():
                    sent = await self._sent(name)
                    exchange = relay.Whole(self._backend(sent.arm), sent.sent, self._head)
                    reply: Reply | None = None
                    try:
                        reply, problem = await self._asked(sent, exchange, left_s)
                    finally:
                        cost_usd = self._booked(sent, reply)
                    if problem is None:
                        return Answer(exchange.raw, 200, JSON, _headers(sent.arm, cost_usd))
                    self._try_on(sent.arm, problem)
        finally:
            self._count()
        raise AssertionError("the last arm answers or raises")

    async def stream(self) -> Streamed:
        """The stream, once it has begun: until then another arm may be asked. The room is held to its end."""
        async with AsyncExitStack() as stack:
            stack.callback(self._count)
            await self._enter(stack)
            for name, left_s in self._turns():
                sent = await self._sent(name)
                events = relay.Stream(self._backend(sent.arm), sent.sent, self._head)
                asking = asyncio.ensure_future(self._asked(sent, events, self._until - time.monotonic()))
                first: bytes | None = None
                try:
                    first = await self._first(events, asking, left_s)
                finally:
                    if first is None:
                        await self._over(sent, asking)
                if first is not None:
                    held = stack.pop_all()
                    return Streamed(self._pieces(held, sent, events, asking, first), EVENTS, _headers(sent.arm, None))
                _, problem = asking.result()
                self._try_on(sent.arm, problem or _empty(name))
        raise AssertionError("the last arm answers or raises")

    async def _enter(self, stack: AsyncExitStack) -> None:
        """A place, held until the stack is closed. Raises Problem 503 where there is none before the deadline."""
        room = self._api.desk.room
        await stack.enter_async_context(room.entered())
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                await stack.enter_async_context(room.turn())
        except TimeoutError:
            told = "so many completions and judgments are under way that its turn did not come in time; ask again"
            raise Problem(503, "overloaded", told, retry_after_s=FULL_RETRY_S) from None

    async def _over(self, sent: _Sent, asking: "asyncio.Future[_Asked]") -> None:
        """End the request, if need be, and book it."""
        await cancelled([asking])
        failed = asking.cancelled() or asking.exception() is not None
        self._booked(sent, None if failed else asking.result()[0])

    async def _first(self, events: relay.Stream, asking: "asyncio.Future[_Asked]", left_s: float) -> bytes | None:
        """The first event, None where the request came to nothing."""
        coming = asyncio.ensure_future(events.queue.get())
        try:
            both: set[asyncio.Future[Any]] = {coming, asking}
            await asyncio.wait(both, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            if not events.queue.empty():
                return events.queue.get_nowait()
        finally:
            coming.cancel()
        if not asking.done():
            asking.cancel()
        await asyncio.wait({asking})
        return None

    async def _pieces(
        self,
        held: AsyncExitStack,
        sent: _Sent,
        events: relay.Stream,
        asking: "asyncio.Future[_Asked]",
        first: bytes,
    ) -> AsyncGenerator[bytes, None]:
        async with held:
            try:
                yield first
                while True:
                    piece = await _event(events, asking)
                    if piece is None:
                        break
                    yield piece
                _, problem = asking.result()
                if problem is not None:
                    yield relay.cut(events.error)
            finally:
                await self._over(sent, asking)

    def _turns(self) -> list[tuple[str, float]]:
        """The arms in turn, with the time that each gets at most."""
        found, left_s = [], self._until - time.monotonic()
        for place, name in enumerate(self._plan.arms):
            share = left_s if place == len(self._plan.arms) - 1 else PATIENCE * left_s
            found.append((name, share))
            left_s -= share
        return found

    def _backend(self, arm: Arm) -> Backend:
        return self._api.upstreams.backends[arm.server]

    async def _sent(self, name: str) -> _Sent:
        """The request to this arm, paid for. Raises CapReached."""
        desk, api = self._api.desk, self._api
        arm = desk.settings.arms[name]
        if desk.settings.servers[arm.server].kind == "replay":
            raise Problem(400, "no_completions", f"arm {name} replays recorded judgments and completes nothing")
        sent = relay.payload(self._fields, self._head, arm)
        asked = relay.question(self._call.id, sent, self._head, arm)
        routed = () if self._plan.picked is None or api.routed is None else (api.routed.routing.account,)
        accounts = (*dict.fromkeys((self._call.caller.account, WHOLE)), *routed)
        purse = Purse(desk.ledger, accounts)
        await purse.put_aside(worst_usd(asked, arm.price))
        return _Sent(arm, sent, asked, purse)

    async def _asked(self, sent: _Sent, exchange: relay.Whole | relay.Stream, left_s: float) -> "_Asked":
        shared = self._api.upstreams[sent.arm.server]
        asker = Asker(self._api.upstreams.traced(exchange, sent.arm.server), shared.gate, shared.budget, shared.retries)
        name = sent.arm.name
        sent.purse.use()
        try:
            async with asyncio.timeout(left_s):
                reply = await asker.ask(sent.asked, sent.arm)
        except Shut:
            told = f"arm {name}: its server does not answer now"
            return None, Problem(503, "upstream_down", told, retry_after_s=DOWN_RETRY_S)
        except NotBought as over:
            return None, problem_of(sent.purse.refused or BudgetError(str(over)))
        except (TimeoutError, asyncio.CancelledError) as late:
            if isinstance(late, asyncio.CancelledError) and not isinstance(exchange, relay.Stream):
                raise
            told = f"arm {name} gave no answer in time"
            return None, Problem(504, "deadline", told, retry_after_s=DOWN_RETRY_S)
        if reply.error is None:
            return reply, None
        if sent.purse.refused is not None:  # after an attempt that was billed and lost
            return reply, problem_of(sent.purse.refused)
        return reply, _problem(name, exchange.error, reply.error)

    def _booked(self, sent: _Sent, reply: Reply | None) -> float | None:
        """Enter what the request cost; what it cost in dollars, where that is known."""
        api, arm = self._api, sent.arm
        usage = None if reply is None else reply.usage
        cost = None if usage is None or arm.price is None else arm.price.cost_usd(usage)
        asked = sent.purse.spent_usd > 0 or (reply is not None and reply.attempts > 0)
        api.metrics.completions.labels(arm.name, "failed" if reply is None or reply.error else "answered").inc()
        if usage is not None:
            api.metrics.tokens.labels(arm.name, "prompt").inc(usage.prompt_tokens)
            api.metrics.tokens.labels(arm.name, "output").inc(usage.output_tokens)
        if cost:
            api.metrics.cost_usd.labels(arm.name).inc(cost)
        units = 0.0
        if api.routed is not None and self._plan.picked is not None and asked:
            units = api.routed.units(usage, cost)
            units = self._plan.picked.held if math.isnan(units) else units
            self._units = (self._units or 0.0) + units
        api.desk.room.begun(sent.purse.close(units, usage or Usage(), judgments=int(asked)))
        self._call.notes |= {"arm": arm.name, "cost_usd": cost}
        return cost

    def _count(self) -> None:
        """Tell the pace what the routed request cost."""
        if self._plan.picked is not None and self._api.routed is not None:
            self._api.routed.paid(self._plan.picked, self._units)

    def _try_on(self, arm: Arm, problem: Problem) -> None:
        """Go on to the next arm, or raise where there is none or it would say the same."""
        last = arm.name == self._plan.arms[-1]
        if last or problem.status not in (502, 503, 504) or self._api.desk.room.closing:
            raise problem
        self._api.metrics.fallbacks.labels(arm.name).inc()


def _read(body: bytes) -> tuple[Fields, Head]:
    """Raises Problem 400."""
    try:
        fields, head = _fields.decode(body), _head.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "invalid_request", str(error)) from None
    except RecursionError:
        raise Problem(400, "invalid_request", "JSON is nested too deeply") from None
    if not head.messages:
        raise Problem(400, "invalid_request", "messages is empty", param="messages")
    return fields, head


async def _event(events: relay.Stream, asking: "asyncio.Future[_Asked]") -> bytes | None:
    """The next event, None after the last."""
    if not events.queue.empty():
        return events.queue.get_nowait()
    if not asking.done():
        coming = asyncio.ensure_future(events.queue.get())
        both: set[asyncio.Future[Any]] = {coming, asking}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if coming.done():
            return coming.result()
        coming.cancel()
    return None if events.queue.empty() else events.queue.get_nowait()


def _headers(arm: Arm, cost_usd: float | None) -> tuple[Header, ...]:
    found = ((b"x-adjudge-arm", arm.name.encode("ascii", "replace")),)
    return found if cost_usd is None else (*found, (b"x-adjudge-cost-usd", f"{cost_usd:.9f}".encode()))


def _empty(arm: str) -> Problem:
    return Problem(502, "upstream_error", f"arm {arm}: an empty stream", retry_after_s=DOWN_RETRY_S)


def _problem(arm: str, error: BackendError | None, words: str) -> Problem:
    """What the caller is told of a server's refusal or failure."""
    if isinstance(error, Rejected) and not error.always:
        return Problem(400, "upstream_refused", f"arm {arm}: {words}")
    if isinstance(error, RateLimited):
        return Problem(503, "upstream_busy", f"arm {arm}: {words}", retry_after_s=error.retry_after_s or DOWN_RETRY_S)
    return Problem(502, "upstream_error", f"arm {arm}: {words}", retry_after_s=DOWN_RETRY_S)
