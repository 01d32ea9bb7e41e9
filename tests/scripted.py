"""A model server on loopback that follows a script, misbehaves as told, and keeps its own books.

    python -m tests.scripted --latency 0.05 --fault 429=0.3 --fault hang=0.1

prints its port and serves `POST /v1/chat/completions` until it is killed; `GET /count` gives the books. It speaks as
much HTTP/1.1 as chat clients do, straight from the socket: it is the load target of the benchmark, and half of its
faults are answers that no web framework will send.

Each call is answered well or by one fault, drawn by a seeded generator in the order of arrival:

    429 429-date       rate limit, Retry-After as seconds / as an HTTP date; not billed
    500 echo           server error, plain / repeating the Authorization header; not billed
    400 401 402 403 404  the request / the key / the account / the model / the page is refused; not billed
    hang cut           no answer at all / half of one, then the connection is cut; billed, nobody can read what
    broken html sse    200 with half a JSON object / a page / an event stream; billed, unreadable
    big bomb deep      200 with 50 MB / gzip that unpacks to 200 MB / JSON nested 100,000 deep; billed, unreadable
    counts             a good answer whose usage is nonsense; billed, unreadable
    empty              an answer without text, usage and all; billed
    type encoding      a good answer under a false content type / with bytes that are not UTF-8; billed
    leak               a good answer that repeats the Authorization header; billed
"""

import argparse
import asyncio
import contextlib
import email.utils
import functools
import gzip
import random
import re
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import msgspec

