"""Any OpenAI-compatible server, by POST to `/chat/completions`: OpenAI, vLLM, SGLang, llama.cpp, Ollama, gateways.

aiohttp, by measurement (`python -m bench.http_clients`): about a tenth of the CPU time per call of httpx2 at 256 calls
in flight, and a fifteenth of the openai SDK's. A Rust client (pyreqwest) takes half of aiohttp's, at version 0.x.

The key goes into the Authorization header and nowhere else: redirects are not followed, and wherever the key turns up
in what a server says, it reads `***` before anything else sees it. (Keys under 8 characters, such as the `EMPTY` that
vLLM is given, are no secret and are let be.)
"""

import asyncio
import email.utils
import io
import math
import os
import re
import time
import urllib.request
from collections.abc import AsyncGenerator, Mapping

import aiohttp
import msgspec
from yarl import URL

import adjudge
from adjudge.config import Server, Settings
from adjudge.errors import BackendError, BadReply, ConfigError, Rejected, Unavailable
from adjudge.judging.backends.completion import read_reply, refusal, request_body
from adjudge.types import Ask, Reply

LONGEST_WAIT_S = 120.0
CONNECT_S = 15.0
SHORTEST_SECRET = 8
LARGE_BYTES = 1 << 20  # aiohttp hands bytes to the socket in one go, and warns of it from here on
# uvicorn, which vLLM and SGLang stand on, closes a connection after 5 idle seconds; a question sent just then is lost.
KEEP_IDLE_S = 4.0
_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")


def connect(name: str, settings: Settings, environ: Mapping[str, str]) -> "Http":
    """The backend of one server. Raises ConfigError when its key's variable is not set or holds what no header can."""
    key = settings.api_key(name, environ).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        variable = settings.servers[name].api_key_env
        raise ConfigError(f"servers.{name}: the key in {variable} holds spaces or control characters; set it again")
    return Http(settings.servers[name], key)


