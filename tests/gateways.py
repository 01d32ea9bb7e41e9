"""What tests of the gateway share: a model server that is a function, and a gateway in this process with its client."""

import asyncio
import atexit
import contextlib
import functools
import io
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import numpy  # noqa: F401  # the gateway imports it in a thread, and pytest.approx looks into it half imported otherwise
from aiohttp import web

from adjudge.config import Settings, from_dict
from adjudge.gateway.server import Gateway, Running, Serving, serve
from adjudge.gateway.telemetry import Log
from adjudge.store.store import Store

PRICE = {"input": 1.0, "output": 10.0}
PAIR = {"prompt": "What is 2 + 2?", "response_a": "It is four.", "response_b": "It is five."}

Said = dict[str, Any] | list[bytes] | tuple[int, dict[str, Any]] | None
"""What a model says: a completion, the events of a stream, (status, body), or None: never anything."""


class Model:
    """An OpenAI-compatible server on loopback. `says(body)`: its answer to each request; `asked`: their bodies."""

    def __init__(self, says: Callable[[dict[str, Any]], Said], delay_s: float = 0.0) -> None:
        self.says, self.delay_s = says, delay_s
        self.asked: list[dict[str, Any]] = []
        self.url = ""
        self.answered = 0

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        said = self.says(body)
        await asyncio.sleep(self.delay_s)
        if said is None:
            await asyncio.sleep(600)
        self.answered += 1
        if isinstance(said, tuple):
            return web.json_response(said[1], status=said[0])
        if isinstance(said, dict):
            return web.json_response(said)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for event in said or ():
            if event == b"cut":
                assert request.transport is not None
                request.transport.close()
                return answer
            await answer.write(event)
            await asyncio.sleep(0.01)
        await answer.write_eof()
        return answer


@contextlib.asynccontextmanager
async def serving_model(model: Model) -> AsyncIterator[Model]:
    """The model's server, for the block."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", model.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield model
    finally:
        await runner.cleanup()


def completion(text: str, *, prompt: int = 100, output: int = 10, **message: Any) -> dict[str, Any]:
    """A chat completion that says this."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    }


def verdict(letter: str = "A", **more: Any) -> Callable[[dict[str, Any]], Said]:
    return lambda body: completion(f"[[{letter}]]", **more)


def settings(urls: dict[str, str], arms: dict[str, Any] | None = None, **server: Any) -> Settings:
    """A server per name, and per arm of one call that is named after its server, unless others are given."""
    plain = {"model": "m", "orders": "ab", "max_tokens": 64, "price": PRICE, "repair": False}
    told = {n: {**plain, "server": n, **(arms or {}).get(n, {})} for n in urls} | {
        n: {**plain, **a} for n, a in (arms or {}).items() if n not in urls
    }
    servers = {n: {"url": url, "retries": 0, "deadline_s": 20.0, **server} for n, url in urls.items()}
    return from_dict({"evaluator": "m", "servers": servers, "arms": told})


class Client(NamedTuple):
    """A gateway and somebody who asks it. `log`: its lines; `stop`: as a signal does."""

    address: str
    gateway: Gateway
    session: aiohttp.ClientSession
    log: io.StringIO
    stop: Callable[[], None]

    async def post(self, path: str, body: Any, *, key: str = "", **headers: str) -> tuple[int, Any]:
        """(status, answer)"""
        status, answer, _ = await self.posted(path, body, key=key, **headers)
        return status, answer

    async def posted(self, path: str, body: Any, *, key: str = "", **headers: str) -> tuple[int, Any, Any]:
        """(status, answer, headers)"""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Type": "application/json", **headers} | ({"Authorization": f"Bearer {key}"} if key else {})
        async with self.session.post(self.address + path, data=sent, headers=told) as answer:
            text = await answer.text()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(text) if is_json else text, answer.headers

    async def get(self, path: str, *, key: str = "", **headers: str) -> tuple[int, Any]:
        told = {**headers} | ({"Authorization": f"Bearer {key}"} if key else {})
        async with self.session.get(self.address + path, headers=told) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@functools.cache
def _empty_store() -> Path:
    """A store with its tables: making them takes longer than most tests."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "empty.db"
    Store.open(str(path)).close()
    return path


def _prepare(store: Path | str) -> None:
    if isinstance(store, Path) and not store.exists():
        shutil.copy(_empty_store(), store)


@contextlib.asynccontextmanager
async def gateway(
    told: Settings, store: Path | str, routing: Any = None, *, tracing: Any = None, **how: Any
) -> AsyncIterator[Client]:
    """A gateway on this event loop, stopped in order at the end of the block."""
    begun: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    log = io.StringIO()
    how = {"port": 0, "stop_s": 5.0, "deadline_s": 10.0, **how}
    _prepare(store)
    task = asyncio.ensure_future(
        serve(told, Serving(store=str(store), **how), routing, started=begun.set_result, log=Log(log), tracing=tracing)
    )
    await asyncio.wait({task, begun}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    running = begun.result()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(running.address, running.gateway, session, log, running.stop)
    finally:
        running.stop()
        await task