BILLED_UNREADABLY = frozenset({"hang", "cut", "broken", "html", "sse", "big", "bomb", "deep", "counts"})
REFUSALS = {
    "400": "unknown field",
    "401": "Incorrect API key provided.",
    "402": "no credit",
    "403": "not for you",
    "404": "The model does not exist.",
}
UNBILLED = frozenset({"429", "429-date", "500", "echo", *REFUSALS})
READABLE = frozenset({"empty", "type", "encoding", "leak"})
FAULTS = (BILLED_UNREADABLY | UNBILLED | READABLE) - REFUSALS.keys()  # what a run survives; a refusal is for good
KNOWN = FAULTS | REFUSALS.keys()
NONSENSE: tuple[object, ...] = (
    {"prompt_tokens": -5, "completion_tokens": 3},
    {"prompt_tokens": "many", "completion_tokens": 3},
    {"prompt_tokens": 10, "completion_tokens": 10**15},
    {"prompt_tokens": 10, "completion_tokens": 3.5},
    "none of your business",
    None,
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_AUTHORIZATION = re.compile(rb"\r\nauthorization: *([^\r]*)", re.I)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How to answer. `faults` maps a fault to its share of calls; tokens are drawn between the bounds, both included.

    From call number `down_from` on, for `down_s` seconds, the server is down: 503 to each.
    """

    seed: int = 0
    latency_s: float = 0.0
    says: tuple[str, ...] = ("Verdict: [[A]]", "Verdict: [[B]]", "Verdict: [[C]]")
    reasoning: Literal["", "reasoning_content", "reasoning", "think"] = ""
    finish_reason: str = "stop"
    prompt_tokens: tuple[int, int] = (200, 400)
    output_tokens: tuple[int, int] = (5, 50)
    faults: dict[str, float] = {}
    retry_after: str = "0.02"
    down_from: int = 0
    down_s: float = 0.0


class Count(msgspec.Struct):
    """The server's books. `undelivered` answers were ready when the caller was gone: billed, and never seen."""

    calls: int = 0
    metered_calls: int = 0
    unmetered_calls: int = 0
    undelivered: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    most_at_once: int = 0
    faults: dict[str, int] = {}


class Server:
    """The script being followed, with its books; `url` is the base that clients are given."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.count = Count()
        self.url = ""
        self.at_once = 0
        self.connections = 0
        self._up_at = 0.0
        self._draw = random.Random(script.seed)
        self._shares = list(script.faults.items())
        if unknown := script.faults.keys() - KNOWN:
            raise ValueError(f"no fault {unknown}; known: {sorted(KNOWN)}")
        if "bomb" in script.faults:
            _bomb()  # takes a second: made before anybody waits for an answer

    def fault(self) -> str:
        """The fault of the next call, "" for none."""
        self.count.calls += 1
        if self.script.down_s and self.count.calls >= self.script.down_from:
            self._up_at = self._up_at or time.monotonic() + self.script.down_s
            if time.monotonic() < self._up_at:
                return "503"
        point = self._draw.random() if self._shares else 1.0
        for name, share in self._shares:
            point -= share
            if point < 0:
                return name
        return ""

    def enter(self, fault: str) -> None:
        self.at_once += 1
        self.count.most_at_once = max(self.count.most_at_once, self.at_once)
        if fault:
            self.count.faults[fault] = self.count.faults.get(fault, 0) + 1

    def answer(self, fault: str, body: bytes, authorization: bytes) -> bytes:
        """The whole HTTP answer to one call, entered in the books."""
        if fault in UNBILLED or fault == "503":
            return self._refusal(fault, authorization)
        prompt, output = self._draw.randint(*self.script.prompt_tokens), self._draw.randint(*self.script.output_tokens)
        payload = msgspec.json.encode(self._completion(fault, body, authorization, prompt, output))
        if fault in BILLED_UNREADABLY:
            self.count.unmetered_calls += 1
        else:
            self.count.metered_calls += 1
            self.count.prompt_tokens += prompt
            self.count.output_tokens += output
        match fault:
            case "cut" | "broken":
                half = payload[: len(payload) // 2]
                return http_answer(200, half, length=len(payload) if fault == "cut" else None)
            case "html":
                return http_answer(200, b"<html><body>Welcome to the proxy</body></html>", "text/html")
            case "sse":
                return http_answer(200, b"data: " + payload + b"\n\ndata: [DONE]\n\n", "text/event-stream")
            case "big":
                return http_answer(200, payload[:-1] + _padding())
            case "bomb":
                return http_answer(200, _bomb(), extra=b"Content-Encoding: gzip\r\n")
            case "deep":
                return http_answer(200, b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
            case "type":
                return http_answer(200, payload, "image/png")
            case "encoding":
                return http_answer(200, payload.replace(b"Verdict", b"Verdict d\xe9finitif"))
        return http_answer(200, payload)

    def _completion(self, fault: str, body: bytes, authorization: bytes, prompt: int, output: int) -> dict[str, Any]:
        says = self.script.says
        text = "" if fault == "empty" else says[zlib.crc32(body, self.script.seed) % len(says)]
        if fault == "leak":
            text += f" (asked with {authorization.decode()})"
        message: dict[str, Any] = {"role": "assistant", "content": text}
        thought = "A looks better. [[B]] No: the other one."
        reasoning_tokens = 0
        if self.script.reasoning == "think":
            message["content"] = f"<think>{thought}</think>{text}"
        elif self.script.reasoning:
            message[self.script.reasoning] = thought
        if self.script.reasoning:
            reasoning_tokens = output // 2
        usage: object = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": prompt // 2},
            "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
        }
        if fault == "counts":
            usage = self._draw.choice(NONSENSE)
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self.script.finish_reason}
        if b'"logprobs":true' in body:
            choice["logprobs"] = {"content": _logprobs(text)}
        return {"id": "x", "object": "chat.completion", "model": "scripted-1", "choices": [choice], "usage": usage}

    def _refusal(self, fault: str, authorization: bytes) -> bytes:
        if fault == "429":
            return http_answer(
                429, _error("slow down"), extra=b"Retry-After: %s\r\n" % self.script.retry_after.encode()
            )
        if fault == "429-date":
            date = email.utils.formatdate(time.time() + 1, usegmt=True)
            return http_answer(429, _error("slow down"), extra=b"Retry-After: %s\r\n" % date.encode())
        if fault == "echo":
            return http_answer(500, _error(f"crashed on {authorization.decode()}"))
        return http_answer(int(fault), _error(REFUSALS.get(fault, "out of order")))


def http_answer(
    status: int, body: bytes, content_type: str = "application/json", *, extra: bytes = b"", length: int | None = None
) -> bytes:
    """The bytes of an HTTP answer; `length` is the Content-Length to claim, when it is not the true one."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length or len(body)}\r\n"
    return head.encode() + extra + b"\r\n" + body


def _error(message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": "scripted"}})


@functools.cache
def _padding() -> bytes:
    return b', "x": "' + b"x" * (50 << 20) + b'"}'


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(200 << 20), compresslevel=1)


def _logprobs(text: str) -> list[dict[str, Any]]:
    tokens = re.findall(r"\[\[|]]|\w+|\s|[^\w\s]", text)
    return [
        {"token": t, "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": -0.1}, {"token": "A", "logprob": -3.0}]}
        for t in tokens
    ]


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.connections += 1
        self.transport = transport  # type: ignore[assignment]  # TCP gives a two-way transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[: end + 2])
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            body = bytes(self.buffer[end + 4 : size])
            del self.buffer[:size]
            self._called(head, body)

    def _called(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /count"):
            self.transport.write(http_answer(200, msgspec.json.encode(self.server.count)))
        elif not head.startswith(b"POST /v1/chat/completions"):
            self.transport.write(http_answer(404, _error("no such page")))
        else:
            fault = self.server.fault()
            self.server.enter(fault)
            if fault == "hang":
                self.server.at_once -= 1
                self.server.count.unmetered_calls += 1
                return
            authorization = match[1] if (match := _AUTHORIZATION.search(head)) else b""
            loop = asyncio.get_running_loop()
            loop.call_later(self.server.script.latency_s, self._answer, fault, body, authorization)

    def _answer(self, fault: str, body: bytes, authorization: bytes) -> None:
        self.server.at_once -= 1
        if self.transport.is_closing():
            self.server.count.undelivered += 1
            return
        self.transport.write(self.server.answer(fault, body, authorization))
        if fault in ("cut", "big"):
            self.transport.close()


@contextlib.asynccontextmanager
async def serving(script: Script, port: int = 0) -> AsyncIterator[Server]:
    """The server on this event loop, gone with the block."""
    server = Server(script)
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server), "127.0.0.1", port, backlog=1024
    )
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()


