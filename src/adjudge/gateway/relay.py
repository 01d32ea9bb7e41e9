"""A chat completion passed on: the caller's body with the arm's model and mode, and the server's answer as it came.

Each request is a Backend for one question, so that gate, retries and purse are those of judging. Only what has to be
read or changed is: the usage, and reasoning, which is given back under both names that clients look for it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adjudge.config import Arm
from adjudge.errors import BackendError, Rejected
from adjudge.judging.backends.base import Backend
from adjudge.judging.backends.completion import read_reply, read_usage
from adjudge.judging.protocol import body as arm_body
from adjudge.types import Ask, Message, Reply, Usage

Fields = dict[str, msgspec.Raw]
Limit = Annotated[float, Meta(ge=0, le=2**31)]  # JSON knows no whole numbers: 64.0 is one
Draws = Annotated[float, Meta(ge=1, le=128, multiple_of=1)]
QUEUED = 64  # events that may wait for a slow reader
DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_MODE = ("model", "reasoning_effort")


class Head(msgspec.Struct):
    """What is read of a request; all else is passed on."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool | None = None
    n: Draws | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    stream_options: dict[str, Any] | None = None

    @property
    def counts_asked(self) -> bool:
        """Whether the caller wants the usage at the end of the stream."""
        return bool((self.stream_options or {}).get("include_usage"))


def payload(fields: Fields, head: Head, arm: Arm) -> bytes:
    """The body for the arm's server: its model and its mode's switch always, what else it says where the caller is
    silent. A stream is asked for its usage."""
    own = arm_body(msgspec.structs.replace(arm, logprobs=False), 0)
    sent: dict[str, Any] = dict(fields)
    for name, value in own.items():
        if name == "max_tokens" and "max_completion_tokens" in fields:
            continue
        if name == "chat_template_kwargs" and name in fields:
            given = _decode(fields[name])
            sent[name] = {**given, **value} if isinstance(given, dict) else value
        elif name in _MODE or name not in fields:
            sent[name] = value
    if head.stream:
        sent["stream_options"] = {**(head.stream_options or {}), "include_usage": True}
    return _encode(sent)


def question(request_id: str, sent: bytes, head: Head, arm: Arm) -> Ask:
    """What gate and purse have to know of a request: its size, and how long its answer may get."""
    limits = [limit for limit in (head.max_completion_tokens, head.max_tokens) if limit]
    limit = max(limits, default=arm.max_tokens)  # of two the larger: servers differ in which of them they heed
    body = {"model": arm.model, "max_tokens": int(limit), "n": int(head.n or 1)}
    return Ask(
        pair_id=request_id,
        arm=arm.name,
        kind="verdict",
        messages=(Message("user", sent.decode("utf-8", "replace")),),
        body=body,
    )


class Whole:
    """One request that is answered whole. `raw` is the answer, `error` what became of the last attempt."""

    def __init__(self, backend: Backend, sent: bytes, head: Head) -> None:
        self._backend, self._sent, self._head = backend, sent, head
        self.raw = b""
        self.error: BackendError | None = None

    async def send(self, ask: Ask) -> Reply:
        try:
            if hasattr(self._backend, "exchange"):
                passing: Any = self._backend
                reply, raw = await passing.exchange(self._sent)
                self.raw = both_reasonings(raw)
            else:
                reply = await self._backend.send(_asked(ask, self._head, self._sent))
                self.raw = _encode(completion(reply, ask.pair_id, self._head.model))
        except BackendError as error:
            self.error = error
            raise
        typed: Reply = reply
        return typed

    async def close(self) -> None:
        """The connection is its server's."""