class Http:
    """A Backend over HTTP. To be made on the event loop that uses it."""

    def __init__(self, server: Server, key: str = "") -> None:
        base = URL(server.url.rstrip("/"))
        if key and base.user:
            raise ConfigError(f"the url of {base.host} holds a user name: a server takes that or a key, not both")
        self._url = base.with_path(base.path.rstrip("/") + "/chat/completions", keep_query=True)
        self._key = key if len(key) >= SHORTEST_SECRET else ""
        self._limit_bytes = int(server.max_reply_mb * 1e6)
        self._limit_mb = server.max_reply_mb
        self._deadline_s = server.deadline_s
        headers = {"Content-Type": "application/json", "User-Agent": f"adjudge/{adjudge.__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_IDLE_S
            ),  # the runner bounds what is in flight
            timeout=aiohttp.ClientTimeout(total=server.deadline_s, sock_connect=min(CONNECT_S, server.deadline_s)),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy_of(base),
        )

    async def send(self, ask: Ask) -> Reply:
        reply, _ = await self.exchange(request_body(ask))
        return reply

    async def exchange(self, body: bytes) -> tuple[Reply, bytes]:
        """Post a body as it is: the answer as it is read, and as it came. Raises as `send` does."""
        began = time.perf_counter()
        try:
            async with self._session.post(self._url, data=_data(body), allow_redirects=False) as answer:
                answered = await self._read(answer)
                status, headers = answer.status, answer.headers
        except BackendError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from None
        answered = self._masked_bytes(answered)
        try:
            if status != 200:
                raise _refusal(status, headers, answered)
            reply = read_reply(answered, headers.get("Content-Type", ""))
        except BackendError as error:
            raise self._masked(error) from None
        if self._key:
            reply = self._masked_reply(reply)
        return msgspec.structs.replace(reply, latency_s=time.perf_counter() - began), answered

    async def events(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Post a body that asks for a stream: its server-sent events as they come, each with the empty line that ends
        it; of a server that does not stream the whole body. Raises as `send` does, once events have come too."""
        try:
            async with self._session.post(self._url, data=_data(body), allow_redirects=False) as answer:
                if answer.status != 200:
                    answered = self._masked_bytes(await self._read(answer))
                    raise self._masked(_refusal(answer.status, answer.headers, answered))
                if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                    yield self._masked_bytes(await self._read(answer))
                    return
                async for event in _events(self._pieces(answer)):
                    yield self._masked_bytes(event)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from None

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)  # lets the transports' closing callbacks run

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The body, unpacked; read as a stream and given up at the limit, packed or not."""
        whole = bytearray()
        async for piece in self._pieces(answer):
            whole += piece
        return bytes(whole)

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        size = 0
        while not answer.content.at_eof():
            piece = await answer.content.readany()
            size += len(piece)
            if size > self._limit_bytes:
                answer.close()
                raise BadReply(
                    f"the reply is over max_reply_mb = {self._limit_mb:g}", maybe_billed=answer.status == 200
                )
            yield piece

    def _unavailable(self, error: Exception) -> BackendError:
        match error:
            case aiohttp.InvalidURL():
                return Rejected(self._mask(f"the server's url is no address: {error}"), always=True)
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                return Unavailable(self._mask(f"no connection to {self._url.host}:{self._url.port}: {_reason(error)}"))
            case TimeoutError():
                return Unavailable(f"no answer within deadline_s = {self._deadline_s:g}", maybe_billed=True)
        return Unavailable(self._mask(f"connection lost: {error or type(error).__name__}"), maybe_billed=True)

    def _mask(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _masked_bytes(self, body: bytes) -> bytes:
        return body.replace(self._key.encode(), b"***") if self._key else body

    def _masked(self, error: BackendError) -> BackendError:
        error.args = tuple(self._mask(str(a)) for a in error.args)
        return error

    def _masked_reply(self, reply: Reply) -> Reply:
        """The bytes were masked before; JSON can also spell a key with escapes."""
        found = [
            f
            for f in ("text", "reasoning", "finish_reason", "refusal", "model")
            if self._key in (getattr(reply, f) or "")
        ]
        return msgspec.structs.replace(reply, **{f: self._mask(getattr(reply, f)) for f in found}) if found else reply


async def _events(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces, cut after each empty line."""
    rest = b""
    async for piece in pieces:
        rest += piece
        while end := _END_OF_EVENT.search(rest):
            yield rest[: end.end()]
            rest = rest[end.end() :]
    if rest.strip():
        yield rest + b"\n\n"


def _data(body: bytes) -> bytes | io.BytesIO:
    """The body as aiohttp wants it: a large one to be read piece by piece."""
    return io.BytesIO(body) if len(body) > LARGE_BYTES else body


def _reason(error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "too slow"
    number = error.os_error.errno
    # The event loop's own words repeat the address; negative numbers are the resolver's, which strerror does not know.
    known = os.strerror(number).lower() if number and number > 0 else error.os_error.strerror
    return known or str(error)


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from Retry-After (seconds or an HTTP date) or retry-after-ms; at most LONGEST_WAIT_S.

    >>> retry_after_s({"Retry-After": "2"}), retry_after_s({"retry-after-ms": "250"}), retry_after_s({})
    (2.0, 0.25, None)
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, now=90.0)
    10.0
    """
    for name, unit in (("retry-after-ms", 1000.0), ("Retry-After", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) / unit
        except ValueError:
            try:
                wait = email.utils.parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
            except ValueError:
                continue
        if math.isfinite(wait):
            return min(max(wait, 0.0), LONGEST_WAIT_S)
    return None


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
    if 300 <= status < 400:
        return Rejected(
            f"HTTP {status}: sent on to {_host(headers.get('Location', ''))}; give that address", always=True
        )
    if 200 < status < 300:
        return BadReply(f"HTTP {status} is no chat completion", maybe_billed=True)
    return refusal(status, body, retry_after_s=retry_after_s(headers))


def _host(location: str) -> str:
    try:
        return URL(location).host or "another page of the same host"
    except ValueError:
        return "nowhere"


def proxy_of(url: URL) -> str | None:
    """The proxy that the environment names for this address, as other clients would take it; none for loopback."""
    host = url.host or ""
    if host in ("localhost", "::1") or host.startswith("127.") or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)
