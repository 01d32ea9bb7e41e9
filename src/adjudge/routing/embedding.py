"""Embeddings of texts from any OpenAI-compatible server, by POST to `/embeddings` (BGE-M3, Qwen3-Embedding, ...).

There is no offline default: on the recorded sets with texts, no model that can be installed routed better than the
plain features of features.py (`python -m bench.embeddings` measures it).

As in judging/backends/http.py the key goes into the Authorization header and nowhere else: redirects are not followed,
replies are read up to a limit, and wherever the key turns up in what a server says, it reads `***`.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
import numpy as np
from yarl import URL

import adjudge
from adjudge.errors import BackendError, BadReply, ConfigError, RateLimited, Rejected, Unavailable
from adjudge.judging.backends.completion import error_text, refusal
from adjudge.judging.backends.http import CONNECT_S, SHORTEST_SECRET, proxy_of, retry_after_s
from adjudge.routing.ambiguity import Array

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


class EmbeddingServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where texts are embedded. `url` ends before `/embeddings`. `batch` texts go in one request, `concurrency`
    requests at a time; texts are cut at `most_chars`. `retries` counts attempts after the first."""

    url: str
    model: str
    api_key_env: str = ""
    batch: int = 32
    concurrency: int = 8
    most_chars: int = 24_000
    deadline_s: float = 120.0
    retries: int = 5
    max_reply_mb: float = 64.0

    def __post_init__(self) -> None:
        for name in ("batch", "concurrency", "most_chars", "deadline_s", "max_reply_mb"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"embeddings: {name} is {getattr(self, name)}; it must be above 0")
        if not self.model or URL(self.url).scheme not in ("http", "https"):
            raise ConfigError("embeddings: give a model, and a url that begins with http:// or https://")


class ServerEmbedder:
    """An Embedder (features.py) over HTTP; its name is the model's, so that a router outlives a change of address."""

    def __init__(self, server: EmbeddingServer, environ: Mapping[str, str] = os.environ) -> None:
        """Raises ConfigError when the key's variable is not set, or holds what no header can."""
        self._server = server
        self._key = _key(server, environ)
        base = URL(server.url.rstrip("/"))
        self._url = base.with_path(base.path.rstrip("/") + "/embeddings", keep_query=True)

    @property
    def name(self) -> str:
        return self._server.model

    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors of unit length, shape (len(texts), E); zeros for a text without any character but white space.

        Raises BackendError when the server gives none after all attempts. Not to be called on a running event loop:
        there, `await asyncio.to_thread(embedder.embed, texts)`.
        """
        return asyncio.run(self._embed(texts))

    async def _embed(self, texts: Sequence[str]) -> Array:
        asked = [i for i, text in enumerate(texts) if text.strip()]
        if not asked:
            raise Rejected("there is no text to embed", always=True)
        parts = [asked[k : k + self._server.batch] for k in range(0, len(asked), self._server.batch)]
        free = asyncio.Semaphore(self._server.concurrency)
        async with self._session() as session:

            async def ask(part: list[int]) -> Array:
                async with free:
                    return await self._ask(session, [texts[i][: self._server.most_chars] for i in part])

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(ask(part)) for part in parts]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
        found = [task.result() for task in tasks]
        if len({vectors.shape[1] for vectors in found}) > 1:
            raise BadReply(f"{self.name} gave embeddings of several lengths")
        vector_TE = np.zeros((len(texts), found[0].shape[1]))
        vector_TE[asked] = np.concatenate(found)
        return vector_TE

    async def _ask(self, session: aiohttp.ClientSession, texts: list[str]) -> Array:
        """One batch, tried again where that may help."""
        for attempt in range(self._server.retries + 1):
            try:
                return read_vectors(await self._post(session, texts), len(texts))
            except BackendError as error:
                if not error.retryable or attempt == self._server.retries:
                    raise
                told = error.retry_after_s if isinstance(error, RateLimited | Unavailable) else None
                await asyncio.sleep(min(FIRST_WAIT_S * 2**attempt if told is None else told, LONGEST_WAIT_S))
        raise AssertionError("unreachable")

    async def _post(self, session: aiohttp.ClientSession, texts: list[str]) -> bytes:
        try:
            body = msgspec.json.encode({"model": self._server.model, "input": texts, "encoding_format": "float"})
        except UnicodeEncodeError:
            raise Rejected("a text holds half a surrogate pair, which is no text; mend the pair's text") from None
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as answer:
                whole = bytearray()
                while not answer.content.at_eof():
                    whole += await answer.content.readany()
                    if len(whole) > self._server.max_reply_mb * 1e6:
                        raise BadReply(f"the reply is over max_reply_mb = {self._server.max_reply_mb:g}")
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(self._masked(f"no embeddings from {self._url.host}: {error or 'too slow'}")) from None
        answered = bytes(whole)
        if len(self._key) >= SHORTEST_SECRET:
            answered = answered.replace(self._key.encode(), b"***")
        if 300 <= status < 400:
            raise Rejected(f"HTTP {status}: sent on to another address; give that one", always=True)
        if status != 200:
            raise refusal(status, answered, retry_after_s=retry_after_s(headers))
        return answered

    def _masked(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= SHORTEST_SECRET else text

    def _session(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "User-Agent": f"adjudge/{adjudge.__version__}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        deadline_s = self._server.deadline_s
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=deadline_s, sock_connect=min(CONNECT_S, deadline_s)),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=proxy_of(self._url),
        )


def read_vectors(body: bytes, count: int) -> Array:
    """The vectors of a reply in the order that they were asked in, brought to unit length; shape (count, E).

    Raises BadReply where there are fewer or more, their lengths differ, or a number is not finite.

    >>> read_vectors(b'{"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}]}', 2).tolist()
    [[0.6, 0.8], [0.0, 1.0]]
    """
    try:
        answer: Any = msgspec.json.decode(body)
        data = answer["data"]
        places = [row.get("index", i) for i, row in enumerate(data)]
        if sorted(places) != list(range(count)):
            raise ValueError(f"{len(data)} vectors for {count} texts")
        vector_TE = np.array([row["embedding"] for row in data], float)[np.argsort(places)]
        if vector_TE.ndim != 2 or not vector_TE.shape[1] or not np.isfinite(vector_TE).all():
            raise ValueError("vectors that are none")
    except (msgspec.DecodeError, RecursionError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise BadReply(f"the reply holds no embeddings ({error}): {error_text(body)}") from None
    length_T = np.linalg.norm(vector_TE, axis=1, keepdims=True)
    return np.asarray(vector_TE / np.where(length_T > 0, length_T, 1.0))


def _key(server: EmbeddingServer, environ: Mapping[str, str]) -> str:
    if not server.api_key_env:
        return ""
    key = environ.get(server.api_key_env, "").strip()
    if not key:
        raise ConfigError(f"embeddings: the environment variable {server.api_key_env} is not set; set it to the key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"embeddings: the key in {server.api_key_env} holds what no header can; set it again")
    return key