class Stream:
    """One request that is answered in events. `queue` holds them as they are to be passed on."""

    def __init__(self, backend: Backend, sent: bytes, head: Head) -> None:
        self._backend, self._sent, self._head = backend, sent, head
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        self.error: BackendError | None = None
        self.begun = False
        self._usage: Usage | None = None

    async def send(self, ask: Ask) -> Reply:
        try:
            async for event in self._events(ask):
                passed = self._seen(event)
                if passed is not None:
                    self.begun = True
                    await self.queue.put(passed)
        except BackendError as error:
            self.error = error
            if self.begun:
                error.retryable = False  # the caller has its beginning
            raise
        return Reply(usage=self._usage, unmetered_calls=0 if self._usage else 1)

    async def close(self) -> None:
        """The connection is its server's."""

    def _events(self, ask: Ask) -> AsyncGenerator[bytes, None]:
        if hasattr(self._backend, "events"):
            passing: Any = self._backend
            found: AsyncGenerator[bytes, None] = passing.events(self._sent)
            return found
        return self._at_once(ask)

    async def _at_once(self, ask: Ask) -> AsyncGenerator[bytes, None]:
        reply = await self._backend.send(_asked(ask, self._head, self._sent))
        yield _encode(completion(reply, ask.pair_id, self._head.model))

    def _seen(self, event: bytes) -> bytes | None:
        """The event as it is passed on, None where it is not."""
        if event[:1] in (b"{", b" ", b"\n", b"["):
            return self._unstreamed(event)
        if b'"usage"' not in event and b'"reasoning' not in event:
            return event
        told = _json_of(event)
        if told is None:
            return event
        usage = read_usage(told.get("usage"), wrote=False)
        self._usage = usage or self._usage
        if usage is not None and not told.get("choices") and not self._head.counts_asked:
            return None  # we asked for it, not the caller
        return b"data: " + _encode(told) + b"\n\n" if _twinned(told, "delta") else event

    def _unstreamed(self, body: bytes) -> bytes:
        """What a server sent that does not stream, as a stream. Raises BadReply where it is no completion."""
        reply = read_reply(body)
        self._usage = reply.usage
        told = _decode(body)
        _twinned(told, "message")
        parts = [{**choice, "delta": choice.pop("message", {})} for choice in told["choices"]]
        chunk = told | {"object": "chat.completion.chunk", "choices": parts}
        return b"data: " + _encode(chunk) + b"\n\n" + DONE


def both_reasonings(raw: bytes) -> bytes:
    """The completion with its reasoning under both names; untouched where it holds none, or both."""
    if b'"reasoning' not in raw:
        return raw
    try:
        told = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    return _encode(told) if isinstance(told, dict) and _twinned(told, "message") else raw


def completion(reply: Reply, request_id: str, model: str) -> dict[str, Any]:
    """A reply of a model in this process as a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.reasoning:
        message |= {"reasoning": reply.reasoning, "reasoning_content": reply.reasoning}
    usage = reply.usage or Usage()
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model or model,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason or "stop"}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
        },
    }


def texts_of(messages: list[dict[str, Any]]) -> str:
    """All that the messages say in text."""
    found: list[str] = []
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        found += [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n\n".join(found)


def _asked(ask: Ask, head: Head, sent: bytes) -> Ask:
    """The request as a question to a model in this process, which reads text alone. Raises Rejected for tools."""
    body = _decode(sent)
    if body.pop("tools", None):
        raise Rejected("a model in this process takes no tools; name an arm of another server")
    for name in ("messages", "stream", "stream_options"):
        body.pop(name, None)
    said = tuple(Message(message.get("role", "user"), texts_of([message])) for message in head.messages)
    return msgspec.structs.replace(ask, messages=said, body=body)


def _json_of(event: bytes) -> dict[str, Any] | None:
    data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    try:
        told = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _twinned(told: Mapping[str, Any], part: str) -> bool:
    """Give reasoning both names, in place; whether anything was missing one."""
    missing = False
    choices = told.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get(part) if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        said = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(said, str):
            for name in ("reasoning", "reasoning_content"):
                if message.get(name) != said and not message.get(name):
                    message[name], missing = said, True
    return missing


def cut(error: BackendError | None) -> bytes:
    """What ends a stream whose server stopped half-way."""
    told = {
        "message": str(error or "the stream was cut"),
        "type": "upstream_error",
        "code": "stream_cut",
        "param": None,
    }
    return b"data: " + _encode({"error": told}) + b"\n\n"
