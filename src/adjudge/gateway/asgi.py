"""Requests in, answers out, over ASGI: what is read is bounded in bytes and seconds, and every request has an end.

    scope -> Endpoint: method, key and scope, body -> handler -> Answer or Streamed -> the wire, the log, the metrics

Bare ASGI under Starlette's router, by measurement (docs/serving.md): its application and request objects take a third
of the time of a small request. A body over the limit is read on and thrown away for a while, so that a caller who sends
all of it before reading gets to see the refusal.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, Protocol

import msgspec

from adjudge.errors import AdjudgeError
from adjudge.gateway.problems import ErrorBody, Problem, problem_of
from adjudge.judging.driver import cancelled

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"
NDJSON = b"application/x-ndjson"
EVENTS = b"text/event-stream"
AS_IT_COMES = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))  # else nginx gathers streams
DRAIN_BYTES = 256 << 20
_GIVEN_ID = re.compile(rb"[\w.:-]{1,64}")
_encode = msgspec.json.Encoder().encode


class Caller(NamedTuple):
    """Who asks: the account that is charged ("" where there are no keys), and a name for the log."""

    account: str = ""
    name: str = ""


class Call:
    """One request being answered. `notes` go into its line of the log: never texts, never keys."""

    __slots__ = ("body", "caller", "headers", "id", "notes", "path", "query", "receive")

    def __init__(self, scope: Message, receive: Receive) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"")
        self.id = given.decode() if _GIVEN_ID.fullmatch(given) else "req_" + secrets.token_hex(12)
        self.path: dict[str, str] = scope.get("path_params", {})
        self.query: bytes = scope["query_string"]
        self.receive = receive
        self.caller = Caller()
        self.body = b""
        self.notes: dict[str, Any] = {}

    @property
    def token(self) -> str | None:
        """The key that came with it."""
        kind, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip().decode("latin-1") if kind.lower() == b"bearer" and token.strip() else None

    def accepts(self, media: bytes) -> bool:
        return media in self.headers.get(b"accept", b"")


class Answer(NamedTuple):
    """An answer that comes whole."""

    body: bytes
    status: int = 200
    media: bytes = JSON
    headers: tuple[Header, ...] = ()


class Streamed(NamedTuple):
    """An answer that comes in pieces. The generator is closed when the caller is gone."""

    pieces: AsyncGenerator[bytes, None]
    media: bytes
    headers: tuple[Header, ...] = ()


Handler = Callable[[Call], Awaitable[Answer | Streamed]]


class Watch(Protocol):
    """Whoever looks on: keys before the body is read, metrics and log after the answer."""

    async def admit(self, call: Call, scope: str | None) -> Caller:
        """Raises KeyRefused, RateReached, or Problem 403."""
        ...

    def began(self, call: Call, method: str, route: str) -> None: ...
    def ended(self, call: Call, route: str, status: int, seconds: float, fault: BaseException | None) -> None: ...


class Limits(msgspec.Struct, frozen=True):
    body_bytes: int = 4_000_000
    body_s: float = 20.0


def plain(value: object, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    """A value as JSON."""
    return Answer(_encode(value), status, JSON, headers)


class Endpoint:
    """An ASGI application for one path. `handlers`: by method, with the scope of a key that each needs."""

    def __init__(
        self, route: str, handlers: dict[str, tuple[str | None, Handler]], watch: Watch, limits: Limits
    ) -> None:
        self._route, self._handlers, self._watch, self._limits = route, handlers, watch, limits
        self._allow = ", ".join(sorted(handlers)).encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        call = Call(scope, receive)
        self._watch.began(call, scope["method"], self._route)
        wire = _Wire(send, call.id.encode())
        fault: BaseException | None = None
        try:
            try:
                await self._send(wire, call, await self._answer(call, scope["method"]))
            except Problem as problem:
                await wire.refuse(problem)
            except AdjudgeError as error:
                await wire.refuse(problem_of(error))
            except Exception as error:  # noqa: BLE001 -- the caller gets an answer whatever is wrong with us
                fault = error
                await wire.refuse(problem_of(AdjudgeError()))
        except BaseException as error:
            fault = error
            raise
        finally:
            self._watch.ended(call, self._route, wire.status, time.perf_counter() - began, fault)

    async def _answer(self, call: Call, method: str) -> Answer | Streamed:
        if method not in self._handlers:
            raise _NotAllowed(self._allow)
        scope, handler = self._handlers[method]
        call.caller = await self._watch.admit(call, scope)
        if method == "POST":
            if call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != JSON:
                raise Problem(
                    415, "unsupported_media_type", "send JSON, with the header Content-Type: application/json"
                )
            call.body = await _body(call, self._limits)
        return await handler(call)

    async def _send(self, wire: "_Wire", call: Call, answer: Answer | Streamed) -> None:
        if isinstance(answer, Answer):
            await wire.whole(answer)
            return
        gone = asyncio.ensure_future(_gone(call.receive))
        try:
            async with aclosing(answer.pieces) as pieces:
                await wire.start(200, answer.media, (*AS_IT_COMES, *answer.headers))
                # At least once: a generator that never began would not hear of its end, and lets go of nothing.
                piece = await _next(pieces, gone)
                while piece is not None and not gone.done():
                    await wire.piece(piece)
                    piece = await _next(pieces, gone)
                await wire.end()
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


class _NotAllowed(Problem):
    def __init__(self, allow: bytes) -> None:
        super().__init__(405, "method_not_allowed", f"this path takes {allow.decode()}")
        self._allow = allow

    @property
    def headers(self) -> tuple[Header, ...]:
        return ((b"allow", self._allow),)


class _Wire:
    """The answer's way out. `status` is what the caller was told."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send, self._id = send, request_id
        self.status = 499  # nobody was there to be answered
        self._started = False

    async def whole(self, answer: Answer) -> None:
        await self.start(answer.status, answer.media, answer.headers, len(answer.body))
        await self._send({"type": "http.response.body", "body": answer.body})

    async def start(self, status: int, media: bytes, headers: tuple[Header, ...], length: int | None = None) -> None:
        told = [(b"content-type", media), (b"x-request-id", self._id), *headers]
        if length is not None:
            told.append((b"content-length", b"%d" % length))
        self.status, self._started = status, True
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def piece(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, problem: Problem) -> None:
        """Say what went wrong; where the answer has begun it is cut off instead, which is how a stream fails."""
        if self._started:
            raise problem
        close = ((b"connection", b"close"),) if problem.status in (408, 413) else ()
        body = _encode(ErrorBody(problem.told))
        await self.whole(Answer(body, problem.status, JSON, (*problem.headers, *close)))