class Remote:
    """A server in its own process."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def count(self) -> Count:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/count", timeout=30) as answer:
            return msgspec.json.decode(answer.read(), type=Count)


@contextlib.contextmanager
def process(script: Script) -> Iterator[Remote]:
    """The server in its own process, ended with the block."""
    command = [sys.executable, "-m", "tests.scripted", "--script", msgspec.json.encode(script).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield Remote(f"http://127.0.0.1:{int(child.stdout.readline())}/v1", child.pid)
        finally:
            child.terminate()


def _arguments() -> tuple[Script, int, bool]:
    """(script, port, whether to end when standard input closes)."""
    parser = argparse.ArgumentParser(description="A scripted model server on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--say", action="append", help="a text to answer with; may be given again")
    parser.add_argument("--reasoning", choices=["", "reasoning_content", "reasoning", "think"], default="")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(sorted(KNOWN)))
    parser.add_argument("--script", help="the whole script as JSON, in place of the other options; ends with stdin")
    given = parser.parse_args()
    if given.script:
        return msgspec.json.decode(given.script, type=Script), given.port, True
    faults = {name: float(share) for name, _, share in (f.partition("=") for f in given.fault)}
    script = Script(seed=given.seed, latency_s=given.latency, reasoning=given.reasoning, faults=faults)
    return (msgspec.structs.replace(script, says=tuple(given.say)) if given.say else script), given.port, False


async def _main() -> None:
    script, port, ends_with_parent = _arguments()
    async with serving(script, port) as server:
        print(server.url.rsplit(":", 1)[1].removesuffix("/v1"), flush=True)
        await (asyncio.to_thread(sys.stdin.read) if ends_with_parent else asyncio.Event().wait())


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(_main())
    except KeyboardInterrupt:
        pass