async def _body(call: Call, limits: Limits) -> bytes:
    """The whole body. Raises Problem 413 and 408."""
    if b"expect" in call.headers and _announced(call) > limits.body_bytes:
        raise _too_large(limits)  # the caller asked before sending it
    pieces: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(limits.body_s):
            while more:
                message = await call.receive()
                if message["type"] == "http.disconnect":
                    raise Problem(408, "request_cut", "the request ended before its body did")
                piece, more = message.get("body", b""), message.get("more_body", False)
                size += len(piece)
                if size <= limits.body_bytes:
                    pieces.append(piece)
                elif size > DRAIN_BYTES:
                    break
    except TimeoutError:
        if size <= limits.body_bytes:
            raise Problem(408, "request_timeout", f"the body did not come within {limits.body_s:g} s") from None
    if size > limits.body_bytes:
        raise _too_large(limits)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _announced(call: Call) -> int:
    length = call.headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _too_large(limits: Limits) -> Problem:
    return Problem(413, "request_too_large", f"a request is at most {limits.body_bytes:,} bytes; send a smaller batch")


async def _gone(receive: Receive) -> None:
    """Until the caller is."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(pieces: AsyncGenerator[bytes, None], gone: asyncio.Future[None]) -> bytes | None:
    """The next piece, None at the end or when the caller is gone."""
    coming: asyncio.Future[bytes | None] = asyncio.ensure_future(_piece(pieces))
    both: set[asyncio.Future[Any]] = {coming, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        await cancelled([coming])  # a generator that is running cannot be closed


async def _piece(pieces: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(pieces, None)
